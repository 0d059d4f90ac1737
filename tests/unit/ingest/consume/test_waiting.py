"""How long records have waited."""

import random

import pytest

from ingest.consume.waiting import WaitingTimes
from ingest.kafka import PartitionKey
from tests.support.clock import Clock

KEY = PartitionKey("t", 0)
MAX_MARKS = 64


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_oldest_unread_record_counts_from_the_look_that_first_saw_it(clock: Clock) -> None:
    times = WaitingTimes(clock)
    assert times.seconds(KEY, 0, 10) == 0.0  # seen now
    clock.now += 5
    assert times.seconds(KEY, 0, 20) == 5.0
    clock.now += 5
    # What was there first is read; what came with the second look has waited since then.
    assert times.seconds(KEY, 10, 30) == 5.0
    assert times.seconds(KEY, 0, 30) == 10.0  # another source reads the same log, and is behind


def test_what_is_read_waits_no_longer(clock: Clock) -> None:
    times = WaitingTimes(clock)
    times.seconds(KEY, 0, 10)
    clock.now += 60
    assert times.seconds(KEY, 10, 10) == 0.0
    # A record that comes later does not inherit the wait of those before it.
    assert times.seconds(KEY, 10, 11) == 0.0


def test_a_topic_made_anew_begins_anew(clock: Clock) -> None:
    times = WaitingTimes(clock)
    times.seconds(KEY, 0, 1_000)
    clock.now += 60
    assert times.seconds(KEY, 0, 3) == 0.0


def test_partitions_are_apart(clock: Clock) -> None:
    times = WaitingTimes(clock)
    times.seconds(KEY, 0, 10)
    clock.now += 60
    assert times.seconds(PartitionKey("t", 1), 0, 10) == 0.0


@pytest.mark.parametrize("seed", range(20))
def test_a_long_wait_is_bounded_in_memory_and_never_too_short(clock: Clock, seed: int) -> None:
    rng = random.Random(seed)
    times = WaitingTimes(clock)
    came: list[float] = []
    began = clock.now
    for _ in range(500):
        clock.now += rng.uniform(0, 60)
        came += [clock.now] * rng.randrange(3)
        start = rng.randrange(len(came) + 1)
        waited = times.seconds(KEY, start, len(came))
        if start == len(came):
            assert waited == 0.0
        else:
            assert waited >= clock.now - came[start]
            assert waited <= clock.now - began
    assert len(times._marks[KEY]) <= MAX_MARKS  # pyright: ignore[reportPrivateUsage]
