"""`freshet backfill`: read ranges of a source's log again, beside the live stream."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli.console import (
    MAX_ROWS,
    CommandError,
    ExitCode,
    check_exit_code,
    whole_number,
    write,
    write_json,
    write_message,
    write_table,
)

if TYPE_CHECKING:
    from ingest.backfill.plan import BackfillPlan, Bound
    from workers.config.settings import Settings

_COLUMNS = (
    *("backfill", "source", "state", "passed", "wanted", "gone", "applied"),
    *("unchanged", "superseded", "dead_lettered", "ignored", "waits for, or error"),
)
_EXAMPLES = 5

Source = Annotated[
    str | None,
    typer.Option("--source", "-s", help="Which source.", show_default=False),
]
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        help="An offset in every partition, or a time in ISO 8601.",
        show_default=False,
    ),
]
To = Annotated[
    str | None,
    typer.Option(
        "--to",
        help="The same, exclusive; default: the position of the source.",
        show_default=False,
    ),
]
Documents = Annotated[
    list[str] | None,
    typer.Option(
        "--documents",
        help="Only the records of this document; may be given several times.",
        show_default=False,
    ),
]
Rate = Annotated[
    int,
    typer.Option(
        "--rate", min=0, max=MAX_ROWS, help="Records per second at most; 0: no limit."
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show the plan and change nothing.")
]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
Name = Annotated[str, typer.Argument(help="Name of the source.")]
Limit = Annotated[
    int, typer.Option("--limit", "-n", min=1, max=MAX_ROWS, help="At most so many.")
]


def backfill(
    context: typer.Context,
    source: Source = None,
    first: From = None,
    to: To = None,
    documents: Documents = None,
    rate: Rate = 1_000,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> int:
    """Read records again, by the mapping and the preparation of now; new records of the source do not wait for them.

    A record counts where it is that of the version which the corpus has, or of one that it lacks.
    """
    if context.invoked_subcommand is not None:
        return ExitCode.OK
    if source is None:
        raise CommandError("Missing option '--source'. See `freshet backfill --help`.")
    bounds = _bounds(first, to, has_documents=bool(documents))
    from workers.config import settings

    resolved = settings.load()
    plan = _plan(resolved, source, bounds, documents or (), rate)
    number = None
    if plan.wanted and not dry_run:
        number = _begin(resolved, plan)
    _show(plan, number, as_json=as_json)
    if dry_run:
        write_message("nothing was changed (--dry-run)")
    return check_exit_code(passed=not plan.unknown)


def _bounds(
    first: str | None, to: str | None, *, has_documents: bool
) -> "tuple[Bound, Bound | None]":
    """Where to begin, and where to end."""
    has_range = first is not None
    if has_range == has_documents:
        raise CommandError("say what to read: either --from, or --documents")
    if has_documents and to is not None:
        raise CommandError("--to ends a range; --documents has none")
    begin = _bound("--from", first or "0")
    if to is None:
        return begin, None
    end = _bound("--to", to)
    return begin, end


def _bound(option: str, text: str) -> "Bound":
    from ingest.backfill.plan import Bound
    from ingest.decode import times

    offset = whole_number(text)
    if offset is not None:
        return Bound(offset=offset)
    time_ms = times.time_ms(text)
    if time_ms is None:
        raise CommandError(
            f"{option} {text!r} is neither an offset nor a time in ISO 8601"
        )
    return Bound(time_ms=time_ms)


def _plan(
    settings: "Settings",
    source: str,
    bounds: "tuple[Bound, Bound | None]",
    documents: Sequence[str],
    rate: int,
) -> "BackfillPlan":
    from corpus.database import connect, database_errors_translated
    from ingest.backfill.plan import plan_documents, plan_ranges
    from ingest.kafka import Cluster

    cluster = Cluster(settings.kafka_bootstrap, settings.kafka_properties)
    with connect(settings.database_url) as connection, database_errors_translated():
        if documents:
            return plan_documents(connection, cluster, source, documents, rate=rate)
        return plan_ranges(connection, cluster, source, *bounds, rate=rate)


def _begin(settings: "Settings", plan: "BackfillPlan") -> int:
    from corpus.database import connect, database_errors_translated
    from ingest.backfill.plan import begin
    from workers.operations import note_operation

    url = settings.database_url
    source = plan.source
    records = plan.wanted
    with connect(url) as connection, database_errors_translated():
        note_operation(connection, "backfill", source, records=records)
        number = begin(connection, plan)
    starting = _start(settings, source, number)
    asyncio.run(starting)
    return number


async def _start(settings: "Settings", source: str, number: int) -> None:
    """Start the workflow; one that runs already reads the row again."""
    from temporalio.common import WorkflowIDConflictPolicy
    from temporalio.service import RPCError

    from corpus import task_queues
    from ingest.backfill.order import BackfillCursor, backfill_workflow_id
    from workers.temporal.client import temporal

    client = await temporal(settings)
    try:
        await client.start_workflow(
            "BackfillWorkflow",
            BackfillCursor(backfill=number),
            id=backfill_workflow_id(number),
            task_queue=task_queues.WORKFLOWS,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            start_signal="reload",
        )
    except RPCError as error:
        raise CommandError(
            f"backfill {number} of {source!r} is in the database, but Temporal does not start it: {error.message}. "
            f"`freshet backfill resume {source}` starts it when Temporal answers",
            ExitCode.UNAVAILABLE,
        ) from error


def pause(name: Name) -> None:
    """Let the backfill of a source read no more; what is handed over is still published."""
    _order(name, "paused")


def resume(name: Name) -> None:
    """Let the backfill of a source continue where it was; also one whose workflow was lost begins again."""
    _order(name, "running")


def cancel(name: Name) -> None:
    """End the backfill of a source. What is published stays. Of one that has failed: a person has seen it."""
    _order(name, "cancelled")


def _order(source: str, state: str) -> None:
    from corpus.database import connect, database_errors_translated
    from ingest.backfill.order import BackfillStatus
    from ingest.backfill.plan import order
    from workers.config import settings
    from workers.operations import note_operation

    wanted: BackfillStatus = BackfillStatus(state)
    resolved = settings.load()
    url = resolved.database_url
    command = f"backfill {state}"
    with connect(url) as connection, database_errors_translated():
        note_operation(connection, command, source)
        number = order(connection, source, wanted)
    starting = _start(resolved, source, number)
    asyncio.run(starting)
    write_message(f"backfill {number} of {source} is {state}")


def show_status(source: Source = None, limit: Limit = 20, as_json: Json = False) -> int:
    """The newest backfills, how far they are, and what became of their records. Exit code 1 if one has failed."""
    from workers.cli.names import query_rows

    values = {"source": source, "limit": limit}
    rows = query_rows("backfills", values, source=source)
    _explain(rows)
    if as_json:
        write_json(rows)
    else:
        write_table(
            _COLUMNS,
            map(_cells, rows),
            empty="there was no backfill; `freshet backfill --source NAME --from ...` makes one",
        )
    newest: dict[str, dict[str, Any]] = {}
    for row in rows:
        newest.setdefault(row["source"], row)
    states = {row["state"] for row in newest.values()}
    has_failed = "failed" in states
    return check_exit_code(passed=not has_failed)


def _explain(rows: Sequence[dict[str, Any]]) -> None:
    """Say of those that run why they wait, where Temporal knows it: nobody works on them, or an attempt failed."""
    running = {
        row["backfill"]: row["source"] for row in rows if row["state"] == "running"
    }
    if not running:
        return
    from workers.backfilling import why_they_wait
    from workers.config import settings

    reasons = asyncio.run(why_they_wait(settings.load(), running))
    for row in rows:
        reason = reasons.get(row["backfill"])
        if reason:
            row["waits_for"] = "; ".join(filter(None, [row["waits_for"], reason]))


def _cells(row: dict[str, Any]) -> list[Any]:
    return [*(row[name] for name in _COLUMNS[:-1]), row["error"] or row["waits_for"]]


def _show(plan: "BackfillPlan", number: int | None, *, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        shown = asdict(plan)
        del shown["records"]
        write_json({"backfill": number, **shown})
        return
    unit = "records" if plan.by_record else "offsets"
    write(f"{plan.wanted:,} {unit} of {len(plan.ranges):,} partitions are read again")
    if plan.gone:
        write(f"{plan.gone:,} offsets are gone: Kafka no longer has them")
    unknown = plan.unknown
    if unknown:
        examples = unknown[:_EXAMPLES]
        names = ", ".join(examples)
        count = len(unknown)
        write(f"{count:,} documents have no record in the log: {names}")
    if number is not None:
        write_message(
            f"backfill {number} runs; `freshet backfill status` shows how far it is"
        )


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Read records again, beside the live stream.")
    group.callback(invoke_without_command=True)(backfill)
    group.command("status")(show_status)
    group.command("pause")(pause)
    group.command("resume")(resume)
    group.command("cancel")(cancel)
    app.add_typer(group, name="backfill")
