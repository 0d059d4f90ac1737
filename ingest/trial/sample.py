"""Some records of a topic, read without a group, a commit or a configuration."""

import time
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple, NoReturn

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from corpus.dead_letter import DeadLetterReason
from corpus.errors import ConfigurationError, DependencyError
from ingest.answers import UNREADABLE, next_message
from ingest.event import KafkaRecord
from ingest.kafka import Cluster, LogBounds, PartitionKey, TopicState, properties
from ingest.kafka_record import record_of, without_bytes

BEGINNING, END = "beginning", "end"

_ANSWER_SECONDS = 15.0
_POLL_SECONDS = 0.5
# Offsets may be markers of transactions, or removed by compaction: look so many times as far back.
_LOOK_BACK = (1, 10, 1_000_000_000)
_NOT_ALLOWED = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)
_MISSING = frozenset(
    {KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART}  # pyright: ignore[reportPrivateUsage]
)

Bounds = Mapping[PartitionKey, LogBounds]


class _MayNotError(Exception):
    """Kafka's authorizer refuses something.

    Attributes:
        right: that the user lacks.
        reason: in Kafka's words.
    """

    def __init__(self, right: str, reason: str) -> None:
        super().__init__(f"{right}: {reason}")
        self.right = right
        self.reason = reason


class Wanted(NamedTuple):
    """Which records."""

    records: int
    offset: str | int = END  # BEGINNING, END, or an offset
    partition: int | None = None  # None: all of them


class TopicSample(NamedTuple):
    """Some records, and the topic that they are of."""

    topic: TopicState
    records: list[KafkaRecord]  # by partition, in the order of their offsets
    offsets: int  # that the topic's logs have


def read_sample(
    bootstrap: str, given: dict[str, str], topic: str, wanted: Wanted
) -> TopicSample:
    """Read some records.

    Args:
        bootstrap: addresses of Kafka.
        given: the user's properties of clients.
        topic: its name.
        wanted: which records.

    Raises:
        ConfigurationError: there is no such topic or partition, it is empty, or the user may not read it.
        DependencyError: Kafka does not answer.
    """
    cluster = Cluster(bootstrap, given)
    once = {
        "group.id": "freshet-look",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "error",
        "allow.auto.create.topics": False,
    }
    consumer = Consumer({**properties(bootstrap, given), **once})
    try:
        state = _topic(cluster, consumer, topic)
        keys = _partitions(state, wanted)
        bounds = cluster.offsets(keys)
        offsets = sum(each.next_offset - each.first_offset for each in bounds.values())
        if not offsets:
            raise ConfigurationError(f"{_place(topic, wanted)} is empty: {_EMPTY}")
        records = _records(consumer, bounds, wanted)
    except _MayNotError as error:
        raise _without_right(error, topic, given) from error
    finally:
        consumer.close()
    if not records:
        raise ConfigurationError(
            f"{_place(topic, wanted)} has no record from there on that a reader gets: {_EMPTY}"
        )
    return TopicSample(state, records, offsets)


_EMPTY = "write a record to it, or try --offset beginning, another partition or another topic"


def _place(topic: str, wanted: Wanted) -> str:
    if wanted.partition is None:
        return f"topic {topic!r}"
    return f"partition {wanted.partition} of topic {topic!r}"


def _topic(
    cluster: Cluster,
    consumer: Consumer,
    topic: str,
) -> TopicState:
    """The topic.

    Raises:
        ConfigurationError: there is none.
        DependencyError: Kafka does not answer.
        _MayNotError: it may not be described.
    """
    try:
        known = cluster.describe([topic])
    except DependencyError as error:
        raise _refused(str(error)) from error
    if topic in known.answers:
        return known.answers[topic]
    if topic in known.refusals:
        raise _refused(known.refusals[topic])
    similar = get_close_matches(topic, _topic_names(consumer), n=3, cutoff=0.5)
    hint = "`kafka-topics.sh --list` shows those that this user may describe"
    if similar:
        hint = f"similar ones: {', '.join(similar)}"
    raise ConfigurationError(
        f"there is no topic {topic!r}, or this user lacks DESCRIBE on it; {hint}"
    )


def _refused(reason: str) -> Exception:
    """A refusal by name; whatever else a service says is that it does not answer."""
    if "authorization" not in reason.lower():
        return DependencyError(reason)
    return _MayNotError("DESCRIBE", reason)


def _without_right(
    error: _MayNotError, topic: str, given: Mapping[str, str]
) -> ConfigurationError:
    user = given.get("sasl.username")
    who = f"user {user!r}" if user else "the user"
    lacks = f"may not read topic {topic!r}: it lacks READ on it"
    if error.right == "DESCRIBE":
        lacks = (
            f"may not describe topic {topic!r}: it lacks DESCRIBE on it; READ, which reading needs, "
            "includes DESCRIBE"
        )
    return ConfigurationError(
        f"{who} {lacks} ({error.reason}). Let an administrator of Kafka allow READ on the topic, "
        "or name another user in the file FRESHET_KAFKA_PROPERTIES"
    )


def _topic_names(consumer: Consumer) -> list[str]:
    listed: Any = consumer.list_topics(timeout=_ANSWER_SECONDS)
    return [name for name in listed.topics if not name.startswith("__")]


def _partitions(state: TopicState, wanted: Wanted) -> list[PartitionKey]:
    if wanted.partition is None:
        return [PartitionKey(state.topic, number) for number in range(state.partitions)]
    if wanted.partition >= state.partitions:
        raise ConfigurationError(
            f"topic {state.topic!r} has {state.partitions:,} partitions; there is no {wanted.partition}"
        )
    return [PartitionKey(state.topic, wanted.partition)]


# ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _records(consumer: Consumer, bounds: Bounds, wanted: Wanted) -> list[KafkaRecord]:
    """The first records from an offset on; or the last ones, looked for further and further back."""
    if wanted.offset != END:
        return _from(consumer, _starts(bounds, wanted), wanted.records)
    records: list[KafkaRecord] = []
    per_partition = -(-wanted.records // len(bounds))
    for factor in _LOOK_BACK:
        starts = {
            key: max(log.first_offset, log.next_offset - per_partition * factor)
            for key, log in bounds.items()
            if log.next_offset > log.first_offset
        }
        records = _from(consumer, starts, wanted.records, newest=True)
        is_all = all(starts[key] == bounds[key].first_offset for key in starts)
        if len(records) >= wanted.records or is_all:
            break
    return records


def _starts(
    bounds: Bounds,
    wanted: Wanted,
) -> dict[PartitionKey, int]:
    starts: dict[PartitionKey, int] = {}
    for key, log in bounds.items():
        first = log.first_offset
        if isinstance(wanted.offset, int):
            first = max(first, wanted.offset)
        if first < log.next_offset:
            starts[key] = first
    return starts


def _from(
    consumer: Consumer,
    starts: Mapping[PartitionKey, int],
    count: int,
    *,
    newest: bool = False,
) -> list[KafkaRecord]:
    """Records from these offsets on: so many in all, evenly over the partitions as far as they have them.

    With `newest` each partition is read to its end, and the last ones are kept.
    """
    read: dict[PartitionKey, list[KafkaRecord]] = {key: [] for key in starts}
    for key, record in _read(consumer, starts, count, newest=newest):
        of_partition = read[key]
        of_partition.append(record)
        if newest and len(of_partition) > count:
            del of_partition[0]
    kept = _evenly(read, count, newest=newest)
    return sorted(kept, key=lambda record: (record.partition, record.offset))


def _evenly(
    read: Mapping[PartitionKey, list[KafkaRecord]], count: int, *, newest: bool
) -> list[KafkaRecord]:
    kept: list[KafkaRecord] = []
    left = [list(reversed(records)) if newest else records for records in read.values()]
    for number in range(count):
        for records in left:
            if number < len(records) and len(kept) < count:
                kept.append(records[number])
    return kept


def _read(
    consumer: Consumer,
    starts: Mapping[PartitionKey, int],
    count: int,
    *,
    newest: bool,
) -> Iterator[tuple[PartitionKey, KafkaRecord]]:
    """Each record until every partition has given enough, or is at its end.

    Raises:
        ConfigurationError: the topic is gone.
        DependencyError: nothing comes.
        _MayNotError: the user may not read.
    """
    consumer.assign([TopicPartition(*key, start) for key, start in starts.items()])
    given = dict.fromkeys(starts, 0)
    open_partitions = set(starts)
    deadline = time.monotonic() + _ANSWER_SECONDS
    while open_partitions:
        message = _next_message(consumer, deadline)
        if message is None:
            continue
        deadline = time.monotonic() + _ANSWER_SECONDS
        key = PartitionKey(str(message.topic()), message.partition() or 0)
        record = _record(message, key)
        if record is not None and key in open_partitions:
            given[key] += 1
            yield key, record
        is_enough = not newest and given[key] >= count
        if is_enough or _is_last(record):
            open_partitions.discard(key)


def _is_last(record: KafkaRecord | None) -> bool:
    """Whether nothing can be read behind it: the end of the partition, or a record batch that cannot be read."""
    return record is None or record.unread is DeadLetterReason.NOT_READ


def _next_message(
    consumer: Consumer,
    deadline: float,
) -> Message | None:
    """What a partition says next; None: nothing yet."""
    message = next_message(consumer, _POLL_SECONDS)
    if message is not None and not _says_nothing(message):
        return message
    _check_client(message, deadline)
    return None


def _says_nothing(message: Message) -> bool:
    """Whether it is of no partition, or an error that passes by itself."""
    if not message.topic():
        return True
    error = message.error()
    return error is not None and error.retriable()


def _check_client(message: Message | None, deadline: float) -> None:
    """Nothing came, or an error of the client itself."""
    error = None if message is None else message.error()
    if error is not None and not error.retriable():
        _raise_for(error, "the topic")
    if time.monotonic() > deadline:
        raise DependencyError("Kafka: reading the topic failed: no answer")


def _record(
    message: Message,
    key: PartitionKey,
) -> KafkaRecord | None:
    """The record; one without bytes where its batch cannot be read; None at the end of the partition."""
    error = message.error()
    if error is None:
        return record_of(message)
    if error.code() == KafkaError._PARTITION_EOF:
        return None
    if error.code() in UNREADABLE:
        reason = DeadLetterReason.NOT_READ
        return without_bytes(key, message.offset() or 0, reason, error.str())
    _raise_for(error, str(key))


def _raise_for(
    error: Any,
    place: str,
) -> NoReturn:
    """An error of the cluster that does not pass."""
    if error.code() in _NOT_ALLOWED:
        raise _MayNotError("READ", error.str())
    if error.code() in _MISSING:
        raise ConfigurationError(f"{place} is gone: {error.str()}")
    raise DependencyError(f"Kafka: reading {place} failed: {error.str()}")
