"""Kafka clients: their properties, their log lines, and what the cluster knows about its topics."""

# confluent_kafka.admin exports its classes as its documentation says, but not for type checkers.
# pyright: reportPrivateImportUsage=false

import logging
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, NamedTuple

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec

from corpus.disclosure.error_text import public_text
from corpus.errors import ConfigurationError, DependencyError
from corpus.log_limit import LogLimit
from ingest.answers import UNREADABLE, Answers, next_message

logger = logging.getLogger(__name__)
# librdkafka writes two or three lines per second and client while a broker is away.
logger.addFilter(LogLimit())

# A value of 64 MB and its batch's overhead; the broker and the topic have their own limits (message.max.bytes).
MAX_MESSAGE_BYTES = 67_108_864 + 65_536
_ANSWER_SECONDS = 15
_NO_SUCH_RECORD = -1  # answer to the question for a time after the last record
_MAX_PARTITIONS = 100_000  # of a topic, by librdkafka

CONSUMER_PROPERTIES: dict[str, Any] = {
    "partition.assignment.strategy": "cooperative-sticky",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    # An offset that is not in the log is an error with a name, never a jump to either end.
    "auto.offset.reset": "error",
    "allow.auto.create.topics": False,
    # The minimum of a broker; the partitions of a consumer that was killed move after this time.
    "session.timeout.ms": 6_000,
    "heartbeat.interval.ms": 1_500,
    "max.poll.interval.ms": 300_000,
    "fetch.min.bytes": 1,
    "fetch.wait.max.ms": 100,
    # librdkafka holds at most a queue of 16 MB and one response. A larger single record still comes, alone.
    "queued.max.messages.kbytes": 16_384,
    "queued.min.messages": 1_000,
    # After a full queue, fetch again soon: the default of a second would be a pause of a second.
    "fetch.queue.backoff.ms": 20,
    "fetch.max.bytes": 16_777_216,
    "max.partition.fetch.bytes": 4_194_304,
    "receive.message.max.bytes": 134_217_728,
}

_HINTS = {
    KafkaError._AUTHENTICATION: "check sasl.username and sasl.password in the file FRESHET_KAFKA_PROPERTIES, or "
    "FRESHET_KAFKA_PASSWORD",
    KafkaError._ALL_BROKERS_DOWN: "no broker answers: is Kafka running, is FRESHET_KAFKA_BOOTSTRAP right?",
    KafkaError._SSL: "check ssl.ca.location and the certificates in the file FRESHET_KAFKA_PROPERTIES",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "the user lacks READ or DESCRIBE on the topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "the user lacks READ on the consumer group FRESHET_KAFKA_GROUP",
}


# A warning about a property quotes its value, which may be a secret, and may hold the mark itself: all up to the last.
_PROPERTY_VALUE = re.compile("set to `.*`", re.DOTALL)


class LibrdkafkaLog:
    """Writes what librdkafka logs to our log; one line per kind ("FAIL", "CONFWARN", ...) and minute passes."""

    def log(self, level: int, message: str, *arguments: object) -> None:
        """Log one line, at most as information.

        librdkafka recovers by itself from what it logs; what a person must know comes through `log_error`.
        """
        facility, text = message, message
        if arguments:
            facility, text = str(arguments[0]), message % arguments
        text = _PROPERTY_VALUE.sub("set to a value", text)
        logger.log(
            min(level, logging.INFO),
            "librdkafka: %s",
            text,
            extra={"action": "kafka_log", "kind": f"librdkafka/{facility}"},
        )


def log_error(error: KafkaError) -> None:
    """Log an error of a client, with a hint (`error_cb`): this is where a wrong password shows."""
    logger.error(
        "Kafka: %s (%s)",
        error.str(),
        _HINTS.get(error.code(), "the client tries again until it succeeds"),
        extra={
            "action": "kafka_error",
            "kind": f"error/{error.name()}",
            "code": error.name(),
        },
    )


def properties(bootstrap: str, given: dict[str, str], **ours: Any) -> dict[str, Any]:
    """Properties of a client: ours, then the user's, which win; then the address, the log and the error callback."""
    return {
        "client.id": "freshet",
        "reconnect.backoff.max.ms": 2_000,
        "topic.metadata.refresh.interval.ms": 10_000,
        **{name.replace("_", "."): value for name, value in ours.items()},
        **given,
        "bootstrap.servers": bootstrap,
        "logger": LibrdkafkaLog(),
        "error_cb": log_error,
    }


class PartitionKey(NamedTuple):
    """Which partition."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"


class LogBounds(NamedTuple):
    """Which offsets a partition has now."""

    first_offset: int  # oldest record kept
    next_offset: int  # of the next record written


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicState:
    """What the cluster knows about a topic."""

    topic: str
    topic_id: str
    partitions: int


class Cluster:
    """Asks the cluster; each method blocks for at most 15 s.

    Args:
        bootstrap: host:port[,...].
        given: the user's librdkafka properties.
    """

    def __init__(self, bootstrap: str, given: dict[str, str]) -> None:
        self._bootstrap, self._given = bootstrap, given
        # The types of AdminClient's methods are incomplete.
        self._admin: Any = AdminClient(properties(bootstrap, given))
        self._cluster_id = ""

    def log_in(self, username: str, password: str) -> None:
        """Use another name and password at the next login."""
        self._admin.set_sasl_credentials(username, password)

    def cluster_id(self) -> str:
        """The cluster's id.

        Raises:
            DependencyError: Kafka does not answer.
        """
        if not self._cluster_id:
            asked = self._admin.describe_cluster(request_timeout=_ANSWER_SECONDS)
            self._cluster_id = _answer(asked, "describing the cluster").cluster_id or ""
        return self._cluster_id

    def forget_cluster_id(self) -> None:
        """Ask again the next time: the address may lead to another cluster now."""
        self._cluster_id = ""

    def topics(self, names: Iterable[str]) -> dict[str, TopicState]:
        """The topics of these names that exist.

        Raises:
            ConfigurationError: a name is empty.
            DependencyError: Kafka does not answer, for one of them or for all.
        """
        names = list(names)
        if "" in names:
            raise ConfigurationError("a topic's name is empty")
        return self.describe(names).complete()

    def describe(self, names: Iterable[str]) -> Answers[str, TopicState]:
        """The topics of these names that exist; one without an answer is named with the reason.

        Raises:
            DependencyError: Kafka does not answer.
        """
        names = list(dict.fromkeys(names))
        described = Answers[str, TopicState]()
        if not names:
            return described
        asked: dict[str, Future[Any]] = self._admin.describe_topics(
            TopicCollection(names), request_timeout=_ANSWER_SECONDS
        )
        for name, future in asked.items():
            doing = f"describing topic {name}"
            try:
                if not _is_answered(
                    future, doing, unless=KafkaError.UNKNOWN_TOPIC_OR_PART
                ):
                    described.unknown.add(name)
                    continue
            except DependencyError as error:
                described.refusals[name] = str(error)
                continue
            description = future.result()
            described.answers[name] = TopicState(
                topic=name,
                topic_id=str(description.topic_id),
                partitions=len(description.partitions),
            )
        return described.unless_all_refused()

    def offsets(
        self, partitions: Iterable[tuple[str, int]]
    ) -> dict[PartitionKey, LogBounds]:
        """The bounds of the log of each (topic, partition).

        Raises:
            DependencyError: Kafka does not answer, for one of them or for all.
        """
        return self.bounds_of(partitions).complete()

    def bounds_of(
        self, partitions: Iterable[tuple[str, int]]
    ) -> Answers[PartitionKey, LogBounds]:
        """The bounds of the log of each (topic, partition); one without an answer is named with the reason.

        Raises:
            DependencyError: Kafka does not answer.
        """
        keys = [PartitionKey(*partition) for partition in partitions]
        bounds = Answers[PartitionKey, LogBounds]()
        if not keys:
            return bounds
        firsts = self._list_offsets(keys, OffsetSpec.earliest())
        ends = self._list_offsets(list(firsts.answers), OffsetSpec.latest())
        bounds.refusals.update(firsts.refusals | ends.refusals)
        for key, end in ends.answers.items():
            bounds.answers[key] = LogBounds(
                first_offset=firsts.answers[key], next_offset=end
            )
        return bounds

    def offsets_since(
        self, partitions: Iterable[tuple[str, int]], epoch_ms: int
    ) -> dict[PartitionKey, int]:
        """Offset of the first record of that time or later in each (topic, partition); its end where there is none.

        Raises:
            DependencyError: Kafka does not answer.
        """
        keys = [PartitionKey(*partition) for partition in partitions]
        if not keys:
            return {}
        firsts = self._list_offsets(keys, OffsetSpec.for_timestamp(epoch_ms)).complete()
        ends = self._list_offsets(keys, OffsetSpec.latest()).complete()
        return {
            key: first if first >= 0 else ends[key] for key, first in firsts.items()
        }

    def _list_offsets(
        self, keys: Sequence[PartitionKey], spec: OffsetSpec | None
    ) -> Answers[PartitionKey, int]:
        specs = {TopicPartition(*key): spec for key in keys}
        asked: dict[TopicPartition, Future[Any]] = self._admin.list_offsets(
            specs, request_timeout=_ANSWER_SECONDS
        )
        offsets = Answers[PartitionKey, int]()
        for at, future in asked.items():
            key = PartitionKey(at.topic, at.partition)
            try:
                answer = _answer(future, f"asking offsets of {key}")
            except DependencyError as error:
                offsets.refusals[key] = str(error)
                continue
            # A connection that is lost in the middle of an answer leaves -1001 (invalid), which is no end of a log.
            if answer.offset < _NO_SUCH_RECORD:
                offsets.refusals[key] = f"Kafka named no offset of {key}"
            else:
                offsets.answers[key] = answer.offset
        return offsets.unless_all_refused()

    def next_record(self, topic: str, partition: int, offset: int) -> int | None:
        """Offset of the first record from `offset` on that a reader gets; None where only holes follow.

        A transaction leaves a marker behind its last record, and no reader gets the records of one that was aborted.
        So the end of the log can be beyond the last record that can be consumed.

        Raises:
            DependencyError: Kafka does not answer.
        """
        once = {
            "group.id": "freshet-look",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            # One record is enough.
            "queued.min.messages": 1,
            "fetch.message.max.bytes": 4_096,
        }
        reader = Consumer({**properties(self._bootstrap, self._given), **once})
        try:
            reader.assign([TopicPartition(topic, partition, offset)])
            message = next_message(reader, _ANSWER_SECONDS)
        finally:
            reader.close()
        doing = f"looking at {topic}/{partition}@{offset}"
        if message is None:
            raise DependencyError(f"Kafka: {doing} failed: no answer")
        error = message.error()
        if error is None:
            return message.offset()
        if error.code() == KafkaError._PARTITION_EOF:
            return None
        if error.code() in UNREADABLE:
            return offset  # there is one, whatever it is
        raise DependencyError(f"Kafka: {doing} failed: {error.str()}")

    def topic_settings(self, names: Iterable[str]) -> Answers[str, dict[str, str]]:
        """The settings of topics; one that may not be described is named with the reason.

        Raises:
            DependencyError: Kafka does not answer.
        """
        topics = {
            ConfigResource(ConfigResource.Type.TOPIC, name): name for name in names
        }
        settings = Answers[str, dict[str, str]]()
        if not topics:
            return settings
        asked: dict[Any, Future[Any]] = self._admin.describe_configs(
            list(topics), request_timeout=_ANSWER_SECONDS
        )
        for resource, future in asked.items():
            name = topics[resource]
            try:
                answer = _answer(future, f"asking for the settings of topic {name}")
            except DependencyError as error:
                settings.refusals[name] = str(error)
                continue
            settings.answers[name] = {key: one.value for key, one in answer.items()}
        return settings

    def create_topic(
        self, name: str, partitions: int, config: dict[str, str] | None = None
    ) -> bool:
        """Create a topic; False if it exists already.

        Raises:
            ConfigurationError: there cannot be such a topic.
            DependencyError: Kafka does not answer or refuses.
        """
        if not name or not 1 <= partitions <= _MAX_PARTITIONS:
            raise ConfigurationError(
                f"topic {name!r} of {partitions:,} partitions: it needs a name and 1 to {_MAX_PARTITIONS:,} partitions"
            )
        asked: dict[str, Future[Any]] = self._admin.create_topics(
            [NewTopic(name, num_partitions=partitions, config=config or {})],
            request_timeout=_ANSWER_SECONDS,
        )
        doing = f"creating topic {name}"
        return _is_answered(asked[name], doing, unless=KafkaError.TOPIC_ALREADY_EXISTS)


def _answer(future: "Future[Any]", doing: str) -> Any:
    """The future's result; Kafka's errors become ours."""
    try:
        return future.result(timeout=_ANSWER_SECONDS + 5)
    except KafkaException as error:
        raise DependencyError(f"Kafka: {doing} failed: {public_text(error)}") from error
    except TimeoutError as error:
        raise DependencyError(
            f"Kafka: {doing} took longer than {_ANSWER_SECONDS} s"
        ) from error


def _is_answered(future: "Future[Any]", doing: str, *, unless: int) -> bool:
    """Wait for the future; False where Kafka answers with the error code `unless`."""
    try:
        _answer(future, doing)
    except DependencyError as error:
        cause = error.__cause__
        if isinstance(cause, KafkaException) and cause.args[0].code() == unless:
            return False
        raise
    return True
