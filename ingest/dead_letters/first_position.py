"""Where a record that was sent through again stood at first, told by its headers.

A redriven record is an old one at a new place. Where the record itself is the version (its time and offset), the place that
it had at first counts: otherwise an old text would replace a newer one, and bring back a document that was deleted since.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ingest.event import KafkaRecord

REDRIVEN_FROM = "freshet.redriven-from"  # topic/partition/offset#dead letter
# Milliseconds, or `none`. In a header and not as the record's own time: brokers may refuse an old time, put their own in its
# place, or remove a segment that holds nothing newer, which would be a gap.
REDRIVEN_TIMESTAMP = "freshet.redriven-timestamp"
_PLACE = re.compile(rb"([A-Za-z0-9._-]{1,249})/([0-9]{1,10})/([0-9]{1,19})#[0-9]{1,19}")
_TIMESTAMP = re.compile(rb"none|[0-9]{1,19}")
Headers = Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class FirstPosition:
    """Where a record stood when it was first written."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int | None

    def headers(self, dead_letter: int) -> list[tuple[str, bytes]]:
        """What a record sent through again carries."""
        place = f"{self.topic}/{self.partition}/{self.offset}#{dead_letter}"
        return [
            (REDRIVEN_FROM, place.encode()),
            (
                REDRIVEN_TIMESTAMP,
                str("none" if self.timestamp_ms is None else self.timestamp_ms).encode(),
            ),
        ]


def first_position_of(headers: Headers) -> FirstPosition | None:
    """What the headers say; None unless they are well-formed."""
    if not headers:
        return None
    found = dict(headers)
    place = _PLACE.fullmatch(found.get(REDRIVEN_FROM) or b"")
    timestamp = _TIMESTAMP.fullmatch(found.get(REDRIVEN_TIMESTAMP) or b"")
    if place is None or timestamp is None:
        return None
    return FirstPosition(
        place[1].decode(),
        int(place[2]),
        int(place[3]),
        None if timestamp[0] == b"none" else int(timestamp[0]),
    )


def own_headers(headers: Headers) -> list[tuple[str, bytes | None]]:
    """The headers without what an earlier redrive added."""
    return [
        (name, value) for name, value in headers if name not in (REDRIVEN_FROM, REDRIVEN_TIMESTAMP)
    ]


def as_first_written(record: KafkaRecord) -> KafkaRecord:
    """The record with the time and offset that it had at first; as it is where it was never redriven.

    Anybody who may write to the topic may write these headers. So they are believed only where they make a record older, in its
    own partition: nobody outranks others with them.
    """
    origin = first_position_of(record.headers)
    if (
        origin is None
        or (origin.topic, origin.partition) != (record.topic, record.partition)
        or origin.offset > record.offset
    ):
        return record
    timestamp_ms = origin.timestamp_ms
    if timestamp_ms is not None:
        # A record without a time counts as older than all that have one.
        timestamp_ms = (
            None if record.timestamp_ms is None else min(timestamp_ms, record.timestamp_ms)
        )
    return replace(record, offset=origin.offset, timestamp_ms=timestamp_ms)
