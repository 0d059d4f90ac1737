"""The dead-letter outbox: what the publish transaction put into `freshet.dead_letter` goes to a Kafka topic.

At least once: a row is marked after the broker acknowledged it, so a crash in between sends it twice with the same headers.
"""

import asyncio
import base64
import logging
import time
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from psycopg_pool import ConnectionPool

from corpus.database import database_errors_translated
from corpus.errors import DependencyError, FreshetError
from corpus.source import SourceSpec
from corpus.sql import query
from ingest.kafka import MAX_MESSAGE_BYTES, Cluster

log = logging.getLogger("freshet.outbox")
_PAUSE_SECONDS = 1.0
_MAX = 50  # rows a round; with the largest documents that is what memory allows
_FLUSH_SECONDS = 30
_WAIT_SECONDS = 10.0  # of a source whose topic cannot be made or written
_TELL_SECONDS = 300.0
Headers = list[tuple[str, str | bytes | None]]


async def run_outbox(pool: ConnectionPool[Any], cluster: Cluster, kafka: dict[str, Any]) -> None:
    """Produce dead letters until cancelled; services that are down are waited for."""
    outbox = Outbox(pool, cluster, kafka)
    while True:
        try:
            produced = await asyncio.to_thread(outbox.produce_some)
        except FreshetError as error:
            log.warning("dead letters wait: %s", error, extra={"action": "retry"})
            produced = 0
            await asyncio.sleep(5)
        if not produced:
            await asyncio.sleep(_PAUSE_SECONDS)


class Outbox:
    """Takes rows in order and produces them."""

    def __init__(self, pool: ConnectionPool[Any], cluster: Cluster, kafka: dict[str, Any]) -> None:
        self._pool = pool
        self._cluster = cluster
        self._producer = Producer(
            {
                "enable.idempotence": True,
                "message.max.bytes": MAX_MESSAGE_BYTES,
                "compression.type": "lz4",
                "message.timeout.ms": 20_000,
                **kafka,
            }
        )
        self._topics: set[str] = set()
        self._waiting: dict[str, float] = {}  # source -> monotonic second of its next turn
        self._told: dict[str, float] = {}

    def produce_some(self) -> int:
        """Produce what waits, at most a round.

        A source whose dead letters Kafka does not take waits for a while, and keeps no other source from its turn.

        Returns:
            How many were marked as produced.

        Raises:
            DependencyError: PostgreSQL or Kafka does not answer.
        """
        now = time.monotonic()
        self._waiting = {source: until for source, until in self._waiting.items() if until > now}
        with database_errors_translated(), self._pool.connection(timeout=5) as connection:
            rows = connection.execute(
                query("dead_letters_unproduced"), {"most": _MAX, "without": list(self._waiting)}
            ).fetchall()
        done: list[int] = []
        for row in rows:
            if row[1] not in self._waiting:
                try:
                    self._produce(row, done)
                except FreshetError as error:
                    self._wait(row[1], str(error))
        if self._producer.flush(_FLUSH_SECONDS):
            log.warning(
                "Kafka did not acknowledge all dead letters in time", extra={"action": "retry"}
            )
        if done:
            with database_errors_translated(), self._pool.connection(timeout=5) as connection:
                connection.execute(query("dead_letters_produced"), {"dead_letters": done})
        elif any(row[1] not in self._waiting for row in rows):
            raise DependencyError(f"Kafka acknowledged none of {len(rows)} dead letters")
        return len(done)

    def _wait(self, source: str, why: str) -> None:
        """Leave a source out for a while; tell it once in a while."""
        now = time.monotonic()
        self._waiting[source] = now + _WAIT_SECONDS
        if now - self._told.get(source, -_TELL_SECONDS) >= _TELL_SECONDS:
            self._told[source] = now
            log.warning(
                "dead letters of a source wait: %s",
                why,
                extra={"action": "retry", "source": source},
            )

    def _produce(self, row: tuple[Any, ...], done: list[int]) -> None:
        number, source, spec, _, _, _, _, _, _, _, key, value, _ = row
        topic = SourceSpec.from_json(spec).dead_letters_to()
        headers = _headers(row)
        self._ensure(topic)

        def acknowledged(error: KafkaError | None, _: Any) -> None:
            if error is None:
                done.append(number)
            elif (
                error.code() in (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE)
                and value
            ):
                self._pointer(topic, number, key, headers, done)
            else:
                self._topics.discard(topic)  # it may have been removed
                self._wait(source, f"topic {topic}: {error.str()}")

        try:
            self._producer.produce(
                topic, key=key, value=value, headers=headers, on_delivery=acknowledged
            )
        except BufferError:
            self._producer.flush(_FLUSH_SECONDS)  # the next round takes it
        except KafkaException as error:  # larger than our own limit
            log.info(
                "dead letter is too large for Kafka: %s",
                error.args[0].str(),
                extra={"action": "truncated", "topic": topic},
            )
            self._pointer(topic, number, key, headers, done)

    def _pointer(
        self, topic: str, number: int, key: bytes | None, headers: Headers, done: list[int]
    ) -> None:
        """The topic does not take the bytes: they are in the database, the reason goes out."""

        def acknowledged(error: KafkaError | None, _: Any) -> None:
            if error is None:
                done.append(number)

        small = [(name, value) for name, value in headers if name.startswith("freshet.")]
        self._producer.produce(
            topic,
            key=key,
            value=b"",
            headers=[*small, ("freshet.truncated", str(number).encode())],
            on_delivery=acknowledged,
        )

    def _ensure(self, topic: str) -> None:
        if topic not in self._topics:
            # One partition: dead letters are few, and one place shows them in order.
            self._cluster.create_topic(topic, 1, {"max.message.bytes": str(MAX_MESSAGE_BYTES)})
            self._topics.add(topic)


def _headers(row: tuple[Any, ...]) -> Headers:
    """The record's own headers, and why and where."""
    _, source, _, batch, topic, partition, offset, document_id, reason, detail, _, _, original = row
    described = {
        "reason": reason,
        "detail": detail,
        "source": source,
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "batch": batch,
        "document": document_id or "",
    }
    own = [
        (name, None if value is None else base64.b64decode(value)) for name, value in original or []
    ]
    return [*own, *((f"freshet.{name}", str(value).encode()) for name, value in described.items())]
