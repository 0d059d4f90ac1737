"""`freshet audit`: does the corpus equal its source? And the repair of what differs."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli.access_log import show_log
from workers.cli.audit_display import (
    as_row,
    repair_findings,
    show_result,
    summary_of,
)
from workers.cli.console import (
    MAX_BIGINT,
    MAX_ROWS,
    MAX_WAIT_SECONDS,
    CommandError,
    ExitCode,
    check_exit_code,
    write_json,
    write_message,
    write_table,
)

if TYPE_CHECKING:
    from corpus.audit.audit import AuditOrder
    from corpus.audit.store import AuditSummary
    from corpus.database import Connection
    from workers.config.settings import Settings

_COLUMNS = ("audit", "source", "scope", "started", "seconds", "documents", "result")

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
Source = Annotated[
    str | None,
    typer.Option("--source", "-s", help="Which source.", show_default=False),
]
Full = Annotated[
    bool, typer.Option("--full", help="Every record and every document (default).")
]
SampleSize = Annotated[
    int,
    typer.Option("--sample", min=0, max=MAX_ROWS, help="Only about so many documents."),
]
Deep = Annotated[
    int,
    typer.Option(
        min=0,
        max=MAX_ROWS,
        help="Documents that are also cleaned, embedded and searched for again.",
    ),
]
Rate = Annotated[
    int,
    typer.Option(
        min=0, max=MAX_ROWS, help="Records or documents per second; 0: no limit."
    ),
]
InventoryFile = Annotated[
    Path | None,
    typer.Option(
        "--inventory",
        help="What the source has (.jsonl, .csv, .parquet with id, version, sha256), where the log has lost records.",
    ),
]
Repair = Annotated[bool, typer.Option("--repair", help="Repair what is found.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show the plan of the repair and do nothing.")
]
Yes = Annotated[
    bool, typer.Option("--yes", "-y", help="Repair without asking for confirmation.")
]
Timeout = Annotated[
    int,
    typer.Option(min=1, max=MAX_WAIT_SECONDS, help="Seconds to wait for the result."),
]
Number = Annotated[
    int, typer.Argument(min=1, max=MAX_BIGINT, help="Number of the audit.")
]
Limit = Annotated[
    int, typer.Option("--limit", "-n", min=1, max=MAX_ROWS, help="At most so many.")
]


def audit(
    context: typer.Context,
    source: Source = None,
    full: Full = False,
    sample: SampleSize = 0,
    deep: Deep = 200,
    rate: Rate = 5_000,
    inventory: InventoryFile = None,
    repair: Repair = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    timeout: Timeout = 86_400,
    as_json: Json = False,
) -> int:
    """Compare a source's corpus with its records: exit code 0 if nothing differs, 1 if something does.

    The audit is a workflow; this command shows how far it is, and may be ended without ending it.
    """
    if context.invoked_subcommand is not None:
        return ExitCode.OK
    if source is None:
        raise CommandError("Missing option '--source'. See `freshet audit --help`.")
    _check(is_two_scopes=full and sample > 0, is_no_repair=(dry_run or yes) > repair)
    from corpus.audit.audit import AuditOrder
    from workers.config import settings

    resolved = settings.load()
    order = AuditOrder(source=source, sample=sample, deep=deep, rate=rate)
    number = _run(resolved, order, inventory, timeout, silent=as_json)
    shown = summary_of(resolved, number)
    if shown.state != "done":
        raise CommandError(
            f"audit {number} of {source!r} {shown.state}: {shown.error}",
            ExitCode.UNAVAILABLE,
        )
    if not repair:
        show_result(resolved, shown, as_json=as_json)
        return check_exit_code(passed=not shown.findings)
    if not as_json:
        show_result(resolved, shown, as_json=False)
    return repair_findings(resolved, number, dry_run=dry_run, yes=yes, as_json=as_json)


def _check(*, is_two_scopes: bool, is_no_repair: bool) -> None:
    if is_two_scopes:
        raise CommandError("--full and --sample are two scopes; ask for one of them")
    if is_no_repair:
        raise CommandError("--dry-run and --yes are about a repair; add --repair")


def repair_audit(
    number: Number, dry_run: DryRun = False, yes: Yes = False, as_json: Json = False
) -> int:
    """Repair what an audit has found: the plan first. Exit code 1 if something is left.

    Documents are read again from their records and published by the source's workflow; nothing that has its vector is
    embedded again. More withdrawals than max_expiry_ratio allows are refused.
    """
    from workers.config import settings

    resolved = settings.load()
    return repair_findings(resolved, number, dry_run=dry_run, yes=yes, as_json=as_json)


def list_audits(
    source: Source = None, limit: Limit = 20, as_json: Json = False
) -> None:
    """The newest audits, and what came of them."""
    from corpus.audit import store
    from corpus.database import connect, database_errors_translated
    from workers.cli.names import require_source
    from workers.config import settings

    resolved = settings.load()
    with connect(resolved.database_url) as connection, database_errors_translated():
        require_source(connection, source)
        rows = store.audits(connection, source=source, limit=limit)
    if as_json:
        write_json([as_row(row) for row in rows])
        return
    write_table(
        _COLUMNS,
        map(_cells, rows),
        empty="there was no audit; `freshet audit --source NAME` makes one",
    )


def show_audit(number: Number, limit: Limit = 1_000, as_json: Json = False) -> int:
    """One audit with what it found. Exit code 1 if findings are open."""
    from workers.config import settings

    resolved = settings.load()
    shown = summary_of(resolved, number)
    show_result(resolved, shown, as_json=as_json, limit=limit)
    is_open = bool(shown.findings) and shown.repaired_at is None
    return check_exit_code(passed=shown.state == "done" and not is_open)


# ── running ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _run(
    settings: "Settings",
    order: "AuditOrder",
    inventory: Path | None,
    timeout: int,
    *,
    silent: bool,
) -> int:
    """The number of the audit, once it has ended."""
    from dataclasses import replace

    from corpus.database import connect, database_errors_translated
    from workers.cli.names import require_source

    with (
        connect(settings.database_url, application="freshet-audit") as connection,
        database_errors_translated(),
    ):
        require_source(connection, order.source)
        if inventory is not None:
            number = _load(connection, order, inventory)
            order = replace(order, audit=number, inventory=True)
    return asyncio.run(_follow(settings, order, timeout, silent=silent))


def _load(connection: "Connection", order: "AuditOrder", path: Path) -> int:
    from dataclasses import replace
    from uuid import uuid4

    from corpus.audit import store
    from corpus.audit.audit import audit_workflow_id
    from ingest.audit import inventory

    begun = replace(order, inventory=True)
    workflow_id = audit_workflow_id(order.source)
    with connection.transaction():
        number = store.begin(
            connection, begun, workflow_id=workflow_id, run_id=str(uuid4())
        )
        documents = inventory.load(connection, number, path)
    write_message(f"the inventory has {documents:,} documents")
    return number


async def _follow(
    settings: "Settings", order: "AuditOrder", timeout: int, *, silent: bool
) -> int:
    from temporalio.common import WorkflowIDConflictPolicy
    from temporalio.exceptions import WorkflowAlreadyStartedError

    from corpus import task_queues
    from corpus.audit.audit import AuditCursor, audit_workflow_id
    from corpus.audit.workflows import AuditWorkflow
    from workers.cli.following import until_ended
    from workers.temporal.client import temporal

    client = await temporal(settings)
    try:
        handle = await client.start_workflow(
            AuditWorkflow.run,
            AuditCursor(order=order),
            id=audit_workflow_id(order.source),
            task_queue=task_queues.WORKFLOWS,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
        )
    except WorkflowAlreadyStartedError as error:
        raise CommandError(
            f"an audit of {order.source!r} runs; `freshet audit list` shows how far it is"
        ) from error
    ending = await until_ended(
        handle,
        f"the audit of {order.source!r}",
        lambda: _progress(settings, order),
        timeout=timeout,
        silent=silent,
    )
    return await _number_of(ending, settings, order)


async def _number_of(
    ending: "asyncio.Future[Any]", settings: "Settings", order: "AuditOrder"
) -> int:
    from temporalio.client import WorkflowFailureError

    try:
        return int((await ending).audit)
    except WorkflowFailureError as error:
        rows = await asyncio.to_thread(_newest, settings, order.source)
        if rows and rows[0].state == "failed":
            return rows[0].audit
        raise CommandError(
            f"the audit of {order.source!r} failed: {error.cause}",
            ExitCode.UNAVAILABLE,
        ) from error


def _newest(settings: "Settings", source: str) -> "list[AuditSummary]":
    from corpus.audit import store
    from corpus.database import connect, database_errors_translated

    url = settings.database_url
    with connect(url) as connection, database_errors_translated():
        rows = store.audits(connection, source=source, limit=1)
    return rows


def _progress(settings: "Settings", order: "AuditOrder") -> str:
    """How far the newest audit is, in a line."""
    rows = _newest(settings, order.source)
    if not rows or rows[0].state != "running":
        return f"{order.source}: waits for a worker"
    row = rows[0]
    counts = row.counts
    return (
        f"{order.source}: {row.phase}: {counts.get('records', 0):,} records, "
        f"{counts.get('documents', 0):,} of {counts.get('visible', 0):,} documents, "
        f"{counts.get('chunks', 0):,} chunks"
    )


def _cells(shown: "AuditSummary") -> list[Any]:
    return [
        shown.audit,
        shown.source,
        shown.scope,
        shown.started_at,
        round(shown.seconds, 1),
        shown.counts.get("documents", 0),
        shown.result,
    ]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Does the corpus equal its sources?")
    group.callback(invoke_without_command=True)(audit)
    group.command("list")(list_audits)
    group.command("show")(show_audit)
    group.command("repair")(repair_audit)
    group.command("log")(show_log)
    app.add_typer(group, name="audit")
