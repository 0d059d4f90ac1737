"""Dead letters in an operator's hands: list, show, send through again, put aside."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from psycopg.rows import dict_row

from corpus.database import Connection
from corpus.errors import ConfigurationError, DependencyError
from corpus.sql import query
from ingest.dead_letters.first_position import FirstPosition, first_position_of, own_headers
from ingest.kafka import MAX_MESSAGE_BYTES

_FLUSH_SECONDS = 60
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which dead letters; None does not filter."""

    source: str | None = None
    reason: str | None = None
    state: str | None = None
    dead_letters: Sequence[int] | None = None
    most: int = 1_000


def find(connection: Connection, selection: Selection) -> list[dict[str, Any]]:
    """Newest first, without their bytes."""
    arguments = {
        "source": selection.source,
        "reason": selection.reason,
        "state": selection.state,
        "dead_letters": None if selection.dead_letters is None else list(selection.dead_letters),
        "most": selection.most,
    }
    return (
        connection.cursor(row_factory=dict_row)
        .execute(query("list_dead_letters"), arguments)
        .fetchall()
    )


def show(connection: Connection, dead_letter: int) -> dict[str, Any]:
    """One with its bytes.

    Raises:
        ConfigurationError: there is none of this number.
    """
    row = (
        connection.cursor(row_factory=dict_row)
        .execute(query("show_dead_letter"), {"dead_letter": dead_letter})
        .fetchone()
    )
    if row is None:
        raise ConfigurationError(
            f"there is no dead letter {dead_letter}; `freshet dead-letters list` shows those there are"
        )
    return row


def redrive(
    connection: Connection, kafka: dict[str, Any], dead_letters: Sequence[int]
) -> list[int]:
    """Produce the original bytes to the original partition again; they get a new offset and are judged anew.

    Returns:
        The numbers redriven. One that the broker refuses stays open.

    Raises:
        DependencyError: Kafka took none of them.
    """
    producer = Producer(
        {
            "enable.idempotence": True,
            "message.max.bytes": MAX_MESSAGE_BYTES,
            "message.timeout.ms": 30_000,
            **kafka,
        }
    )
    taken: list[int] = []
    refused: list[str] = []

    def acknowledged(number: int, error: KafkaError | None) -> None:
        refused.append(error.str()) if error else taken.append(number)

    for number in sorted(dead_letters):
        row = show(connection, number)
        if row["state"] != "open":
            continue
        try:
            _produce(producer, row, lambda error, _, number=number: acknowledged(number, error))
        except KafkaException as error:
            refused.append(error.args[0].str())
        if len(row["value"] or b"") > 1_000_000:
            producer.flush(_FLUSH_SECONDS)  # one large value in memory at a time
        producer.poll(0)
    producer.flush(_FLUSH_SECONDS)
    done = settle(connection, taken, "redriven")
    if refused and not taken:
        raise DependencyError(f"Kafka took none of the dead letters: {refused[0]}")
    return done


def _produce(
    producer: Producer, row: dict[str, Any], on_delivery: Callable[[KafkaError | None, Any], None]
) -> None:
    """Send one, with the place where it stood at first: one that is redriven for the second time is as old as ever."""
    headers = [
        (name, None if value is None else base64.b64decode(value))
        for name, value in row["headers"] or []
    ]
    at = row["record_at"]
    timestamp_ms = None if at is None else (at - _EPOCH) // timedelta(milliseconds=1)
    origin = first_position_of(headers) or FirstPosition(
        row["topic"], row["partition"], row["record_offset"], timestamp_ms
    )
    headers = [*own_headers(headers), *origin.headers(row["dead_letter"])]
    while True:
        try:
            producer.produce(
                row["topic"],
                key=row["key"],
                value=row["value"],
                partition=row["partition"],
                headers=headers,
                on_delivery=on_delivery,
            )
            return
        except BufferError:  # its queue is full until something is acknowledged or given up
            producer.poll(0.1)


def settle(connection: Connection, dead_letters: Sequence[int], state: str) -> list[int]:
    """Mark open dead letters as `redriven` or `discarded`; answers which ones were open."""
    rows = connection.execute(
        query("settle_dead_letters"), {"dead_letters": list(dead_letters), "state": state}
    ).fetchall()
    return sorted(number for (number,) in rows)
