"""Which partitions are silent though their log holds more, and how many are looked up per look."""

from collections import Counter

import pytest

from ingest.consume.partition_state import AssignedPartition
from ingest.consume.silence import MOST_LOOKED_UP, Silence, Silent
from ingest.kafka import PartitionKey
from tests.support.readers import hand_over_singly, make_partition


class Logs:
    """Their ends, and how often each was looked up."""

    def __init__(self, end: int) -> None:
        self._end = end
        self.looked_up: Counter[PartitionKey] = Counter()

    def end(self, key: PartitionKey) -> int:
        self.looked_up[key] += 1
        return self._end


def reading(count: int) -> dict[PartitionKey, AssignedPartition]:
    partitions = {PartitionKey("t", number): make_partition(s=5) for number in range(count)}
    for partition in partitions.values():
        partition.paused = False
    return partitions


@pytest.mark.parametrize(
    ("end", "is_end_known", "is_silent"),
    [(9, True, True), (5, True, False), (0, True, False), (5, False, True)],
)
def test_a_partition_is_silent_at_the_second_look(
    end: int, *, is_end_known: bool, is_silent: bool
) -> None:
    silence = Silence()
    partitions = reading(1)
    logs = Logs(end)
    looks = [silence.look(partitions, logs.end, is_end_known=is_end_known) for _ in range(2)]
    assert looks == [[], [Silent(PartitionKey("t", 0), 5)] if is_silent else []]


def test_one_of_which_records_come_or_that_is_paused_is_not_silent() -> None:
    silence = Silence()
    partitions = reading(2)
    moving, paused = partitions.values()
    paused.paused = True
    for _ in range(3):
        hand_over_singly(moving.readers["s"], 1)
        assert silence.look(partitions, Logs(99).end, is_end_known=True) == []


@pytest.mark.parametrize("is_end_known", [True, False])
def test_of_many_each_has_its_turn(*, is_end_known: bool) -> None:
    silence = Silence()
    partitions = reading(4 * MOST_LOOKED_UP + 3)
    logs = Logs(9)
    assert silence.look(partitions, logs.end, is_end_known=True) == []
    found: Counter[PartitionKey] = Counter()
    for _ in range(9):
        silent = silence.look(partitions, logs.end, is_end_known=is_end_known)
        assert len(silent) == MOST_LOOKED_UP
        found.update(one.key for one in silent)
    assert found.keys() == partitions.keys()
    assert max(found.values()) - min(found.values()) <= 1
    assert logs.looked_up == (found if is_end_known else Counter())


def test_the_turn_goes_on_where_those_before_it_are_gone() -> None:
    silence = Silence()
    partitions = reading(2 * MOST_LOOKED_UP)
    ends = Logs(9).end
    silence.look(partitions, ends, is_end_known=True)
    first = silence.look(partitions, ends, is_end_known=True)
    for one in first:
        del partitions[one.key]
    rest = silence.look(partitions, ends, is_end_known=True)
    assert {one.key for one in rest} == partitions.keys()
