"""Kafka clients: properties, quiet logs, and what the cluster says about its topics."""

import logging
import time
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec  # pyright: ignore[reportPrivateImportUsage] - exported as documented

from corpus.errors import ConfigurationError, DependencyError
from ingest.event import KafkaRecord

log = logging.getLogger("freshet.kafka")
# A value of 64 MB and its batch's overhead; the broker and the topic have their own limits (message.max.bytes).
MAX_MESSAGE_BYTES = 67_108_864 + 65_536
_ANSWER_SECONDS = 15
_MAX_PARTITIONS = 100_000  # of a topic, by librdkafka

CONSUMER_PROPERTIES: dict[str, Any] = {
    "partition.assignment.strategy": "cooperative-sticky",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    # A position that is gone is an error to be named, never a jump to either end.
    "auto.offset.reset": "error",
    "allow.auto.create.topics": False,
    "session.timeout.ms": 6_000,  # the least a broker allows; a killed consumer's partitions move after this
    "heartbeat.interval.ms": 1_500,
    "max.poll.interval.ms": 300_000,
    "fetch.min.bytes": 1,
    "fetch.wait.max.ms": 100,
    # What librdkafka may hold: a queue of 16 MB, and one response. A single larger record still comes, alone.
    "queued.max.messages.kbytes": 16_384,
    "queued.min.messages": 1_000,
    # After a full queue, look again soon: the default of a second would be a pause of a second.
    "fetch.queue.backoff.ms": 20,
    "fetch.max.bytes": 16_777_216,
    "max.partition.fetch.bytes": 4_194_304,
    "receive.message.max.bytes": 134_217_728,
}


class RateLimitedLog(logging.Logger):
    """librdkafka writes 2-3 lines a second a client while a broker is away: the same kind of line passes once a minute."""

    def __init__(self, target: logging.Logger, seconds: float = 60) -> None:
        super().__init__(target.name)
        self._target, self._seconds = target, seconds
        self._last: dict[str, tuple[float, int]] = {}

    def log(self, level: int, msg: object, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Pass the line on, or count it."""
        kind = str(args[0] if args else msg).split("|", 1)[0][
            :40
        ]  # "FAIL", "ERROR", "CONFWARN", ...
        now = time.monotonic()
        last, held_back = self._last.get(kind, (-self._seconds, 0))
        if now - last < self._seconds:
            self._last[kind] = (last, held_back + 1)
            return
        self._last[kind] = (now, 0)
        # librdkafka recovers by itself from what it logs; what a person must know comes through `ErrorLog`.
        level = min(level, logging.INFO)
        self._target.log(
            level,
            "librdkafka: %s",
            str(msg) % args if args else msg,
            extra={"action": "kafka_log", "held_back": held_back},
        )


class ErrorLog:
    """`error_cb`: where a wrong password or an unreachable cluster shows; one clear line a minute each kind."""

    def __init__(self, seconds: float = 60) -> None:
        self._seconds = seconds
        self._last: dict[int, float] = {}
        self.last_error: KafkaError | None = None

    def __call__(self, error: KafkaError) -> None:
        """Log, unless the same kind was logged just now."""
        self.last_error = error
        now = time.monotonic()
        if now - self._last.get(error.code(), -self._seconds) < self._seconds:
            return
        self._last[error.code()] = now
        hint = _HINTS.get(error.code(), "it is tried again for as long as it takes")
        log.error(
            "Kafka: %s (%s)",
            error.str(),
            hint,
            extra={"action": "kafka_error", "code": error.name()},
        )


_HINTS = {
    KafkaError._AUTHENTICATION: "check sasl.username and sasl.password in the file FRESHET_KAFKA_PROPERTIES",
    KafkaError._ALL_BROKERS_DOWN: "no broker answers: is Kafka running, is FRESHET_KAFKA_BOOTSTRAP right?",
    KafkaError._SSL: "check ssl.ca.location and the certificates in the file FRESHET_KAFKA_PROPERTIES",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "the user lacks READ or DESCRIBE on the topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "the user lacks READ on the consumer group FRESHET_KAFKA_GROUP",
}


def properties(bootstrap: str, given: dict[str, str], **ours: Any) -> dict[str, Any]:
    """Properties of a client: ours, then the user's, which win; the address, the log and the error callback."""
    return {
        "client.id": "freshet",
        "reconnect.backoff.max.ms": 2_000,
        "topic.metadata.refresh.interval.ms": 10_000,
        **{name.replace("_", "."): value for name, value in ours.items()},
        **given,
        "bootstrap.servers": bootstrap,
        "logger": RateLimitedLog(log),
        "error_cb": ErrorLog(),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicState:
    """What the cluster says about a topic."""

    topic: str
    topic_id: str
    partitions: int


class Cluster:
    """Questions to the cluster; each waits at most 15 s.

    Args:
        bootstrap: host:port[,...].
        given: the user's librdkafka properties.
    """

    def __init__(self, bootstrap: str, given: dict[str, str]) -> None:
        self._bootstrap, self._given = bootstrap, given
        self._admin = AdminClient(properties(bootstrap, given))
        self._cluster_id = ""

    def cluster_id(self) -> str:
        """The cluster's id.

        Raises:
            DependencyError: Kafka does not answer.
        """
        if not self._cluster_id:
            found = _answer(
                self._admin.describe_cluster(request_timeout=_ANSWER_SECONDS),
                "describing the cluster",
            )
            self._cluster_id = found.cluster_id or ""
        return self._cluster_id

    def forget_cluster_id(self) -> None:
        """Ask again the next time: the address may lead to another cluster now."""
        self._cluster_id = ""

    def topics(self, names: Iterable[str]) -> dict[str, TopicState]:
        """The topics of these names that exist.

        Raises:
            ConfigurationError: a name is empty.
            DependencyError: Kafka does not answer.
        """
        names = list(dict.fromkeys(names))
        if "" in names:
            raise ConfigurationError("a topic's name is empty")
        if not names:
            return {}
        states: dict[str, TopicState] = {}
        for name, future in self._admin.describe_topics(
            TopicCollection(names), request_timeout=_ANSWER_SECONDS
        ).items():
            found = _answer(
                future, f"describing topic {name}", missing=KafkaError.UNKNOWN_TOPIC_OR_PART
            )
            if found is not None:
                states[name] = TopicState(
                    topic=name, topic_id=str(found.topic_id), partitions=len(found.partitions)
                )
        return states

    def offsets(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], tuple[int, int]]:
        """(first offset kept, next offset written) of each (topic, partition).

        Raises:
            DependencyError: Kafka does not answer.
        """
        places = list(places)
        if not places:
            return {}
        ends: list[dict[tuple[str, int], int]] = []
        for spec in (OffsetSpec.earliest(), OffsetSpec.latest()):
            wanted: dict[TopicPartition, Any] = {
                TopicPartition(topic, partition): spec for topic, partition in places
            }
            asked = self._admin.list_offsets(wanted, request_timeout=_ANSWER_SECONDS)
            ends.append(
                {
                    (at.topic, at.partition): _answer(
                        future, f"asking offsets of {at.topic}/{at.partition}"
                    ).offset
                    for at, future in asked.items()
                }
            )
        return {place: (ends[0][place], ends[1][place]) for place in places}

    def next_record(self, topic: str, partition: int, offset: int) -> int | None:
        """Offset of the first record from `offset` on that a reader gets; None where only holes are left.

        Transactions leave a marker behind their last record, and aborted ones records that nobody gets: the end of the log is
        then beyond what can be consumed.

        Raises:
            DependencyError: Kafka does not answer.
        """
        once: dict[str, Any] = {
            "group.id": "freshet-look",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
        }
        once |= {"queued.min.messages": 1, "fetch.message.max.bytes": 4_096}  # one record is enough
        reader = Consumer({**properties(self._bootstrap, self._given), **once})
        try:
            reader.assign([TopicPartition(topic, partition, offset)])
            message = reader.poll(_ANSWER_SECONDS)
        finally:
            reader.close()
        error = message.error() if message is not None else None
        if message is None or (error is not None and error.code() != KafkaError._PARTITION_EOF):
            raise DependencyError(
                f"Kafka: looking at {topic}/{partition}@{offset} failed: {error.str() if error else 'no answer'}"
            )
        return None if error is not None else message.offset()

    def create_topic(
        self, name: str, partitions: int, config: dict[str, str] | None = None
    ) -> bool:
        """Create a topic; False where it was there.

        Raises:
            ConfigurationError: there cannot be such a topic.
            DependencyError: Kafka does not answer or refuses.
        """
        if not name or not 1 <= partitions <= _MAX_PARTITIONS:
            raise ConfigurationError(
                f"topic {name!r} of {partitions:,} partitions: it needs a name and 1 to {_MAX_PARTITIONS:,} partitions"
            )
        asked = self._admin.create_topics(
            [NewTopic(name, num_partitions=partitions, config=config or {})],
            request_timeout=_ANSWER_SECONDS,
        )
        return (
            _answer(
                asked[name],
                f"creating topic {name}",
                missing=KafkaError.TOPIC_ALREADY_EXISTS,
                found=True,
            )
            is not None
        )


def _answer(
    future: "Future[Any]", doing: str, *, missing: int | None = None, found: Any = None
) -> Any:
    try:
        result = future.result(timeout=_ANSWER_SECONDS + 5)
    except KafkaException as error:
        if error.args[0].code() == missing:
            return None
        raise DependencyError(f"Kafka: {doing} failed: {error.args[0].str()}") from error
    except TimeoutError as error:
        raise DependencyError(f"Kafka: {doing} took longer than {_ANSWER_SECONDS} s") from error
    return result if found is None else found


def record_of(message: Message) -> KafkaRecord:
    """A message without an error, as this project's own type.

    The client gives a message's headers all or not at all: a name that is not UTF-8, which Kafka itself allows, makes it raise.
    """
    kind, timestamp = message.timestamp()
    headers, unreadable = (), None
    try:
        headers = tuple((name, _bytes(value)) for name, value in message.headers() or ())
    except (SystemError, ValueError) as error:
        unreadable = f"the headers cannot be read ({error.__cause__ or error}); a header's name must be UTF-8"
    return KafkaRecord(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        timestamp_ms=timestamp if kind and timestamp >= 0 else None,
        key=_bytes(message.key()),
        value=_bytes(message.value()),
        headers=headers,
        unreadable=unreadable,
    )


def _bytes(value: Any) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
