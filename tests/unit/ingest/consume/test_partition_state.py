"""What a lane takes in, when it cuts, when it is behind, where it starts."""

import pytest

from corpus.source import BatchLimits, SourceSpec
from ingest.consume.partition_state import (
    CATCH_UP_SECONDS,
    CROWDED_SECONDS,
    MAX_REFERENCES,
    UNCROWDED_REFERENCES,
    Gap,
    PartitionLog,
    PartitionReader,
    Position,
    is_behind,
    start_offset,
)
from ingest.event import KafkaRecord

LOG = PartitionLog(
    cluster_id="c", topic="t", topic_id="id", partition=0, first_offset=10, next_offset=100
)


def record(offset: int, size: int = 10) -> KafkaRecord:
    return KafkaRecord(
        topic="t", partition=0, offset=offset, timestamp_ms=1, key=b"", value=b"x" * size
    )


def lane(start: int = 0, **limits: int) -> PartitionReader:
    return PartitionReader(
        spec=SourceSpec(source="s", topics=("t",), limits=BatchLimits(**limits)),
        epoch=0,
        at=LOG,
        expected=start,
        cut_from=start,
    )


def test_a_record_is_taken_once_and_holes_belong_to_the_range() -> None:
    at = lane(start=5)
    for offset in (3, 4, 5, 5, 6, 9, 8, 9):
        at.take_in(record(offset), 1.0)
    cut = at.cut(1.0)
    assert [taken.offset for taken in cut.records] == [5, 6, 9]
    assert (cut.first_offset, cut.next_offset) == (5, 10)
    assert (at.handed_over, at.cut_from) == (5, 10)
    at.handed(cut)
    assert at.handed_over == 10


def test_ranges_of_cuts_meet() -> None:
    at = lane(max_records=2)
    for offset in range(7):
        at.take_in(record(offset), 0.0)
    ranges = []
    while at.buffer:
        cut = at.cut(0.0)
        ranges.append((cut.first_offset, cut.next_offset))
        at.handed(cut)
    assert ranges == [(0, 2), (2, 4), (4, 6), (6, 7)]
    assert at.buffered_bytes == 0


def test_a_large_record_makes_a_cut_of_its_own() -> None:
    at = lane(max_bytes=1_000)
    for offset, size in enumerate((100, 5_000, 100)):
        at.take_in(record(offset, size), 0.0)
    sizes = []
    while at.buffer:
        cut = at.cut(0.0)
        sizes.append(len(cut.records))
        at.handed(cut)
    assert sizes == [1, 1, 1]


def test_when_a_cut_is_due() -> None:
    at = lane(max_records=3)
    at.take_in(record(0), 5.0)
    assert at.due_at(log_end=1) == 0.0  # nothing more to come: at once
    assert at.due_at(log_end=50) == 5.0 + CATCH_UP_SECONDS
    lingering = lane(linger_ms=500)
    lingering.take_in(record(0), 5.0)
    assert lingering.due_at(log_end=1) == 5.5
    at.take_in(record(1), 5.0)
    at.take_in(record(2), 5.0)
    assert at.is_full()
    assert at.due_at(log_end=50) == 0.0


def test_a_source_is_behind_until_its_work_is_published() -> None:
    at = lane(max_pending_records=4)
    for offset in range(4):
        at.take_in(record(offset), 0.0)
    assert not is_behind([at])
    at.handed(at.cut(0.0))
    assert is_behind([at])
    at.published_up_to(3)
    assert is_behind([at])
    at.published_up_to(4)
    assert not is_behind([at])


def hand(at: PartitionReader, count: int) -> None:
    """Hand over that many references of one record each."""
    for _ in range(count):
        at.take_in(record(at.expected), 0.0)
        at.handed(at.cut(0.0))


def test_a_cut_waits_the_longer_the_more_references_are_on_their_way() -> None:
    at = lane()
    hand(at, UNCROWDED_REFERENCES)
    at.take_in(record(at.expected), 5.0)
    assert at.due_at(log_end=at.expected) == 0.0
    at.handed(at.cut(5.0))
    hand(at, 9)
    at.take_in(record(at.expected), 5.0)
    assert at.due_at(log_end=at.expected) == 5.0 + 10 * CROWDED_SECONDS
    at.published_up_to(at.cut_from)
    assert at.due_at(log_end=at.expected) == 0.0


def test_a_source_of_many_small_references_is_behind() -> None:
    lanes = [lane(), lane()]
    hand(lanes[0], MAX_REFERENCES - 1)
    assert not is_behind(lanes)
    hand(lanes[1], 1)
    assert is_behind(lanes)


def test_a_trickle_that_nobody_publishes_makes_few_references() -> None:
    at, now = lane(), 0.0
    while not is_behind([at]) and now < 3_600:
        at.take_in(record(at.expected), now)
        if at.due_at(log_end=at.expected) <= now:
            at.handed(at.cut(now))
        now += 0.1
    assert now > 600  # ten records a second, for ten minutes
    assert len(at.outstanding) <= MAX_REFERENCES


def test_a_new_source_starts_at_the_beginning_and_a_known_one_at_its_row() -> None:
    assert start_offset(None, LOG, "s") == 10
    assert start_offset(Position("c", "id", 10), LOG, "s") == 10
    assert start_offset(Position("c", "id", 100), LOG, "s") == 100


@pytest.mark.parametrize(
    ("position", "word"),
    [
        (Position("c", "id", 4), "6 offsets from 4 to 9 were removed"),
        (Position("c", "id", 101), "beyond the end of the log"),
        (Position("c", "other", 50), "recreated"),
        (Position("elsewhere", "id", 50), "cluster elsewhere"),
    ],
)
def test_a_gap_is_named_and_never_jumped(position: Position, word: str) -> None:
    gap = start_offset(position, LOG, "s")
    assert isinstance(gap, Gap)
    assert word in gap.reason
    assert "freshet source resume s --skip-gap" in gap.reason
