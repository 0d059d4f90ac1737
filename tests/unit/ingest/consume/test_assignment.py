"""Which sources read which partitions: what the services answer, in any order, without a broker."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from ingest.consume import client as client_module
from ingest.consume.partition_state import Position
from ingest.consume.poller import Poller
from ingest.consume.positions import ActiveSource, PartitionStart, PartitionStarts
from ingest.consume.progress import FEWEST_SOURCES
from ingest.kafka import PartitionKey
from tests.support.fake_consumer import FakeConsumer
from tests.support.readers import hand_over, make_log, make_position, make_record, make_source

KEYS = (PartitionKey("t", 0), PartitionKey("t", 1))
SOURCE = make_source()


class Services:
    """`ConsumerServices` that do nothing and remember what was asked."""

    def __init__(self) -> None:
        self.wanted: list[Any] = []
        self.halted: list[tuple[str, int, str]] = []
        self.forgotten = 0

    async def _nothing(self) -> None: ...

    def read_positions(self, wanted: Any) -> Coroutine[Any, Any, None]:
        self.wanted.append(wanted)
        return self._nothing()

    def hand_over(self, *_: Any) -> Coroutine[Any, Any, None]:
        return self._nothing()

    def halt(self, source: str, epoch: int, reason: str) -> Coroutine[Any, Any, None]:
        self.halted.append((source, epoch, reason))
        return self._nothing()

    def forget_topics(self) -> None:
        self.forgotten += 1


@pytest.fixture
def services() -> Services:
    return Services()


@pytest.fixture
def poller(services: Services, monkeypatch: pytest.MonkeyPatch) -> Poller:
    monkeypatch.setattr(client_module, "Consumer", FakeConsumer)

    def start(work: Coroutine[Any, Any, None]) -> None:
        work.close()

    made = Poller({}, services, start)
    made.assignment.on_assigned(KEYS)
    return made


def starts(*offsets: int, source: str = "s") -> PartitionStarts:
    """Logs of 10 to 20 in every partition, and the source's positions in the first ones."""
    found: dict[PartitionKey, PartitionStart] = {}
    for key in KEYS:
        log = make_log(10, 20, partition=key.partition)
        found[key] = PartitionStart(log=log)
    for partition, offset in enumerate(offsets):
        position: Position = make_position(offset, source=source, partition=partition)
        found[position.key].positions[source] = position
    return found


def wanted(*sources: ActiveSource) -> dict[PartitionKey, dict[str, ActiveSource]]:
    return {key: {source.spec.source: source for source in sources} for key in KEYS}


def opened(poller: Poller, *sources: ActiveSource) -> None:
    """Readers of these sources at the beginning of every partition."""
    poller.assignment.apply_sources(sources)
    answer = starts()
    for source in sources:
        for key in KEYS:
            answer[key].positions[source.spec.source] = make_position(
                10, source=source.spec.source, partition=key.partition
            )
    poller.assignment.open_readers(wanted(*sources), answer)


def read_from(poller: Poller) -> list[int | None]:
    return [partition.read_offset for partition in poller.assignment.partitions.values()]


def test_every_source_gets_a_reader_at_its_position(poller: Poller, services: Services) -> None:
    poller.assignment.apply_sources([SOURCE])
    assert services.wanted == [wanted(SOURCE)]
    poller.assignment.open_readers(wanted(SOURCE), starts(10, 15))
    assert read_from(poller) == [10, 15]
    assert [part.seek_to for part in poller.assignment.partitions.values()] == [10, 15]
    assert len({reader.generation for reader in poller.assignment.readers()}) == 2


def test_a_gap_in_one_partition_closes_the_source_in_all(
    poller: Poller, services: Services
) -> None:
    poller.assignment.apply_sources([SOURCE])
    poller.assignment.open_readers(wanted(SOURCE), starts(10, 5))
    ((source, epoch, reason),) = services.halted
    assert (source, epoch) == ("s", 0)
    assert "5 offsets from 5 to 9 were removed" in reason
    assert not list(poller.assignment.readers())
    poller.assignment.apply_sources([])  # another process halted it, or an operator paused it
    assert not list(poller.assignment.readers())


def test_a_topic_that_is_gone_is_asked_for_with_the_sources_and_not_at_once(
    poller: Poller, services: Services
) -> None:
    poller.assignment.apply_sources([SOURCE])
    assert len(services.wanted) == 1
    for _ in range(10):
        poller.assignment.open_readers(wanted(SOURCE), {})
    assert len(services.wanted) == 1
    poller.assignment.apply_sources([SOURCE])
    assert len(services.wanted) == 2


def test_positions_are_asked_for_once_while_the_answer_is_awaited(
    poller: Poller, services: Services
) -> None:
    for _ in range(5):
        poller.assignment.apply_sources([SOURCE])
    assert len(services.wanted) == 1


def close(poller: Poller) -> None:
    poller.assignment.apply_sources([])


def move(poller: Poller) -> None:
    poller.assignment.apply_sources([make_source(epoch=1)])


def revoke(poller: Poller) -> None:
    poller.assignment.on_lost(KEYS)


@pytest.mark.parametrize("change", [close, move, revoke], ids=["stopped", "moved", "revoked"])
def test_an_answer_that_comes_too_late_opens_no_reader(
    poller: Poller, change: Callable[[Poller], None]
) -> None:
    poller.assignment.apply_sources([SOURCE])
    change(poller)
    poller.assignment.open_readers(wanted(SOURCE), starts(10, 10))
    assert not list(poller.assignment.readers())


def test_a_second_answer_leaves_the_reader_as_it_is(poller: Poller) -> None:
    opened(poller, SOURCE)
    readers = list(poller.assignment.readers())
    readers[0].add(make_record(10), 0.0)
    poller.assignment.open_readers(wanted(SOURCE), starts(10, 10))
    assert all(
        before is now for before, now in zip(readers, poller.assignment.readers(), strict=True)
    )
    assert readers[0].expected_offset == 11


def test_a_moved_source_is_read_again_and_its_micro_batch_in_flight_is_outdated(
    poller: Poller, services: Services
) -> None:
    opened(poller, SOURCE)
    reader = poller.assignment.partitions[KEYS[0]].readers["s"]
    reader.add(make_record(10), 0.0)
    batch = reader.take_batch(0.0)
    move(poller)
    assert len(services.wanted) == 2
    poller.confirm(KEYS[0], reader, batch)
    assert poller.handed_over_records == 0
    poller.assignment.open_readers(wanted(make_source(epoch=1)), starts(12, 12))
    assert read_from(poller) == [12, 12]


def test_what_is_read_again_has_more_sources_compared(poller: Poller) -> None:
    names = [f"s{number:03}" for number in range(4 * FEWEST_SOURCES)]
    opened(poller, *map(make_source, names))
    for reader in poller.assignment.readers():
        reader.add(make_record(10), 0.0)
        hand_over(reader)
    rows = [
        make_position(10, source=name, partition=key.partition) for name in names for key in KEYS
    ]
    looks = [poller.assignment.look(rows) for _ in range(2)]
    poller.assignment.read_again(looks[1][0])
    looks.append(poller.assignment.look(rows))
    sources = [len({one.source for one in look}) for look in looks]
    assert sources == [0, FEWEST_SOURCES, 2 * FEWEST_SOURCES]


def test_a_source_that_leaves_a_topic_reads_no_more_of_it(poller: Poller) -> None:
    opened(poller, SOURCE, make_source("other"))
    elsewhere = SOURCE.spec.__class__(source="s", topics=("u",))
    poller.assignment.apply_sources([ActiveSource(spec=elsewhere, epoch=0), make_source("other")])
    assert {reader.spec.source for reader in poller.assignment.readers()} == {"other"}
    assert poller.assignment.topics == {"t", "u"}


def test_new_limits_reach_readers_that_are_open(poller: Poller) -> None:
    opened(poller, SOURCE)
    poller.assignment.apply_sources([make_source(max_records=7)])
    assert {reader.spec.limits.max_records for reader in poller.assignment.readers()} == {7}


def test_a_recreated_topic_is_opened_again(poller: Poller, services: Services) -> None:
    opened(poller, SOURCE)
    poller.assignment.check_topic_ids({"t": "id"})
    assert len(list(poller.assignment.readers())) == 2
    poller.assignment.check_topic_ids({"t": "recreated"})
    assert not list(poller.assignment.readers())
    assert services.forgotten == 2
    poller.assignment.check_topic_ids({})  # a topic that is gone says nothing about its id


def test_only_positions_of_this_log_show_what_is_published(poller: Poller) -> None:
    opened(poller, SOURCE)
    reader = poller.assignment.partitions[KEYS[0]].readers["s"]
    reader.add(make_record(10), 0.0)
    hand_over(reader)
    for position in (
        make_position(11, topic_id="recreated"),
        make_position(11, source="other"),
        make_position(11, partition=7),
        make_position(10),
    ):
        poller.assignment.apply_positions([position])
        assert len(reader.outstanding) == 1
    poller.assignment.apply_positions([make_position(11)])
    assert not reader.outstanding


def test_partitions_that_are_revoked_are_forgotten_and_come_back_empty(poller: Poller) -> None:
    opened(poller, SOURCE)
    poller.assignment.on_revoked(KEYS)
    assert poller.assignment.partitions == {}
    poller.assignment.on_assigned(KEYS)
    assert read_from(poller) == [None, None]
    assert all(partition.paused for partition in poller.assignment.partitions.values())
