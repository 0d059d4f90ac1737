"""What an operator can do with dead letters: list, show, redrive, discard."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from psycopg.rows import dict_row, scalar_row

from corpus.database import Connection
from corpus.dead_letter import DeadLetterReason
from corpus.errors import ConfigurationError, DependencyError
from corpus.sql import query
from ingest.dead_letters.first_position import (
    FirstPosition,
    first_position_of,
    own_headers,
)
from ingest.dead_letters.headers import Headers, stored_headers
from ingest.kafka import MAX_MESSAGE_BYTES

_FLUSH_SECONDS = 60
_FULL_QUEUE_SECONDS = 0.1
_LARGE_BYTES = 1_000_000
_WITHOUT_BYTES = frozenset({DeadLetterReason.TOO_LARGE, DeadLetterReason.NOT_READ})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which dead letters; a field that is None does not filter."""

    source: str | None = None
    reason: str | None = None
    state: str | None = None
    dead_letters: Sequence[int] | None = None
    most: int = 1_000


def find(connection: Connection, selection: Selection) -> list[dict[str, Any]]:
    """The selected dead letters, newest first, without their bytes."""
    arguments = asdict(selection)
    if selection.dead_letters is not None:
        arguments["dead_letters"] = list(selection.dead_letters)
    cursor = connection.cursor(row_factory=dict_row)
    return cursor.execute(query("list_dead_letters"), arguments).fetchall()


def show(connection: Connection, dead_letter: int) -> dict[str, Any]:
    """One dead letter with its bytes.

    Raises:
        ConfigurationError: there is no dead letter of this number.
    """
    cursor = connection.cursor(row_factory=dict_row)
    row = cursor.execute(
        query("show_dead_letter"), {"dead_letter": dead_letter}
    ).fetchone()
    if row is None:
        raise ConfigurationError(
            f"there is no dead letter {dead_letter}; `freshet dead-letters list` lists them"
        )
    return row


def redrive(
    connection: Connection, kafka: dict[str, Any], dead_letters: Sequence[int]
) -> list[int]:
    """Produce the original bytes to the original partition again; they get a new offset and are decoded again.

    Returns:
        The numbers of those that were redriven. One that the broker refuses stays open, and so does one that was kept
        without its bytes.

    Raises:
        ConfigurationError: there is no dead letter of one of these numbers; or none of them has its bytes.
        DependencyError: Kafka accepted none of them.
    """
    redriver = _Redriver(kafka)
    without_bytes: list[int] = []
    for number in sorted(dead_letters):
        row = show(connection, number)
        if row["state"] != "open":
            continue
        if is_without_bytes(row):
            without_bytes.append(number)
        else:
            redriver.produce(row)
    redriver.flush()
    if without_bytes and not redriver.accepted:
        raise ConfigurationError(
            f"dead letter {without_bytes[0]} was kept without its bytes, and a null value would delete its document; "
            "read the record in Kafka, and send its document again in another way"
        )
    redriven = settle(connection, redriver.accepted, "redriven")
    if redriver.refusals and not redriver.accepted:
        raise DependencyError(
            f"Kafka accepted none of the dead letters: {redriver.refusals[0]}"
        )
    return redriven


def is_without_bytes(row: Mapping[str, Any]) -> bool:
    """Whether the record's bytes were not kept: it was too large, or never read."""
    return row["value"] is None and row["reason"] in _WITHOUT_BYTES


def settle(
    connection: Connection, dead_letters: Sequence[int], state: str
) -> list[int]:
    """Mark open dead letters as `redriven` or `discarded`; returns the numbers of those that were open."""
    arguments = {"dead_letters": list(dead_letters), "state": state}
    cursor = connection.cursor(row_factory=scalar_row)
    return sorted(cursor.execute(query("settle_dead_letters"), arguments).fetchall())


class _Redriver:
    """A producer, and what became of the dead letters that it was given."""

    def __init__(self, kafka: dict[str, Any]) -> None:
        self._producer = Producer(
            {
                "enable.idempotence": True,
                "message.max.bytes": MAX_MESSAGE_BYTES,
                "message.timeout.ms": 30_000,
                **kafka,
            }
        )
        self.accepted: list[int] = []
        self.refusals: list[str] = []

    def produce(self, row: Mapping[str, Any]) -> None:
        """Send one."""
        number: int = row["dead_letter"]

        def on_delivery(error: KafkaError | None, _: object) -> None:
            if error is None:
                self.accepted.append(number)
            else:
                self.refusals.append(error.str())

        while True:
            try:
                self._producer.produce(
                    row["topic"],
                    key=row["key"],
                    value=row["value"],
                    partition=row["partition"],
                    headers=_redriven_headers(row),
                    on_delivery=on_delivery,
                )
                break
            except (
                BufferError
            ):  # the queue is full until the broker has acknowledged a record
                self._producer.poll(_FULL_QUEUE_SECONDS)
            except KafkaException as error:
                self.refusals.append(error.args[0].str())
                break
        if len(row["value"] or b"") > _LARGE_BYTES:
            self.flush()  # one large value in memory at a time
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until every record is acknowledged or refused."""
        self._producer.flush(_FLUSH_SECONDS)


def _redriven_headers(row: Mapping[str, Any]) -> Headers:
    """The record's headers and its first position, which stays the same however often the record is redriven."""
    headers = stored_headers(row["headers"])
    first = first_position_of(headers) or _position_of(row)
    return [*own_headers(headers), *first.headers(row["dead_letter"])]


def _position_of(row: Mapping[str, Any]) -> FirstPosition:
    record_at: datetime | None = row["record_at"]
    timestamp_ms = None
    if record_at is not None:
        timestamp_ms = (record_at - _EPOCH) // _MILLISECOND
    return FirstPosition(
        topic=row["topic"],
        partition=row["partition"],
        offset=row["record_offset"],
        timestamp_ms=timestamp_ms,
        topic_id=row.get("topic_id"),
    )
