"""Where a record that was redriven was first written, according to its headers.

A redriven record is an old one at a new offset. Where the record itself is the version (its time and offset), the
position that it had first counts: otherwise an old text would replace a newer one, and bring back a document that was
deleted since.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ingest.event import KafkaRecord

REDRIVEN_FROM = "freshet.redriven-from"  # topic/partition/offset#dead letter
# Milliseconds, or `none`. It is in a header and is not the record's own time: brokers may refuse an old time, replace
# it by their own, or remove a segment that holds nothing newer, which would be a gap.
REDRIVEN_TIMESTAMP = "freshet.redriven-timestamp"
_POSITION = re.compile(
    rb"([A-Za-z0-9._-]{1,249})/([0-9]{1,10})/([0-9]{1,19})#[0-9]{1,19}"
)
_TIMESTAMP = re.compile(rb"none|[0-9]{1,19}")
# Kafka's id of the topic then. A topic that was made anew has another one, and its offsets begin at 0 again.
REDRIVEN_TOPIC_ID = "freshet.redriven-topic-id"
_TOPIC_ID = re.compile(rb"[A-Za-z0-9_-]{1,100}")
_OURS = frozenset({REDRIVEN_FROM, REDRIVEN_TIMESTAMP, REDRIVEN_TOPIC_ID})
_NO_TIMESTAMP = b"none"

Headers = Iterable[tuple[str, str | bytes | None]]


@dataclass(frozen=True, slots=True)
class FirstPosition:
    """Where a record was first written."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int | None
    topic_id: str | None = None  # None: not known

    def headers(self, dead_letter: int) -> list[tuple[str, bytes]]:
        """What the record carries when it is redriven."""
        position = f"{self.topic}/{self.partition}/{self.offset}#{dead_letter}"
        timestamp = _NO_TIMESTAMP
        if self.timestamp_ms is not None:
            timestamp = str(self.timestamp_ms).encode()
        headers = [
            (REDRIVEN_FROM, position.encode()),
            (REDRIVEN_TIMESTAMP, timestamp),
        ]
        if self.topic_id is not None:
            headers.append((REDRIVEN_TOPIC_ID, self.topic_id.encode()))
        return headers


def first_position_of(headers: Headers) -> FirstPosition | None:
    """The position in the headers; None unless they are well-formed."""
    by_name = dict(headers)
    position = _POSITION.fullmatch(_bytes_of(by_name, REDRIVEN_FROM))
    timestamp = _TIMESTAMP.fullmatch(_bytes_of(by_name, REDRIVEN_TIMESTAMP))
    if position is None or timestamp is None:
        return None
    topic, partition, offset = position.groups()
    timestamp_ms = None
    if timestamp[0] != _NO_TIMESTAMP:
        timestamp_ms = int(timestamp[0])
    topic_id = _TOPIC_ID.fullmatch(_bytes_of(by_name, REDRIVEN_TOPIC_ID))
    return FirstPosition(
        topic=topic.decode(),
        partition=int(partition),
        offset=int(offset),
        timestamp_ms=timestamp_ms,
        topic_id=None if topic_id is None else topic_id[0].decode(),
    )


def _bytes_of(headers: Mapping[str, str | bytes | None], name: str) -> bytes:
    value = headers.get(name) or b""
    if isinstance(value, str):
        return value.encode()
    return value


def own_headers(headers: Headers) -> list[tuple[str, str | bytes | None]]:
    """The headers without those that an earlier redrive added."""
    return [(name, value) for name, value in headers if name not in _OURS]


def without_redrive(
    headers: tuple[tuple[str, bytes | None], ...],
) -> tuple[tuple[str, bytes | None], ...]:
    """The headers of a record that was read, without those of a redrive."""
    return tuple((name, value) for name, value in headers if name not in _OURS)


def as_first_written(record: KafkaRecord, topic_id: str | None = None) -> KafkaRecord:
    """The record with the time and offset that it had first; unchanged if it was never redriven.

    Any client that may write to the topic may write these headers. So they are believed only where they make a record
    older, in its own partition: no client can make its records newer than others with them. An offset of an earlier log
    of the topic says nothing in this one, so of such a record only the time counts.

    Args:
        record: as it was read.
        topic_id: of the topic that it was read from; None: not known.
    """
    first = _first_in_partition(record)
    if first is None:
        return record
    timestamp_ms = _older(first.timestamp_ms, record.timestamp_ms)
    if _is_of_earlier_log(first, record, topic_id):
        return replace(record, timestamp_ms=timestamp_ms)
    return replace(record, offset=first.offset, timestamp_ms=timestamp_ms)


def is_of_earlier_log(record: KafkaRecord, topic_id: str | None) -> bool:
    """Whether the record was redriven, and first written before its topic was made anew.

    Args:
        record: as it was read.
        topic_id: of the topic that it was read from; None: not known.
    """
    first = _first_in_partition(record)
    return first is not None and _is_of_earlier_log(first, record, topic_id)


def _first_in_partition(record: KafkaRecord) -> FirstPosition | None:
    if not record.headers:
        return None
    first = first_position_of(record.headers)
    if first is None or (first.topic, first.partition) != (
        record.topic,
        record.partition,
    ):
        return None
    return first


def _is_of_earlier_log(
    first: FirstPosition, record: KafkaRecord, topic_id: str | None
) -> bool:
    # A record is redriven to a later offset of the same log, so a greater one is of another.
    if first.offset > record.offset:
        return True
    return None not in (first.topic_id, topic_id) and first.topic_id != topic_id


def _older(first_ms: int | None, record_ms: int | None) -> int | None:
    """The older one of two times; a record without a time counts as older than all that have one."""
    if first_ms is None or record_ms is None:
        return None
    return min(first_ms, record_ms)
