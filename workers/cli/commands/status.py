"""`freshet status`: the parts of the local stack, once or live."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli.console import (
    ExitCode,
    check_exit_code,
    one_line,
    table_of,
    text_of,
    write_json,
    write_json_line,
    write_message,
    write_table,
)
from workers.cli.live import frames, rounds

if TYPE_CHECKING:
    from rich.console import RenderableType

    from compose.local.parts.part import PartStatus

_WATCH_SECONDS = 1.0
_NO_SUPERVISOR = (
    "the supervisor does not run: a part that ends is not started again. "
    "`freshet up --detach` starts one for the parts that run."
)
_STATUS_COLUMNS = (
    "part",
    "state",
    "pid",
    "uptime_s",
    "restarts",
    "address",
    "version",
    "error",
)

Home = Annotated[
    str,
    typer.Option("--home", help="State directory (FRESHET_HOME).", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
Watch = Annotated[
    bool, typer.Option("--watch", "-w", help="Again every second, until Ctrl-C.")
]


def status(json: Json = False, watch: Watch = False, home: Home = "") -> int:
    """The parts: state, process, restarts, address; and backfills that have not ended.

    Exit code 1 if a part is not usable, 3 if nothing runs.
    """
    where = state_directory(home)
    if watch:
        return _watch_status(where, as_json=json)
    rows = _status_rows(where)
    if json:
        document = _status_document(rows, where)
        write_json(document)
    else:
        cells = _status_cells(rows)
        hint = f"nothing runs in {where}; start it with `freshet up`"
        write_table(_STATUS_COLUMNS, cells, empty=hint)
        for sentence in _sentences(_backfills(rows)):
            write_message(sentence)
    if rows and _supervisor_pid(where) is None:
        write_message(_NO_SUPERVISOR)
    return _status_code(rows)


def _watch_status(home: Path, *, as_json: bool) -> int:
    """The same every second, until Ctrl-C."""
    rows: list[dict[str, Any]] = []
    with suppress(KeyboardInterrupt):
        if as_json:
            for rows in _looks(home):
                document = _status_document(rows, home)
                write_json_line(document)
        else:
            with frames() as show:
                for rows in _looks(home):
                    frame = _status_frame(rows, home)
                    show(frame)
    return _status_code(rows)


def _looks(home: Path) -> Iterator[list[dict[str, Any]]]:
    return (_status_rows(home) for _ in rounds(_WATCH_SECONDS, 0))


def _status_frame(rows: list[dict[str, Any]], home: Path) -> "RenderableType":
    from rich.console import Group

    cells = _status_cells(rows)
    table = table_of(_STATUS_COLUMNS, cells)
    note = ""
    if not rows:
        note = f"nothing runs in {home}"
    elif _supervisor_pid(home) is None:
        note = _NO_SUPERVISOR
    lines = [note, *_sentences(_backfills(rows))]
    return Group(table, *map(text_of, lines))


def _backfills(rows: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """Backfills that run, are paused or have failed; None: PostgreSQL does not answer."""
    from corpus.database import connect, database_errors_translated
    from corpus.errors import FreshetError
    from ingest.backfill.standing import shown_backfills
    from workers.config import settings

    usable = {row["part"]: row["usable"] for row in rows}
    if not rows or not usable.get("postgres", True):
        return None  # the table of the parts says so
    try:
        url = settings.load().database_url
        with (
            connect(url, application="freshet-status") as connection,
            database_errors_translated(),
        ):
            return shown_backfills(connection)
    except FreshetError:
        return None


def _sentences(backfills: list[dict[str, Any]] | None) -> list[str]:
    return [one_line(backfill["sentence"]) for backfill in backfills or ()]


def _status_rows(home: Path) -> list[dict[str, Any]]:
    from compose.local import commands as local

    return [_row(part) for part in local.read_statuses(home).values()]


def _status_cells(rows: list[dict[str, Any]]) -> list[list[Any]]:
    return [[row[name] for name in _STATUS_COLUMNS] for row in rows]


def _status_document(rows: list[dict[str, Any]], home: Path) -> dict[str, Any]:
    from compose.local import commands as local
    from corpus.disclosure.secret import without_password

    addresses = local.read_stack(home).addresses
    return {
        "home": str(home),
        "supervisor": _supervisor_pid(home),
        "addresses": {
            name: without_password(address) for name, address in addresses.items()
        },
        "parts": rows,
        "backfills": _backfills(rows),
    }


def _supervisor_pid(home: Path) -> int | None:
    from compose.local import commands as local

    supervisor = local.read_supervisor(home)
    return supervisor.pid if supervisor else None


def _status_code(rows: list[dict[str, Any]]) -> ExitCode:
    if not rows:
        return ExitCode.UNAVAILABLE
    return check_exit_code(passed=all(row["usable"] for row in rows))


def _row(part: "PartStatus") -> dict[str, Any]:
    from compose.local.commands import uptime_seconds

    process = part.process
    alive = process is None or process.alive()
    state = str(part.state)
    if not alive:
        state = "dead"
    uptime = uptime_seconds(process)
    return {
        "part": part.name,
        "state": state,
        "usable": part.state.usable and alive,
        "pid": part.pid,
        "uptime_s": None if uptime is None else round(uptime),
        "restarts": part.restarts,
        "address": part.address,
        "version": part.version,
        "error": part.error,
        "log": part.log,
    }


def state_directory(given: str) -> Path:
    """Of the local stack; the one that is given counts for the whole command."""
    from workers.config.addresses import default_home

    if given:
        os.environ["FRESHET_HOME"] = given
    return default_home()
