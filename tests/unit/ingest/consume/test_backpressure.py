"""When partitions pause and run again."""

import pytest

from ingest.consume.backpressure import MAX_HELD_BYTES, held_bytes, must_pause, sources_behind
from tests.support.readers import hand_over_singly, make_partition, make_record, receive

NONE = frozenset[str]()


@pytest.mark.parametrize(
    ("held", "paused", "expected"),
    [
        (0, False, False),
        (0, True, False),
        (MAX_HELD_BYTES, False, False),
        (MAX_HELD_BYTES + 1, False, True),
        (MAX_HELD_BYTES // 2, True, False),
        (MAX_HELD_BYTES // 2 + 1, True, True),  # it would pause again at once
    ],
)
def test_memory_pauses_and_half_of_it_resumes(held: int, *, paused: bool, expected: bool) -> None:
    partition = make_partition(s=0)
    partition.paused = paused
    assert must_pause(partition, NONE, held) is expected


def test_a_partition_without_a_reader_or_before_a_seek_is_paused() -> None:
    partition = make_partition(s=0)
    partition.paused = False
    assert not must_pause(partition, NONE, 0)
    partition.seek_to = 5
    assert must_pause(partition, NONE, 0)
    partition.seek_to = None
    partition.close()
    assert must_pause(partition, NONE, 0)


def test_a_source_that_is_behind_pauses_its_partition() -> None:
    partition = make_partition(s=0)
    partition.paused = False
    assert must_pause(partition, {"s"}, 0)
    assert not must_pause(partition, {"other"}, 0)


def test_what_is_unpublished_counts_over_all_partitions_of_a_source() -> None:
    partitions = [make_partition(s=0, other=0), make_partition(s=0)]
    for partition in partitions:
        hand_over_singly(partition.readers["s"], 100)
    assert sources_behind(partitions) == {"s"}
    assert sources_behind(partitions[:1]) == NONE
    assert sources_behind(partitions[:1], share=0.5) == {"s"}


def test_memory_is_what_is_buffered_and_in_flight() -> None:
    partition = make_partition(a=0, b=0)
    assert held_bytes([partition]) == 0
    receive(partition, 0, 1)
    before = held_bytes([partition])
    reader = partition.readers["a"]
    batch = reader.take_batch(0.0)
    assert held_bytes([partition]) == before
    reader.confirm(batch)
    assert held_bytes([partition]) == before // 2
    reader.add(make_record(2, 1_000), 0.0)
    assert held_bytes([partition]) >= before // 2 + 1_000
