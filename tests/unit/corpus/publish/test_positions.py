"""The offsets that a batch moves a position over."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.batch import BatchRef, PreparedBatch, PreparedFrom, StagedFile
from corpus.errors import PositionGapError, StalePreparationError
from corpus.publish.positions import (
    LockedPosition,
    PartitionRange,
    by_partition,
    check_starts,
    range_over,
)

FILE = StagedFile(url="f", sha256="0", rows=0, file_bytes=0)


def ref(first: int, following: int, *, partition: int = 0, topic: str = "t") -> BatchRef:
    return BatchRef(
        source="s",
        cluster_id="c",
        topic=topic,
        topic_id="id",
        partition=partition,
        first_offset=first,
        next_offset=following,
        records=following - first,
        staged_bytes=0,
        url=f"events/{topic}/{partition}/{first}",
        sha256="0",
        staged_at_ms=0,
    )


def position(offset: int) -> LockedPosition:
    return LockedPosition(next_offset=offset, topic_id="id")


def prepared(*starts: tuple[int, int]) -> PreparedBatch:
    """A prepared batch that begins at these (partition, offset)."""
    return PreparedBatch(
        source="s",
        batch=1,
        events=FILE,
        documents=FILE,
        chunks=FILE,
        texts=FILE,
        model="m",
        prefix="",
        space_id=1,
        space_fingerprint="f",
        pipeline="p",
        starts=tuple(PreparedFrom(topic="t", partition=p, offset=offset) for p, offset in starts),
    )


def test_references_are_grouped_by_partition_and_ordered() -> None:
    refs = [ref(5, 9), ref(0, 2, partition=1), ref(0, 5), ref(0, 1, topic="a")]
    grouped = [[each.url for each in group] for group in by_partition(refs)]
    assert grouped == [
        ["events/a/0/0"],
        ["events/t/0/0", "events/t/0/5"],
        ["events/t/1/0"],
    ]
    assert by_partition([]) == []


def test_a_range_ends_where_its_references_end() -> None:
    assert range_over(position(0), [ref(0, 5), ref(5, 9)]) == PartitionRange("t", 0, 0, 9)


def test_references_may_overlap_and_lie_behind_the_position() -> None:
    assert range_over(position(3), [ref(0, 5), ref(2, 4), ref(5, 6)]) == PartitionRange(
        "t", 0, 3, 6
    )


def test_a_range_that_is_applied_is_empty() -> None:
    applied = range_over(position(7), [ref(0, 5)])
    assert applied.is_empty
    assert applied.next_offset == 7


def test_a_gap_names_the_missing_offsets() -> None:
    match = r"t/0 of source 's': offsets 5 to 6 are missing"
    with pytest.raises(PositionGapError, match=match):
        range_over(position(0), [ref(0, 5), ref(7, 9)])
    with pytest.raises(PositionGapError, match="offsets 0 to 0 are missing"):
        range_over(position(0), [ref(1, 2)])


def test_another_incarnation_of_the_topic_is_a_gap() -> None:
    recreated = replace(ref(0, 5), topic_id="another")
    with pytest.raises(PositionGapError, match=r"recreated \(id id was read.*from another\)"):
        range_over(position(0), [recreated])


@given(
    start=st.integers(0, 20),
    bounds=st.lists(st.tuples(st.integers(0, 20), st.integers(1, 5)), min_size=1, max_size=6),
)
def test_a_range_covers_every_offset_or_names_a_gap(
    start: int, bounds: list[tuple[int, int]]
) -> None:
    refs = [ref(first, first + length) for first, length in sorted(bounds)]
    covered = {offset for each in refs for offset in range(each.first_offset, each.next_offset)}
    ahead = {offset for offset in covered if offset >= start}
    expected = set(range(start, max(ahead) + 1)) if ahead else set()
    if expected <= covered:
        found = range_over(position(start), refs)
        assert set(range(found.first_offset, found.next_offset)) == expected
    else:
        with pytest.raises(PositionGapError):
            range_over(position(start), refs)


def test_what_was_prepared_begins_where_the_corpus_is() -> None:
    ranges = [PartitionRange("t", 0, 3, 9), PartitionRange("t", 1, 5, 5)]
    check_starts(prepared((0, 3), (1, 5)), ranges)
    for starts in [((0, 2), (1, 5)), ((0, 3), (1, 6)), ((0, 3),)]:
        with pytest.raises(StalePreparationError, match="prepare again"):
            check_starts(prepared(*starts), ranges)
