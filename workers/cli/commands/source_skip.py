"""`freshet source skip`: pass records that cannot be read; each becomes a dead letter."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from workers.cli.console import MAX_BIGINT, CommandError, write_json, write_message
from workers.cli.entity import signal_entity

if TYPE_CHECKING:
    from ingest.consume.unreadable import UnreadableRange
    from ingest.kafka import PartitionKey
    from workers.config.settings import Settings

_MAX_INT4 = 2**31 - 1

Name = Annotated[str, typer.Argument(help="Name of the source.")]
Topic = Annotated[str, typer.Option(help="Topic of the record.")]
Partition = Annotated[
    int, typer.Option(min=0, max=_MAX_INT4, help="Partition of the record.")
]
Offset = Annotated[
    int, typer.Option(min=0, max=MAX_BIGINT - 1, help="Offset of the record.")
]
Reason = Annotated[str, typer.Option(help="Why; it is kept in the dead letters.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show the records and change nothing.")
]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


def skip_records(
    name: Name,
    topic: Topic,
    partition: Partition,
    offset: Offset,
    reason: Reason,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Pass a record that cannot be read, with the others of its record batch, and resume the source.

    Kafka's compression is per record batch: where one cannot be read, none of it can. Each record becomes a dead letter
    without its bytes (not_read).
    """
    from ingest.kafka import PartitionKey
    from workers.config import settings

    if not reason.strip():
        raise CommandError("--reason is empty; it is kept in the dead letters")
    resolved = settings.load()
    key = PartitionKey(topic, partition)
    found = _pass_over(resolved, name, key, offset, "" if dry_run else reason)
    if not dry_run:
        asyncio.run(signal_entity(resolved, name, "resume", state="active"))
    if as_json:
        passed = {
            "source": name,
            "topic": topic,
            "partition": partition,
            "first_offset": offset,
            "next_offset": found.next_offset,
            "why": found.why,
            "dry_run": dry_run,
        }
        write_json(passed)
        return
    records = found.next_offset - offset
    last = found.next_offset - 1
    why = found.why or "it can be read"
    which = f"{key}/{offset} to {last} ({records:,} records): {why}"
    if dry_run:
        write_message(f"would pass {which}; nothing was changed (--dry-run)")
    else:
        write_message(
            f"passes {which}; dead letters (not_read) will say so; {name} is active"
        )


def _pass_over(
    settings: "Settings",
    source: str,
    key: "PartitionKey",
    offset: int,
    reason: str,
) -> "UnreadableRange":
    """Find how far the record batch reaches, and have the source pass it; an empty reason changes nothing."""
    from corpus.database import connect, database_errors_translated
    from ingest import operate
    from ingest.consume.unreadable import Prober
    from ingest.kafka import properties
    from workers.operations import note_operation

    kafka = properties(settings.kafka_bootstrap, settings.kafka_properties)
    with (
        connect(settings.database_url, application="freshet-source") as connection,
        database_errors_translated(),
    ):
        position = operate.position_to_skip(connection, source, key, offset)
        with Prober(kafka) as prober:
            found = prober.range_from(key, offset)
        if reason:
            note_operation(
                connection,
                "source skip",
                source,
                partition=str(key),
                first_offset=offset,
                next_offset=found.next_offset,
                reason=reason,
            )
            operate.skip_records(
                connection,
                position,
                offset,
                found.next_offset,
                reason,
            )
    return found
