"""The dead-letter outbox: rows that the publish transaction added to `freshet.dead_letter` go to a Kafka topic.

Several consumers run an outbox each, and each dead letter is sent by one of them: it claims the row for two minutes and
sends it in the first of them. At least once: the row is marked after the broker acknowledged it, so a process that is
killed or frozen in between leaves a letter that is sent once more, with the same headers; `freshet.dead-letter` names
the row, by which a reader recognises the repetition.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from psycopg.rows import class_row
from psycopg_pool import ConnectionPool

from corpus.database import database_errors_translated
from corpus.dead_letter import without_quote
from corpus.errors import DependencyError, FreshetError
from corpus.log_limit import LogLimit
from corpus.retry import until_answered_in_thread
from corpus.source import SourceSpec
from corpus.sql import query
from ingest.dead_letters.headers import Headers, stored_headers
from ingest.kafka import MAX_MESSAGE_BYTES, Cluster

logger = logging.getLogger(__name__)
logger.addFilter(LogLimit())

_IDLE_SECONDS = 1.0
_MAX_ROWS = 50  # of one round; with the largest documents that is what memory allows
_FLUSH_SECONDS = 30
_CONNECTION_SECONDS = 5.0
# How long a claim lasts, and how long letters of a claim are given to the client. After that the client tries to send
# for at most `message.timeout.ms`, so no letter is sent when its claim has ended, unless this process was frozen.
_CLAIM_SECONDS = 120.0
_SENDING_SECONDS = 60.0
_SOURCE_PAUSE_SECONDS = 10.0  # of a source whose topic cannot be created or written
_TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE})
_POINTER_VALUE = b""


async def run_outbox(outbox: "Outbox") -> None:
    """Produce dead letters until cancelled; a service that is down is waited for."""
    while True:
        produced = await until_answered_in_thread(
            outbox.produce_some, doing="producing dead letters", logger=logger
        )
        if not produced:
            await asyncio.sleep(_IDLE_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnproducedDeadLetter:
    """A row of the query `dead_letters_unproduced`."""

    dead_letter: int
    source: str
    spec: dict[str, Any]
    batch: int
    topic: str
    partition: int
    record_offset: int
    document_id: str | None
    reason: str
    detail: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, str | None]] | None

    def described(self) -> Headers:
        """Headers that say why the record is a dead letter, and where it was."""
        fields = {
            "reason": self.reason,
            "detail": without_quote(self.detail),
            "source": self.source,
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.record_offset,
            "batch": self.batch,
            "document": self.document_id or "",
            "dead-letter": self.dead_letter,
        }
        return [
            (f"freshet.{name}", str(value).encode()) for name, value in fields.items()
        ]


class Outbox:
    """Takes rows in order and produces them.

    Args:
        pool: connections to the database.
        cluster: creates the dead-letter topics.
        kafka: librdkafka properties of the producer.
    """

    def __init__(
        self, pool: ConnectionPool[Any], cluster: Cluster, kafka: dict[str, Any]
    ) -> None:
        self._pool = pool
        self._cluster = cluster
        self._properties: dict[str, Any] = {
            "enable.idempotence": True,
            "message.max.bytes": MAX_MESSAGE_BYTES,
            "compression.type": "lz4",
            "message.timeout.ms": 20_000,
            **kafka,
        }
        self._producer = Producer(self._properties)
        self._topics: set[str] = set()
        self._paused_until: dict[str, float] = {}  # source -> monotonic second
        self._acknowledged: list[int] = []  # not marked yet

    def log_in(self, username: str, password: str) -> None:
        """Use another name and password at the next login, also of a producer that replaces this one."""
        self._properties |= {"sasl.username": username, "sasl.password": password}
        self._producer.set_sasl_credentials(username, password)

    def properties(self) -> dict[str, Any]:
        """Properties of a producer, with the newest login."""
        return dict(self._properties)

    def produce_some(self) -> int:
        """Produce the oldest dead letters, at most a round of them.

        A source whose dead letters Kafka does not accept is left out for a while, so that it does not delay the others.

        Returns:
            How many were marked as produced.

        Raises:
            DependencyError: PostgreSQL or Kafka does not answer.
        """
        marked = self._mark()  # what an earlier round could not
        claim = uuid.uuid4()
        claimed_at = time.monotonic()
        letters = self._unproduced(claim)
        for letter in letters:
            is_late = time.monotonic() - claimed_at > _SENDING_SECONDS
            if not is_late and letter.source not in self._paused_until:
                self._try_to_produce(letter)
        waiting = self._producer.flush(_FLUSH_SECONDS)
        if waiting:
            logger.warning(
                "Kafka did not acknowledge all dead letters in time",
                extra={"action": "retry", "kind": "flush"},
            )
        produced = self._mark()
        if not waiting:
            self._release(claim, letters)
        if not produced and any(
            letter.source not in self._paused_until for letter in letters
        ):
            raise DependencyError(
                f"Kafka acknowledged none of {len(letters)} dead letters"
            )
        return marked + produced

    def _try_to_produce(self, letter: UnproducedDeadLetter) -> None:
        """Give a letter to the client, or let its source wait."""
        try:
            self._produce(letter)
        except FreshetError as error:
            self._pause(letter.source, str(error))
        except KafkaException as error:
            self._handle_refusal(letter.source, error.args[0])
        except (
            Exception
        ) as error:  # one row must not end the outbox, which ends the consumer
            logger.exception(
                "a dead letter cannot be sent",
                extra={"action": "dead_letter_failed", "source": letter.source},
            )
            self._pause(letter.source, type(error).__name__)

    def _unproduced(self, claim: uuid.UUID) -> list[UnproducedDeadLetter]:
        now = time.monotonic()
        self._paused_until = {
            source: until for source, until in self._paused_until.items() if until > now
        }
        arguments = {
            "most": _MAX_ROWS,
            "without": list(self._paused_until),
            "claim": claim,
            "claim_seconds": _CLAIM_SECONDS,
        }
        with (
            database_errors_translated(),
            self._pool.connection(_CONNECTION_SECONDS) as connection,
        ):
            cursor = connection.cursor(row_factory=class_row(UnproducedDeadLetter))
            return cursor.execute(
                query("dead_letters_unproduced"), arguments
            ).fetchall()

    def _release(
        self, claim: uuid.UUID, letters: Sequence[UnproducedDeadLetter]
    ) -> None:
        """Let any outbox send those that were not sent; the client has none of them any more."""
        arguments = {
            "dead_letters": [letter.dead_letter for letter in letters],
            "claim": claim,
        }
        if not letters:
            return
        with (
            database_errors_translated(),
            self._pool.connection(_CONNECTION_SECONDS) as connection,
        ):
            connection.execute(query("release_dead_letters"), arguments)

    def _mark(self) -> int:
        """Mark what the broker acknowledged; returns how many. What cannot be marked now is marked by the next call."""
        acknowledged = list(self._acknowledged)
        if not acknowledged:
            return 0
        with (
            database_errors_translated(),
            self._pool.connection(_CONNECTION_SECONDS) as connection,
        ):
            connection.execute(
                query("dead_letters_produced"), {"dead_letters": acknowledged}
            )
        del self._acknowledged[: len(acknowledged)]
        return len(acknowledged)

    def _pause(self, source: str, reason: str) -> None:
        """Leave a source out for a while."""
        self._paused_until[source] = time.monotonic() + _SOURCE_PAUSE_SECONDS
        logger.warning(
            "dead letters of a source wait: %s",
            reason,
            extra={"action": "retry", "source": source, "kind": f"source/{source}"},
        )

    def _produce(self, letter: UnproducedDeadLetter) -> None:
        topic = SourceSpec.from_json(letter.spec).dead_letters_to()
        self._ensure_topic(topic)
        headers = [*stored_headers(letter.headers), *letter.described()]
        try:
            self._send(letter, topic, letter.value, headers)
        except BufferError:
            self._producer.flush(_FLUSH_SECONDS)  # the next round takes the letter
        except KafkaException as error:
            refusal: KafkaError = error.args[0]
            if refusal.code() not in _TOO_LARGE:
                raise
            logger.info(
                "dead letter is too large for Kafka: %s",
                refusal.str(),
                extra={"action": "truncated", "topic": topic},
            )
            self._send_pointer(letter, topic)

    def _handle_refusal(self, source: str, refusal: KafkaError) -> None:
        """The client accepts nothing for this source; after a fatal error it accepts nothing for any."""
        if refusal.fatal():
            logger.error(
                "the producer failed and is replaced: %s",
                refusal.str(),
                extra={"action": "retry", "kind": "fatal"},
            )
            self._producer = Producer(self._properties)
        else:
            self._pause(source, refusal.str())

    def _send_pointer(self, letter: UnproducedDeadLetter, topic: str) -> None:
        """Send the reason without the bytes, which the topic does not accept; they are in the database."""
        number = str(letter.dead_letter).encode()
        headers: Headers = [*letter.described(), ("freshet.truncated", number)]
        self._send(letter, topic, _POINTER_VALUE, headers)

    def _send(
        self,
        letter: UnproducedDeadLetter,
        topic: str,
        value: bytes | None,
        headers: Headers,
    ) -> None:
        def on_delivery(error: KafkaError | None, _: object) -> None:
            if error is None:
                self._acknowledged.append(letter.dead_letter)
            elif error.code() in _TOO_LARGE and value:
                self._send_pointer(letter, topic)
            else:
                self._topics.discard(topic)  # it may have been removed
                self._pause(letter.source, f"topic {topic}: {error.str()}")

        self._producer.produce(
            topic, key=letter.key, value=value, headers=headers, on_delivery=on_delivery
        )

    def _ensure_topic(self, topic: str) -> None:
        if topic in self._topics:
            return
        # One partition: dead letters are few, and one partition shows them in order.
        self._cluster.create_topic(
            topic, 1, {"max.message.bytes": str(MAX_MESSAGE_BYTES)}
        )
        self._topics.add(topic)
