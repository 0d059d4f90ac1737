"""`freshet audit log`: who asked and who did what, and whether the log is what was written."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli.console import (
    MAX_ROWS,
    check_exit_code,
    one_line,
    write_json,
    write_message,
    write_table,
)

if TYPE_CHECKING:
    from corpus.access.log import ChainEnd, LoggedRow, LogProblem

_COLUMNS = ("source", "number", "at", "actor", "action", "detail")
_PROBLEMS = ("source", "number", "problem")

Source = Annotated[
    str | None,
    typer.Option(
        "--source",
        "-s",
        help='Only the chain of this source; "" is that of no source: refused callers, and the installation.',
        show_default=False,
    ),
]
Limit = Annotated[
    int, typer.Option("--limit", "-n", min=1, max=MAX_ROWS, help="At most so many.")
]
Verify = Annotated[
    bool,
    typer.Option(
        "--verify",
        help="Look for rows that were changed, removed or moved; exit code 1 if there are any.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


def show_log(
    source: Source = None,
    limit: Limit = 100,
    verify: Verify = False,
    as_json: Json = False,
) -> int:
    """Who asked, who was refused, and who changed something; newest first.

    --verify also shows the end of each chain. Kept elsewhere, it shows later that nothing before it was written anew.
    """
    from corpus.access import log
    from corpus.database import connect, database_errors_translated
    from workers.cli.names import require_source
    from workers.config import settings

    resolved = settings.load()
    with connect(resolved.database_url) as connection, database_errors_translated():
        if source:
            require_source(connection, source)
        if verify:
            problems = log.verify(connection, source)
            return _show_verdict(log.ends(connection, source), problems, as_json)
        rows = log.rows(connection, source, limit)
    _show_rows(rows, as_json=as_json)
    return check_exit_code(passed=True)


def _show_rows(rows: "list[LoggedRow]", *, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        write_json([asdict(row) for row in rows])
        return
    write_table(
        _COLUMNS, map(_cells, rows), empty="nobody asked, and nobody changed anything"
    )


def _cells(row: "LoggedRow") -> list[Any]:
    details = [f"{name}={value}" for name, value in row.detail.items()]
    detail = one_line(", ".join(details))
    return [row.source or "-", row.number, row.at, row.actor, row.action, detail]


def _show_verdict(
    ends: "list[ChainEnd]", problems: "list[LogProblem]", as_json: bool
) -> int:
    from dataclasses import asdict

    passed = not problems
    if as_json:
        verdict = {
            "verified": passed,
            "ends": [asdict(end) for end in ends],
            "problems": [asdict(problem) for problem in problems],
        }
        write_json(verdict)
        return check_exit_code(passed=passed)
    found = [[one.source or "-", one.number, one.problem] for one in problems]
    if found:
        write_table(_PROBLEMS, found)
    else:
        total = sum(end.number for end in ends)
        write_message(
            f"{total:,} rows in {len(ends):,} chains are as they were written"
        )
    for end in ends:
        write_message(f"{end.source or '-'}: row {end.number}, digest {end.digest}")
    return check_exit_code(passed=passed)
