"""Which records of a partition cannot be read, and why: what `freshet source skip` passes."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from corpus.errors import ConfigurationError, DependencyError
from corpus.log_limit import LogLimit
from ingest.answers import UNREADABLE
from ingest.kafka import CONSUMER_PROPERTIES, PartitionKey, log_error

logger = logging.getLogger(__name__)
logger.addFilter(LogLimit())

# Dead letters that one command makes.
MAX_SKIPPED = 100_000
_LOOK_SECONDS = 0.5
_LOOKS = 30
# librdkafka fetches again after half a second.
_BACKOFFS = 3
_BACKOFF = re.compile(r"Fetch backoff for [0-9]+ms: (Local: .*)")
# Offsets that are tried one by one; each takes two seconds.
_MAX_LOOKED_FOR = 20
_LARGE_RESPONSE = "Invalid response size"
_UNKNOWN = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A record batch that cannot be read."""

    first_offset: int  # of the record batch; -1: not known
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableRange:
    """Offsets from the one that was asked about to the end of its record batch."""

    next_offset: int  # exclusive
    why: str  # empty: the record can be read


def is_too_large(error: KafkaError) -> bool:
    """Whether a broker's whole answer is too large to be received; it does not say for which partition."""
    return error.code() == KafkaError._BAD_MSG and _LARGE_RESPONSE in error.str()


class _Backoffs:
    """Counts how often librdkafka gave up what it had fetched, from its own log: nothing else says so."""

    def __init__(self) -> None:
        self.times = 0
        self.why = ""

    def log(self, _level: int, message: str, *arguments: object) -> None:
        """Take one line of its log."""
        text = message % arguments if arguments else message
        if match := _BACKOFF.search(text):
            self.times += 1
            self.why = match[1]


class Prober:
    """Tries to read single records, with the limits of the consumer.

    Args:
        kafka: librdkafka properties, the address included.
    """

    def __init__(self, kafka: Mapping[str, Any]) -> None:
        self._too_large = ""
        self._backoffs = _Backoffs()
        ours: dict[str, Any] = {
            "group.id": "freshet-look",
            "enable.partition.eof": True,
            "queued.min.messages": 1,
            "error_cb": self._on_error,
            "logger": self._backoffs,
            "debug": "fetch",
        }
        self._consumer = Consumer({**CONSUMER_PROPERTIES, **kafka, **ours})

    def __enter__(self) -> "Prober":
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def _on_error(self, error: KafkaError) -> None:
        if is_too_large(error):
            self._too_large = error.str()
        else:
            log_error(error)

    def look(self, key: PartitionKey, offset: int) -> Unreadable | None:
        """Try to read the record at an offset; None: it can be read, or there is none.

        Raises:
            DependencyError: Kafka does not answer.
        """
        self._too_large = ""
        self._backoffs.times = 0
        self._consumer.assign([TopicPartition(*key, offset)])
        message = self._first_message()
        if message is None:
            return self._silent(key, offset)
        error = message.error()
        if error is None or error.code() == KafkaError._PARTITION_EOF:
            return None
        if error.code() not in UNREADABLE:
            raise DependencyError(
                f"Kafka: looking at {key}/{offset} failed: {error.str()}"
            )
        begins = message.offset()
        if begins is None or not 0 <= begins <= offset:
            begins = _UNKNOWN
        return Unreadable(first_offset=begins, why=error.str())

    def _first_message(self) -> Message | None:
        """What comes first; None: nothing comes, or nothing will."""
        for _ in range(_LOOKS):
            message = self._consumer.poll(_LOOK_SECONDS)
            # An error of the client itself, such as of its group, has no topic.
            if message is not None and message.topic():
                return message
            if self._too_large or self._backoffs.times >= _BACKOFFS:
                return None
        return None

    def _silent(self, key: PartitionKey, offset: int) -> Unreadable:
        if self._too_large:
            return Unreadable(first_offset=_UNKNOWN, why=self._too_large)
        if self._backoffs.times >= _BACKOFFS:
            why = f"its record batch is damaged ({self._backoffs.why})"
            return Unreadable(first_offset=_UNKNOWN, why=why)
        raise DependencyError(f"Kafka: looking at {key}/{offset} failed: no answer")

    def range_from(self, key: PartitionKey, offset: int) -> UnreadableRange:
        """How far the record batch reaches that the offset is in, if it cannot be read; else the one record.

        An error names the beginning of its record batch, wherever in it one begins to read. So its end is found by
        halves, and no record of another one is in the range. Where it does not, a few offsets are tried one by one.

        Raises:
            ConfigurationError: it reaches further than one command passes.
            DependencyError: Kafka does not answer.
        """
        found = self.look(key, offset)
        if found is None:
            return UnreadableRange(
                next_offset=offset + 1,
                why="",
            )
        if found.first_offset == _UNKNOWN:
            return UnreadableRange(
                next_offset=self._next_readable(key, offset), why=found.why
            )
        inside, step = offset, 1
        while self._is_inside(key, inside + step, found):
            inside += step
            step *= 2
            if inside - offset > MAX_SKIPPED:
                raise ConfigurationError(
                    f"the record batch at {key}/{offset} holds more than {MAX_SKIPPED:,} records"
                )
        outside = inside + step
        while outside - inside > 1:
            middle = (inside + outside) // 2
            if self._is_inside(key, middle, found):
                inside = middle
            else:
                outside = middle
        return UnreadableRange(
            next_offset=outside,
            why=found.why,
        )

    def _next_readable(self, key: PartitionKey, offset: int) -> int:
        """The first offset behind this one that can be read, looked for one by one: no readable one is passed."""
        for following in range(offset + 1, offset + _MAX_LOOKED_FOR):
            if self.look(key, following) is None:
                return following
        return offset + _MAX_LOOKED_FOR

    def _is_inside(self, key: PartitionKey, offset: int, found: Unreadable) -> bool:
        other = self.look(key, offset)
        return other is not None and other.first_offset == found.first_offset


def why_unreadable(kafka: Mapping[str, Any], key: PartitionKey, offset: int) -> str:
    """Why one record cannot be read, by a client of its own; empty: it can, there is none, or Kafka does not answer."""
    try:
        with Prober(kafka) as prober:
            found = prober.look(key, offset)
    except DependencyError as error:
        context = {"action": "silent", "kind": f"silent/{key}"}
        logger.warning("nothing comes of a partition: %s", error, extra=context)
        return ""
    if found is None:
        return ""
    return found.why
