"""`freshet maintain`: rebuild, vacuum and analyse what has changed much, beside searches and publishing."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli.console import (
    MAX_ROWS,
    CommandError,
    check_exit_code,
    write_json,
    write_message,
    write_table,
)

if TYPE_CHECKING:
    from corpus.disclosure.secret import Secret
    from corpus.upkeep.maintainer import Done, Wish
    from corpus.upkeep.rule import Decision
    from corpus.upkeep.standing import Standing

_COLUMNS = (
    *("name", "kind", "MB", "rows", "dead", "share"),
    *("vacuumed", "analysed", "decision", "why"),
)
_SHOWN_BYTES = 8_000_000  # what is smaller and needs nothing is only counted
_MOST_WORKERS = 64

Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        help="Only this index, or this table with its indexes; may be given several times.",
        show_default=False,
    ),
]
Rebuild = Annotated[
    bool,
    typer.Option(
        "--rebuild",
        help="With --only: rebuild its indexes, whatever the rule says. For one that an audit finds to be damaged.",
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what is due, and do nothing.")
]
All = Annotated[
    bool, typer.Option("--all", help="Show small ones that need nothing, too.")
]
Memory = Annotated[
    int,
    typer.Option(
        "--memory",
        min=64,
        max=1_000_000,
        help="MB that the build of a vector index may take in the server; it takes what its graph needs. A graph that "
        "does not fit takes many times as long.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=0,
        max=_MOST_WORKERS,
        help="Processes of a build beside one; default: up to 4, by the number of chunks; no more than the server's "
        "max_parallel_workers.",
        show_default=False,
    ),
]
Wait = Annotated[
    int,
    typer.Option(
        "--wait",
        min=1,
        max=MAX_ROWS,
        help="Seconds to wait for another process that builds or maintains.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


def maintain(
    only: Only = None,
    rebuild: Rebuild = False,
    dry_run: DryRun = False,
    show_all: All = False,
    memory: Memory = 2_048,
    workers: Workers = None,
    wait: Wait = 30,
    as_json: Json = False,
) -> int:
    """Look after tables and indexes: what the rule decides about each, and why; then do it.

    It rebuilds vector indexes with many entries of withdrawn chunks, vacuums and analyses tables that the server has
    passed over, builds indexes that are missing, and drops what an interrupted rebuild left. One after the other, and
    neither searches nor publishing wait for it. It connects as the owner of the tables, like `freshet migrate`. Let it
    run every night; exit code 1 if something that is due could not be done.
    """
    if rebuild and not only:
        raise CommandError("--rebuild wants --only: name what is to be rebuilt")
    from corpus.embed.build_memory import BuildLimits
    from corpus.upkeep.maintainer import Wish, plan
    from workers.config import settings

    url = settings.load().database_url
    wish = Wish(
        only=frozenset(only or ()),
        rebuild=rebuild,
        limits=BuildLimits(megabytes=memory, workers=workers),
        lock_seconds=wait,
    )
    standing = _standing(url)
    decisions = plan(standing, wish)
    if not as_json:
        _show(standing, decisions, show_all=show_all or bool(only))
    if dry_run:
        if as_json:
            _write_json(standing, decisions, [])
        return check_exit_code(passed=True)
    done = _carry_out(url, wish, silent=as_json)
    if as_json:
        _write_json(standing, decisions, done)
    return check_exit_code(passed=not any(one.problem for one in done))


def _standing(url: "Secret") -> "Standing":
    from corpus.database import connect, database_errors_translated
    from corpus.upkeep.standing import read_standing

    opened = connect(url, application="freshet-maintain")
    with opened as connection, database_errors_translated():
        return read_standing(connection)


def _carry_out(url: "Secret", wish: "Wish", *, silent: bool) -> "list[Done]":
    from corpus.upkeep.maintainer import maintain as do_what_is_due
    from workers.cli.index_progress import watched

    done: list[Done] = []

    def report(one: "Done") -> None:
        done.append(one)
        if not silent:
            write_message(_outcome(one))

    def work() -> None:
        do_what_is_due(url, wish, notify=write_message, report=report)

    watched(url, work, silent=silent)
    if not done and not silent:
        write_message("nothing was to be done")
    return done


# ── what is shown ───────────────────────────────────────────────────────────────────────────────────────────────────


def _show(
    standing: "Standing", decisions: "Iterable[Decision]", *, show_all: bool
) -> None:
    rows = list(decisions)
    shown = [one for one in rows if show_all or one.is_due or one.bytes >= _SHOWN_BYTES]
    write_table(_COLUMNS, map(_cells, shown), empty="nothing is due")
    if len(shown) < len(rows):
        write_message(
            f"{len(rows) - len(shown)} others are smaller than {_SHOWN_BYTES // 1_000_000} MB and need nothing; "
            "--all lists them"
        )
    for one in rows:
        if one.held_by is not None:
            write_message(f"{one.name} has to wait: {one.held_by}")
    if standing.server.problem is not None:
        write_message(f"warning: {standing.server.problem}")


def _cells(one: "Decision") -> tuple[Any, ...]:
    share = f"{one.share:.0%}"
    return (
        *(one.name, one.kind, round(one.bytes / 1_000_000, 1)),
        *(one.rows, one.dead, share),
        *(one.last_vacuum, one.last_analyze, one.action.value, one.why),
    )


def _outcome(one: "Done") -> str:
    before = one.decision.bytes / 1_000_000
    if one.problem is not None or one.bytes_after is None:
        return one.describe()
    return f"{one.describe()}, {before:,.1f} MB before, {one.bytes_after / 1_000_000:,.1f} MB after"


def _write_json(
    standing: "Standing", decisions: "Iterable[Decision]", done: "Iterable[Done]"
) -> None:
    outcomes = {
        one.decision.name: {
            "seconds": one.seconds,
            "bytes_after": one.bytes_after,
            "problem": one.problem,
        }
        for one in done
    }
    planned = {one.name: one for one in decisions}
    planned |= {one.decision.name: one.decision for one in done}
    rows = [
        {**_as_row(one), "outcome": outcomes.get(name)} for name, one in planned.items()
    ]
    write_json({"decisions": rows, "problem": standing.server.problem})


def _as_row(one: "Decision") -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(one), "share": round(one.share, 4)}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel="Service")(maintain)
