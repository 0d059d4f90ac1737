"""The polling thread's rules without a broker: what comes back from the services, in any order."""

from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from corpus.source import SourceSpec
from ingest.consume.partition_state import AssignedPartition, PartitionLog, Position
from ingest.consume.poller import Poller
from ingest.consume.positions import ActiveSource
from ingest.consume.services import Place


class Asked:
    """`Work` that does nothing and remembers what was asked."""

    def __init__(self) -> None:
        self.places = 0
        self.halted: list[str] = []

    async def _nothing(self) -> None: ...

    def place(self, asked: Any) -> Coroutine[Any, Any, None]:
        self.places += 1
        return self._nothing()

    def deliver(self, *_: Any) -> Coroutine[Any, Any, None]:
        return self._nothing()

    def halt(self, source: str, epoch: int, reason: str) -> Coroutine[Any, Any, None]:
        self.halted.append(source)
        return self._nothing()

    def forget_topics(self) -> None: ...


@pytest.fixture
def work() -> Asked:
    return Asked()


@pytest.fixture
def poller(work: Asked) -> Iterator[Poller]:
    made = Poller(
        {"bootstrap.servers": "127.0.0.1:1", "group.id": "g"}, work, lambda started: started.close()
    )
    made.topics = frozenset({"t"})
    made.slots = {("t", 0): AssignedPartition(), ("t", 1): AssignedPartition()}
    yield made
    made._consumer.close()


SOURCE = ActiveSource(spec=SourceSpec(source="s", topics=("t",)), epoch=0)


def log_of(place: Place) -> PartitionLog:
    return PartitionLog(
        cluster_id="c",
        topic=place[0],
        topic_id="i",
        partition=place[1],
        first_offset=10,
        next_offset=20,
    )


def positions(*offsets: int) -> dict[tuple[str, str, int], Position]:
    return {
        ("s", "t", partition): Position("c", "i", offset)
        for partition, offset in enumerate(offsets)
    }


def test_a_gap_in_one_partition_gives_up_the_source_in_all(poller: Poller, work: Asked) -> None:
    poller.apply_sources([SOURCE])
    asked = {place: {"s": SOURCE} for place in poller.slots}
    poller.apply_places(asked, {place: log_of(place) for place in asked}, positions(10, 5))
    assert work.halted == ["s"]
    assert not any(slot.lanes for slot in poller.slots.values())
    poller.apply_sources([])  # somebody else of the group halted it, or an operator paused it
    assert not poller.slots["t", 0].lanes


def test_a_topic_that_is_gone_is_asked_for_with_the_sources_and_not_at_once(
    poller: Poller, work: Asked
) -> None:
    poller.apply_sources([SOURCE])
    assert work.places == 1
    for _ in range(10):
        poller.apply_places({place: {"s": SOURCE} for place in poller.slots}, {}, {})
    assert work.places == 1
    poller.apply_sources([SOURCE])
    assert work.places == 2
