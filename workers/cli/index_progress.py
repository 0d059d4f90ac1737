"""Shows how far the builds and vacuums of this process are, while they are done in a thread."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, TypeVar

from workers.cli.progress import ProgressLine, progress_line

if TYPE_CHECKING:
    from corpus.database import Connection
    from corpus.disclosure.secret import Secret

_LOOK_SECONDS = 0.5
Result = TypeVar("Result")


def watched(
    url: "str | Secret", work: Callable[[], Result], *, silent: bool = False
) -> Result:
    """The result of work in a thread. Where this command is interrupted, the server ends what it does for it.

    Args:
        url: of the database that it works on.
        work: builds, vacuums; its sessions are of this process.
        silent: show nothing.
    """
    from corpus.database import connect

    with (
        connect(url, application="freshet-progress") as connection,
        progress_line(silent=silent) as line,
        ThreadPoolExecutor(1) as threads,
    ):
        working = threads.submit(work)
        try:
            _watch(connection, line, working)
        except KeyboardInterrupt:
            _cancel(connection)
            raise
        return working.result()


def _watch(
    connection: "Connection", line: ProgressLine, working: "Future[Any]"
) -> None:
    from psycopg.rows import dict_row

    from corpus.database import fetch_all

    while not working.done():
        rows = fetch_all(connection, dict_row, "upkeep_progress")
        line.show("; ".join(map(_described, rows)))
        wait([working], timeout=_LOOK_SECONDS)


def _described(row: dict[str, Any]) -> str:
    percent = "" if row["percent"] is None else f", {row['percent']} %"
    return f"{row['name']}: {row['phase']}{percent}"


def _cancel(connection: "Connection") -> None:
    from psycopg.rows import scalar_row

    from corpus.database import fetch_one

    fetch_one(connection, scalar_row, "cancel_upkeep")
