"""`freshet purge`: remove what a source keeps no longer, by its `[source.NAME.retention]`."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli.console import (
    MAX_ROWS,
    MAX_WAIT_SECONDS,
    CommandError,
    ExitCode,
    write,
    write_json,
    write_table,
)

if TYPE_CHECKING:
    from temporalio.client import WorkflowHandle

    from corpus.purge.purge import PurgeOrder, PurgeResult
    from corpus.purge.store import PurgePlan, PurgeSummary
    from corpus.purge.workflows import PurgeWorkflow
    from workers.config.settings import Settings

_COLUMNS = ("purge", "source", "state", "started", "seconds", "history from", "removed")
_PER_ROW = 15  # characters of the longest label

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
Source = Annotated[
    str | None,
    typer.Option("--source", "-s", help="Which source.", show_default=False),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Count what would be removed and do nothing.")
]
Rate = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=MAX_ROWS,
        help="Rows per second; 0: no limit; default: that of the source.",
        show_default=False,
    ),
]
Timeout = Annotated[
    int,
    typer.Option(min=1, max=MAX_WAIT_SECONDS, help="Seconds to wait for the result."),
]
Limit = Annotated[
    int, typer.Option("--limit", "-n", min=1, max=MAX_ROWS, help="At most so many.")
]


def purge(
    context: typer.Context,
    source: Source = None,
    dry_run: DryRun = False,
    rate: Rate = None,
    timeout: Timeout = 86_400,
    as_json: Json = False,
) -> None:
    """Remove what a source keeps no longer: history, dead letters, notices, reports, audits.

    The purge is a workflow; this command shows how far it is, and may be ended without ending it.
    """
    if context.invoked_subcommand is not None:
        return
    if source is None:
        raise CommandError("Missing option '--source'. See `freshet purge --help`.")
    from workers.config import settings

    resolved = settings.load()
    planned, configured = _plan(resolved, source)
    if dry_run:
        _show_plan(planned, as_json=as_json)
        return
    from corpus.database import connect, database_errors_translated
    from corpus.purge.purge import PurgeOrder
    from workers.operations import note_operation

    wanted = configured if rate is None else rate
    with connect(resolved.database_url) as connection, database_errors_translated():
        note_operation(connection, "purge", source, rate=rate)
    order = PurgeOrder(source=source, rate=wanted)
    number = asyncio.run(_follow(resolved, order, timeout, silent=as_json))
    _show_result(resolved, number, as_json=as_json)


def list_purges(
    source: Source = None, limit: Limit = 20, as_json: Json = False
) -> None:
    """The newest purges, and what they removed."""
    from corpus.database import connect, database_errors_translated
    from corpus.purge import store
    from workers.cli.names import require_source
    from workers.config import settings

    resolved = settings.load()
    with connect(resolved.database_url) as connection, database_errors_translated():
        require_source(connection, source)
        rows = store.purges(connection, source=source, limit=limit)
    if as_json:
        write_json([_as_row(row) for row in rows])
        return
    write_table(
        _COLUMNS,
        map(_cells, rows),
        empty="there was no purge; `freshet purge --source NAME` makes one",
    )


# ── running ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _plan(settings: "Settings", source: str) -> "tuple[PurgePlan, int]":
    """What a purge that begins now removes, and the rate of the source."""
    from psycopg.rows import scalar_row

    from corpus.database import connect, database_errors_translated, fetch_one
    from corpus.purge import store
    from corpus.source import read_spec
    from workers.cli.names import require_source

    url = settings.database_url
    with connect(url) as connection, database_errors_translated():
        require_source(connection, source)
        stored = fetch_one(connection, scalar_row, "source_spec", {"source": source})
        spec = read_spec(source, stored)
        return store.plan(connection, source), spec.retention.rate


async def _follow(
    settings: "Settings", order: "PurgeOrder", timeout: int, *, silent: bool
) -> int:
    """The number of the purge, once it has ended."""
    from temporalio.client import WorkflowFailureError

    from workers.cli.following import until_ended

    ending = await until_ended(
        await _start(settings, order),
        f"the purge of {order.source!r}",
        lambda: _progress(settings, order),
        timeout=timeout,
        silent=silent,
    )
    try:
        return int((await ending).purge)
    except WorkflowFailureError as error:
        raise CommandError(
            f"the purge of {order.source!r} failed: {error.cause}; `freshet purge list` says what it removed",
            ExitCode.UNAVAILABLE,
        ) from error


async def _start(
    settings: "Settings", order: "PurgeOrder"
) -> "WorkflowHandle[PurgeWorkflow, PurgeResult]":
    from temporalio.common import WorkflowIDConflictPolicy
    from temporalio.exceptions import WorkflowAlreadyStartedError

    from corpus import task_queues
    from corpus.purge.purge import PurgeCursor, purge_workflow_id
    from corpus.purge.workflows import PurgeWorkflow
    from workers.temporal.client import temporal

    client = await temporal(settings)
    try:
        return await client.start_workflow(
            PurgeWorkflow.run,
            PurgeCursor(order=order),
            id=purge_workflow_id(order.source),
            task_queue=task_queues.WORKFLOWS,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
        )
    except WorkflowAlreadyStartedError as error:
        raise CommandError(
            f"a purge of {order.source!r} runs; `freshet purge list` shows how far it is"
        ) from error


def _progress(settings: "Settings", order: "PurgeOrder") -> str:
    """How far the newest purge is, in a line."""
    rows = _newest(settings, order.source)
    if not rows or rows[0].state != "running":
        return f"{order.source}: waits for a worker"
    from corpus.purge.store import described

    row = rows[0]
    return f"{order.source}: {row.phase}: removed {described(row.removed)}"


def _newest(settings: "Settings", source: str) -> "list[PurgeSummary]":
    from corpus.database import connect, database_errors_translated
    from corpus.purge import store

    url = settings.database_url
    with connect(url) as connection, database_errors_translated():
        return store.purges(connection, source=source, limit=1)


# ── showing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _show_plan(planned: "PurgePlan", *, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        write_json(asdict(planned))
        return
    write(f"{'history from':<{_PER_ROW}} {planned.history_from or 'the beginning'}")
    for kind, count in sorted(planned.removed.items()):
        write(f"{kind:<{_PER_ROW}} {count:,}")
    for kind, count in sorted(planned.held.items()):
        if count:
            write(
                f"{count:,} {kind} wait until {planned.held_by} was notified of their batches; "
                "see `freshet subscriptions list`"
            )


def _show_result(settings: "Settings", number: int, *, as_json: bool) -> None:
    from corpus.database import connect, database_errors_translated
    from corpus.purge import store

    url = settings.database_url
    with connect(url) as connection, database_errors_translated():
        [row] = store.purges(connection, purge=number, limit=1)
    if as_json:
        write_json(_as_row(row))
        return
    horizon = row.history_from or "the beginning"
    write(
        f"purge {row.purge} of {row.source}: removed {store.described(row.removed)} in {row.seconds:,.1f} s; "
        f"history from {horizon}"
    )


def _as_row(shown: "PurgeSummary") -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(shown)


def _cells(shown: "PurgeSummary") -> list[Any]:
    from corpus.purge.store import described

    state = shown.state if shown.error is None else f"{shown.state}: {shown.error}"
    return [
        shown.purge,
        shown.source,
        state,
        shown.started_at,
        round(shown.seconds, 1),
        shown.history_from or "the beginning",
        described(shown.removed),
    ]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Remove what is kept no longer.")
    group.callback(invoke_without_command=True)(purge)
    group.command("list")(list_purges)
    app.add_typer(group, name="purge")
