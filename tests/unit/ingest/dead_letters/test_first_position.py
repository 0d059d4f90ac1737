"""A redriven record keeps the place that it had at first, and nobody grows newer by its headers."""

import dataclasses

import pytest

from ingest.dead_letters.first_position import (
    REDRIVEN_FROM,
    REDRIVEN_TIMESTAMP,
    FirstPosition,
    as_first_written,
    first_position_of,
    is_of_earlier_log,
    own_headers,
)
from ingest.event import KafkaRecord


def record(place: bytes | None, timestamp: bytes | None, *, at: int | None = 100) -> KafkaRecord:
    headers = (("other", b"x"), (REDRIVEN_FROM, place), (REDRIVEN_TIMESTAMP, timestamp))
    return KafkaRecord(
        topic="t", partition=1, offset=50, timestamp_ms=at, key=None, value=b"", headers=headers
    )


@pytest.mark.parametrize(
    ("place", "timestamp", "offset", "at"),
    [
        (b"t/1/7#3", b"20", 7, 20),
        (b"t/1/7#3", b"none", 7, None),
        (b"t/1/7#3", b"101", 7, 100),  # never newer
        (b"t/1/51#3", b"20", 50, 20),  # of an earlier log of the topic: only the time counts
        (b"t/1/51#3", b"101", 50, 100),
        (b"t/2/7#3", b"20", 50, 100),  # another partition
        (b"u/1/7#3", b"20", 50, 100),  # another topic
        (b"t/1/7", b"20", 50, 100),
        (b"t/1/-7#3", b"20", 50, 100),
        (b"t/1/7#3\n", b"20", 50, 100),
        ("t/1/\u0667#3".encode(), b"20", 50, 100),
        (b"t/1/7#3", b"2e1", 50, 100),
        (b"t/1/7#3", b"", 50, 100),
        (None, b"20", 50, 100),
        (b"t/1/7#3", None, 50, 100),
    ],
)
def test_where_a_record_stood_at_first(
    place: bytes | None, timestamp: bytes | None, offset: int, at: int | None
) -> None:
    found = as_first_written(record(place, timestamp))
    assert (found.offset, found.timestamp_ms) == (offset, at)
    assert as_first_written(found) == found


def test_a_record_without_a_time_gets_none() -> None:
    assert as_first_written(record(b"t/1/7#3", b"20", at=None)).timestamp_ms is None


@pytest.mark.parametrize(
    ("first", "here", "offset", "earlier_log"),
    [
        ("id", "id", 7, False),
        ("id", None, 7, False),
        (None, "id", 7, False),
        ("id", "another", 50, True),
    ],
)
def test_the_offset_of_another_incarnation_of_the_topic_says_nothing(
    first: str | None, here: str | None, offset: int, earlier_log: bool
) -> None:
    place = FirstPosition("t", 1, 7, 20, topic_id=first)
    redriven = dataclasses.replace(record(None, None), headers=tuple(place.headers(3)))
    found = as_first_written(redriven, here)
    assert (found.offset, found.timestamp_ms) == (offset, 20)
    assert is_of_earlier_log(redriven, here) is earlier_log


def test_headers_tell_the_origin() -> None:
    for origin in (
        FirstPosition("a.b_c-d", 3, 2**40, 1_714_564_800_000),
        FirstPosition("t", 0, 0, None),
        FirstPosition("t", 0, 0, None, topic_id="0123456789abcdefABC-_w"),
    ):
        assert first_position_of(origin.headers(9)) == origin
        assert own_headers([("own", None), *origin.headers(9)]) == [("own", None)]
