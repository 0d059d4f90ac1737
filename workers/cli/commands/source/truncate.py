"""`freshet source truncate`: decide about a truncated table, at which its source has halted."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from workers.cli.commands.document import check_reason
from workers.cli.console import CommandError, write_json, write_message
from workers.cli.entity import signal_entity

if TYPE_CHECKING:
    from corpus.database import Connection
    from corpus.versions.truncation import Decision
    from ingest.consume.truncated import TruncationPlan
    from workers.config.settings import Settings

Name = Annotated[str, typer.Argument(help="Name of the source.")]
Delete = Annotated[
    bool, typer.Option("--delete", help="Delete the documents of the table.")
]
Keep = Annotated[
    bool, typer.Option("--keep", help="Keep the documents of the table, and go on.")
]
Reason = Annotated[str, typer.Option(help="Why; it is kept with the decision.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Count the documents and change nothing.")
]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


def decide_truncation(
    name: Name,
    reason: Reason,
    delete: Delete = False,
    keep: Keep = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Decide about a truncated table: delete the documents that came of it, or keep them. The source then goes on.

    Nothing is deleted before. The batch with the record deletes them, once, and rows that were written after it stay.
    """
    from dataclasses import asdict

    from corpus.versions.truncation import Decision
    from workers.config import settings

    if delete == keep:
        raise CommandError("give either --delete or --keep")
    check_reason(reason)
    decision = Decision.DELETE if delete else Decision.KEEP
    resolved = settings.load()
    plan = _decide(resolved, name, decision, "" if dry_run else reason)
    if not dry_run:
        asyncio.run(signal_entity(resolved, name, "resume", state="active"))
    if as_json:
        write_json({"decision": str(decision), "dry_run": dry_run, **asdict(plan)})
    else:
        write_message(plan.line(decision))
    if dry_run:
        write_message("nothing was changed (--dry-run)")
    else:
        write_message(f"{name} is active; `freshet batches` shows the one that did it")


def _decide(
    settings: "Settings", name: str, decision: "Decision", reason: str
) -> "TruncationPlan":
    """Look at the record and keep the decision; an empty reason changes nothing."""
    from corpus.database import connect, database_errors_translated
    from ingest import operate
    from ingest.consume import truncated
    from workers.operations import note_operation, requested_by

    with (
        connect(settings.database_url, application="freshet-source") as connection,
        database_errors_translated(),
    ):
        plan = _plan(connection, settings, name)
        if not reason:
            return plan
        place = f"{plan.topic}/{plan.partition}@{plan.record_offset}"
        note_operation(
            connection,
            "source truncate",
            name,
            decision=str(decision),
            record=place,
            documents=plan.documents,
        )
        with connection.transaction():
            truncated.decide(connection, plan, decision, reason, requested_by())
            operate.resume(connection, name)
    return plan


def _plan(
    connection: "Connection", settings: "Settings", name: str
) -> "TruncationPlan":
    from corpus.versions.truncation import place_in
    from ingest import operate
    from ingest.consume.truncated import plan_truncation
    from ingest.kafka import PartitionKey
    from ingest.look import record_reader

    configured = operate.configured_source(connection, name)
    place = place_in(configured.state_reason or "")
    if configured.state != "halted" or place is None:
        raise CommandError(
            f"source {name!r} does not stand at a truncated table; it is {configured.state}"
        )
    key = PartitionKey(place.topic, place.partition)
    position = operate.position_to_skip(connection, name, key, place.offset)
    with record_reader(settings.kafka_bootstrap, settings.kafka_properties) as reader:
        record = reader.read(*key, place.offset)
    return plan_truncation(connection, configured.readable(), place, position, record)
