"""`freshet erase`: forget documents, and prove it."""

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli.commands.document import check_reason
from workers.cli.commands.erase import receipts
from workers.cli.commands.search import metadata_filter
from workers.cli.console import (
    CommandError,
    ExitCode,
    write,
    write_json,
    write_message,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from corpus.batch import Erase
    from corpus.database import Connection
    from corpus.erase.plan import ErasurePlan, OutOfReach
    from corpus.source import SourceSpec
    from workers.config.settings import Settings

_LOOK_EVERY_SECONDS = 0.2

Source = Annotated[
    str | None,
    typer.Option("--source", "-s", help="Source of the documents.", show_default=False),
]
Ids = Annotated[
    list[str] | None,
    typer.Option("--id", help="A document; may be repeated.", show_default=False),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        help="name=value that the metadata of some version holds; may be repeated. Documents that come later and match "
        "are not erased.",
        show_default=False,
    ),
]
DeadLetters = Annotated[
    list[int] | None,
    typer.Option(
        "--dead-letter",
        help="One that cannot be read and mentions a document, to be erased, too; `--dry-run` names those. May be "
        "repeated.",
        show_default=False,
    ),
]
Reason = Annotated[
    str | None,
    typer.Option(
        help="Why; kept with the receipt, so it must not name the document.",
        show_default=False,
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show the plan and change nothing.")
]
AcceptMass = Annotated[
    bool,
    typer.Option(
        "--accept-mass",
        help="Erase also more than max_expiry_ratio of the source's documents.",
    ),
]
Lift = Annotated[
    bool, typer.Option("--lift", help="Let an erased document come again.")
]
Verify = Annotated[
    Path | None,
    typer.Option(
        "--verify",
        help="Check a receipt; with --source and --id also whether it is of that document.",
        show_default=False,
    ),
]
Timeout = Annotated[float, typer.Option(min=0, help="Seconds to wait for the receipt.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON, with the receipt.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (erase, receipts.erasures):
        app.command(rich_help_panel="Corpus")(command)


def erase(
    source: Source = None,
    document: Ids = None,
    where: Where = None,
    dead_letter: DeadLetters = None,
    reason: Reason = None,
    dry_run: DryRun = False,
    accept_mass: AcceptMass = False,
    lift: Lift = False,
    verify: Verify = None,
    timeout: Timeout = 60.0,
    as_json: Json = False,
) -> None:
    """Forget documents: every version, chunk, vector, dead letter and staged file; nothing brings them back.

    Writes a signed receipt of what was removed, and of what is out of reach and until when.
    """
    documents = document or []
    if verify is not None:
        receipts.verify(verify, source, documents, as_json=as_json)
        return
    source, reason = _named(source, reason, documents, where)
    if lift:
        receipts.lift(source, documents, reason, as_json=as_json)
        return
    metadata = metadata_filter(where or [])
    plan, spec = _plan(source, documents, metadata, dead_letter or [])
    _check_names(reason, plan.document_ids)
    _check_mass(plan, accept_mass=accept_mass or dry_run)
    if dry_run:
        _show(plan, None, as_json=as_json)
        write_message("nothing was changed (--dry-run)")
        return
    receipt = _carry_out(plan, spec, reason, timeout)
    _show(plan, receipt, as_json=as_json)
    write_message(f"erased in batch {receipt['batch']}; receipt {receipt['erasure']}")


def _named(
    source: str | None,
    reason: str | None,
    documents: list[str],
    where: list[str] | None,
) -> tuple[str, str]:
    """Source and reason, once all that an order needs is named."""
    if source is None:
        raise CommandError("name the --source; `freshet sources` lists them")
    if reason is None:
        raise CommandError("give a --reason; it is kept with the receipt")
    check_reason(reason)
    if bool(documents) == bool(where):
        raise CommandError("name the documents either by --id or by --where")
    if "" in documents:
        raise CommandError("--id '' is no document's id")
    _check_names(reason, documents)
    return source, reason


# ── the plan ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _plan(
    source: str, documents: list[str], metadata: str, dead_letters: list[int]
) -> "tuple[ErasurePlan, SourceSpec]":
    from dataclasses import replace

    from corpus.database import connect, database_errors_translated
    from corpus.erase.plan import documents_where, plan_erasure
    from workers.cli.names import require_source
    from workers.config import settings

    resolved = settings.load()
    with (
        connect(resolved.database_url, application="freshet-erase") as connection,
        database_errors_translated(),
    ):
        require_source(connection, source)
        if not documents:
            documents = documents_where(connection, source, metadata)
        plan, spec = plan_erasure(connection, source, documents, dead_letters)
    return replace(plan, out_of_reach=_reach(resolved, spec)), spec


def _reach(settings: "Settings", spec: "SourceSpec") -> "tuple[OutOfReach, ...]":
    """What the erasure does not reach; of a service that does not answer it is not known until when."""
    from datetime import UTC, datetime

    from corpus.erase.reach import out_of_reach
    from corpus.errors import DependencyError
    from ingest.kafka import Cluster

    cluster = Cluster(settings.kafka_bootstrap, settings.kafka_properties)
    topics = (*spec.topics, spec.dead_letters_to())
    told: dict[str, dict[str, str]] = {}
    with suppress(DependencyError):
        told = cluster.topic_settings(topics).answers
    histories = asyncio.run(_histories_kept(settings))
    return out_of_reach(spec, told, histories, datetime.now(UTC))


async def _histories_kept(settings: "Settings") -> str:
    """How long Temporal keeps histories, in words."""
    from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
    from temporalio.service import RPCError

    from corpus.errors import FreshetError
    from workers.temporal.client import temporal

    try:
        client = await temporal(settings)
        described = await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=client.namespace)
        )
    except (RPCError, RuntimeError, FreshetError):
        return "the namespace's retention is over"
    retention = described.config.workflow_execution_retention_ttl.ToTimedelta()
    return f"{retention.days} days after their workflows ended"


def _check_names(reason: str, document_ids: "Sequence[str]") -> None:
    from corpus.erase.plan import names_document

    if names_document(reason, document_ids):
        raise CommandError(
            "--reason names a document, and it is kept; refer to the request instead"
        )


def _check_mass(plan: "ErasurePlan", *, accept_mass: bool) -> None:
    if plan.is_mass and not accept_mass:
        raise CommandError(
            f"{plan.visible:,} of the {plan.all_visible:,} documents of source {plan.source!r} would be erased, more "
            f"than max_expiry_ratio {plan.max_ratio:g} allows; `--dry-run` shows the plan, `--accept-mass` confirms it"
        )


def _show(
    plan: "ErasurePlan", receipt: dict[str, Any] | None, *, as_json: bool
) -> None:
    from dataclasses import asdict

    if as_json:
        batch = None if receipt is None else receipt["batch"]
        shown = {"dry_run": receipt is None, "batch": batch, "receipt": receipt}
        write_json({**shown, **asdict(plan)})
        return
    for line in plan.lines():
        write(line)
    if receipt is not None:
        removed = [f"{name} {count:,}" for name, count in receipt["removed"].items()]
        write(f"removed: {', '.join(removed)}")


# ── the order ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _carry_out(
    plan: "ErasurePlan", spec: "SourceSpec", reason: str, timeout: float
) -> dict[str, Any]:
    """Order the erasure and wait for its receipt."""
    from corpus.database import connect, database_errors_translated
    from corpus.erase.plan import request_erasure
    from workers.config import settings
    from workers.operations import note_operation, requested_by

    resolved = settings.load()
    with (
        connect(resolved.database_url, application="freshet-erase") as connection,
        database_errors_translated(),
    ):
        # Without the documents: these rows stay for ever.
        count = len(plan.document_ids)
        note_operation(connection, "erase", plan.source, documents=count, reason=reason)
        order = request_erasure(connection, plan, reason, requested_by())
        asyncio.run(_send(resolved, spec, order))
        return _wait(connection, plan.source, order, timeout)


async def _send(settings: "Settings", spec: "SourceSpec", order: "Erase") -> None:
    from ingest.hand_over import send_order
    from workers.temporal.client import temporal

    client = await temporal(settings)
    await send_order(client, spec, "erase", order)


def _wait(
    connection: "Connection", source: str, order: "Erase", seconds: float
) -> dict[str, Any]:
    from psycopg.rows import namedtuple_row

    from corpus.database import fetch_one

    values = {"erasure": order.erasure}
    until = time.monotonic() + seconds
    while True:
        row: Any = fetch_one(connection, namedtuple_row, "erasure_result", values)
        if row.receipt is not None:
            return row.receipt
        if time.monotonic() > until:
            break
        time.sleep(_LOOK_EVERY_SECONDS)
    follow = f"`freshet erasures --source {source}` shows how far it is"
    if row.batch is None:
        message = f"source {source!r} has the order, and has not carried it out in {seconds:g} s; {follow}"
    else:
        done = f"erased in batch {row.batch}: nothing shows it any more"
        message = f"{done}; the receipt waits for {row.waits_for}; {follow}"
    raise CommandError(message, ExitCode.UNAVAILABLE)
