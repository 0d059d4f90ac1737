"""When partitions pause and run again."""

import pytest

from ingest.consume.backpressure import (
    MAX_HELD_BYTES,
    MemoryState,
    Pressure,
    memory_state,
    must_pause,
)
from ingest.kafka import PartitionKey
from tests.support.readers import KEY, hand_over_singly, make_partition, make_record, receive

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


OTHER = PartitionKey("t", 1)


def test_what_is_unpublished_counts_over_all_partitions_of_a_source() -> None:
    partitions = {KEY: make_partition(s=0, other=0), OTHER: make_partition(s=0)}
    for partition in partitions.values():
        hand_over_singly(partition.readers["s"], 100)
    pressure = Pressure()
    assert pressure.update(partitions, [KEY]) == {"s"}  # more than half of its limits
    assert (pressure.behind, pressure.half_behind) == (set(), {"s"})
    assert pressure.update(partitions, [OTHER]) == {"s"}
    assert (pressure.behind, pressure.outstanding) == ({"s"}, {"s"})
    partitions[OTHER].readers["s"].forget_published(100, now=0.0)
    assert pressure.update(partitions, [OTHER]) == {"s"}
    assert (pressure.behind, pressure.half_behind) == (set(), {"s"})
    partitions[KEY].close_reader("s")
    pressure.update(partitions, [KEY])
    assert (pressure.half_behind, pressure.outstanding) == (set(), set())


def test_memory_is_what_is_buffered_and_in_flight() -> None:
    partition = make_partition(a=0, b=0)
    pressure = Pressure()

    def held() -> int:
        pressure.update({KEY: partition}, [KEY])
        return pressure.held

    assert held() == 0
    receive(partition, 0, 1)
    before = held()
    reader = partition.readers["a"]
    batch = reader.take_batch(0.0)
    assert held() == before
    reader.confirm(batch, now=0.0)
    assert held() == before // 2
    reader.add(make_record(2, 1_000), 0.0)
    assert held() >= before // 2 + 1_000
    pressure.update({}, [KEY])  # the partition was taken away
    assert pressure.held == 0


@pytest.mark.parametrize(
    ("held", "state"),
    [
        (0, MemoryState.FREE),
        (MAX_HELD_BYTES // 2, MemoryState.FREE),
        (MAX_HELD_BYTES // 2 + 1, MemoryState.HALF),
        (MAX_HELD_BYTES, MemoryState.HALF),
        (MAX_HELD_BYTES + 1, MemoryState.FULL),
    ],
)
def test_within_a_state_of_memory_no_partition_pauses_or_resumes(
    held: int, state: MemoryState
) -> None:
    """So every partition is looked at only when the state changes."""
    assert memory_state(held) is state
