"""5,000 sources, one partition each, on one consumer: a round of the polling thread costs what changed.

Each time is the CPU time of the thread, the shortest of several, so that other work on the machine does not count.
"""

import json
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from corpus.source import SourceSpec
from ingest.consume import client as client_module
from ingest.consume.partition_state import PartitionLog, Position
from ingest.consume.poller import Poller
from ingest.consume.positions import ActiveSource, PartitionStart, Positions
from ingest.kafka import PartitionKey
from tests.support.fake_consumer import FakeConsumer
from tests.support.fake_database import FakeConnection
from tests.support.fake_kafka import FakeCluster, FakeMessage

SOURCES = 5_000
KEYS = [PartitionKey(f"t{number}", 0) for number in range(SOURCES)]


class Services:
    """Remember what was asked."""

    def __init__(self) -> None:
        self.wanted: list[Any] = []
        self.batches: list[Any] = []

    async def _nothing(self) -> None: ...

    def read_positions(self, wanted: Any) -> Coroutine[Any, Any, None]:
        self.wanted.append(wanted)
        return self._nothing()

    def hand_over(self, *arguments: Any) -> Coroutine[Any, Any, None]:
        self.batches.append(arguments)
        return self._nothing()

    def halt(self, *_: Any) -> Coroutine[Any, Any, None]:
        return self._nothing()

    def forget_topics(self) -> None: ...


class Stand:
    """A poller that reads one partition of each source."""

    def __init__(self) -> None:
        self.services = Services()

        def start(work: Coroutine[Any, Any, None]) -> None:
            work.close()

        self.poller = Poller({}, self.services, start)
        self.assignment = self.poller.assignment
        self.consumer: Any = self.poller._client._consumer
        self.sources = [
            ActiveSource(spec=SourceSpec(source=f"s{n}", topics=(f"t{n}",)), epoch=0)
            for n in range(SOURCES)
        ]
        self.assignment.apply_sources(self.sources)
        self.assignment.on_assigned(KEYS)

    def open_readers(self) -> None:
        (wanted,) = self.services.wanted
        self.assignment.open_readers(wanted, {key: start_of(key) for key in KEYS})
        self.poller._run_once()
        self.consumer.calls.clear()

    def hand_over_one_record_each(self) -> None:
        self.consumer.messages += [FakeMessage(0, topic=key.topic) for key in KEYS]
        while len(self.services.batches) < SOURCES:
            self.poller._run_once()


def start_of(key: PartitionKey) -> PartitionStart:
    where = {"cluster_id": "c", "topic": key.topic, "topic_id": "id", "partition": 0}
    return PartitionStart(log=PartitionLog(**where, first_offset=0, next_offset=0))


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Stand:
    monkeypatch.setattr(client_module, "Consumer", FakeConsumer)
    return Stand()


def shortest(work: Callable[[], object], times: int = 5) -> float:
    """Seconds."""
    took: list[float] = []
    for _ in range(times):
        began = time.thread_time()
        work()
        took.append(time.thread_time() - began)
    return min(took)


def test_reading_the_sources_again_costs_a_small_part_of_its_interval(stand: Stand) -> None:
    assert shortest(lambda: stand.assignment.apply_sources(stand.sources)) < 0.02
    assert len(stand.services.wanted) == 1  # what is asked for already is not asked for again


def test_a_source_that_changes_costs_nothing_for_the_others(stand: Stand) -> None:
    stand.open_readers()
    epochs = iter(range(1, 100))

    def move_one() -> None:
        stand.sources[7] = ActiveSource(spec=stand.sources[7].spec, epoch=next(epochs))
        stand.assignment.apply_sources(stand.sources)

    assert shortest(move_one) < 0.02
    assert [list(wanted) for wanted in stand.services.wanted[1:]] == [[KEYS[7]]]
    assert stand.assignment.partitions[KEYS[8]].readers


def test_a_round_without_a_record_costs_little(stand: Stand) -> None:
    stand.open_readers()
    assert shortest(stand.poller._run_once) < 0.001


@pytest.mark.parametrize("confirmed", [False, True], ids=["in flight", "not published"])
def test_a_round_costs_little_while_every_source_waits_for_a_service(
    stand: Stand, *, confirmed: bool
) -> None:
    stand.open_readers()
    stand.hand_over_one_record_each()
    if confirmed:
        for batch in stand.services.batches:
            stand.poller.confirm(*batch)
    stand.poller._run_once()
    assert shortest(stand.poller._run_once) < 0.001
    assert len(stand.poller.outstanding) == (SOURCES if confirmed else 0)


def test_a_round_costs_little_while_every_source_waits_for_what_is_not_published(
    stand: Stand,
) -> None:
    stand.open_readers()
    stand.hand_over_one_record_each()
    for key, reader, batch in stand.services.batches:
        stand.poller.confirm(key, reader, batch)
        reader.outstanding[0] = replace(reader.outstanding[0], at=time.monotonic() - 3_600.0)
    stand.poller._run_once()
    stand.services.batches.clear()
    stand.consumer.messages += [FakeMessage(1, topic=key.topic) for key in KEYS]
    while stand.consumer.messages:
        stand.poller._run_once()
    assert shortest(stand.poller._run_once) < 0.001
    assert stand.services.batches == []


def test_a_record_costs_the_same_with_many_sources(stand: Stand) -> None:
    stand.open_readers()
    offsets = iter(range(100))

    def one_record() -> None:
        stand.consumer.messages.append(FakeMessage(next(offsets), topic="t5"))
        stand.poller._run_once()
        key, reader, batch = stand.services.batches.pop()
        stand.poller.confirm(key, reader, batch)
        reader.forget_published(batch.next_offset, now=0.0)

    assert shortest(one_record) < 0.002


def test_memory_that_is_full_pauses_every_partition_and_resumes_them(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand.open_readers()
    monkeypatch.setattr("ingest.consume.backpressure.MAX_HELD_BYTES", 1_000)
    stand.consumer.messages.append(FakeMessage(0, topic="t5", value=b"x" * 2_000))
    stand.poller._run_once()
    assert [len(keys) for keys in stand.consumer.called("pause")] == [SOURCES]
    stand.poller.confirm(*stand.services.batches.pop())
    stand.poller._run_once()
    assert [len(keys) for keys in stand.consumer.called("resume")] == [SOURCES]


# ── what is read from the database ──────────────────────────────────────────────────────────────────────────────────


def test_a_specification_is_read_when_its_text_changes() -> None:
    texts = {f"s{n}": SourceSpec(source=f"s{n}", topics=("t",)).to_json() for n in range(3)}
    transferred: list[str] = []

    def rows(arguments: dict[str, Any]) -> list[dict[str, Any]]:
        answer = []
        for source, spec in texts.items():
            digest = json.dumps(spec)
            known = digest in arguments["known"]
            transferred.extend([] if known else [source])
            spec = None if known else json.loads(digest)
            answer.append({"source": source, "epoch": 0, "digest": digest, "spec": spec})
        return answer

    database: Any = FakeConnection(sources_active=rows)
    cluster: Any = FakeCluster({})
    positions = Positions(database, cluster)
    before = positions.active_sources()
    assert transferred == ["s0", "s1", "s2"]
    texts["s1"]["limits"]["max_records"] = 7
    now = positions.active_sources()
    assert transferred[3:] == ["s1"]
    assert [old is new for old, new in zip(before, now, strict=True)] == [True, False, True]
    assert now[1].spec.limits.max_records == 7


def test_specifications_are_read_quickly() -> None:
    """Every search that names no source reads all of them; the measure is reading their JSON."""
    texts = [
        json.dumps(SourceSpec(source=f"s{n}", topics=(f"t{n}",)).to_json()) for n in range(SOURCES)
    ]
    rows = [json.loads(text) for text in texts]
    reading_json = shortest(lambda: [json.loads(text) for text in texts])
    assert shortest(lambda: [SourceSpec.from_json(row) for row in rows]) < 3 * reading_json


# ── one that cannot be asked ────────────────────────────────────────────────────────────────────────────────────────


def asking(cluster: FakeCluster) -> tuple[Positions, dict[PartitionKey, dict[str, Any]]]:
    """Positions of three sources, each at offset 15 of its own partition."""
    keys = [PartitionKey("t", 0), PartitionKey("t", 1), PartitionKey("u", 0)]
    rows = [
        Position(
            source=f"s{number}",
            topic=key.topic,
            partition=key.partition,
            cluster_id="c",
            topic_id="id",
            next_offset=15,
        )
        for number, key in enumerate(keys)
    ]
    database: Any = FakeConnection(positions_of_sources=rows)
    asked: Any = cluster
    wanted = {
        key: {
            f"s{number}": ActiveSource(
                spec=SourceSpec(source=f"s{number}", topics=(key.topic,)), epoch=0
            )
        }
        for number, key in enumerate(keys)
    }
    return Positions(database, asked), wanted


def test_a_partition_without_a_leader_holds_up_no_other() -> None:
    cluster = FakeCluster({"t": 2, "u": 1})
    cluster.leaderless.add(PartitionKey("t", 1))
    positions, wanted = asking(cluster)
    assert positions.read(wanted).keys() == {PartitionKey("t", 0), PartitionKey("u", 0)}
    assert "no leader" in positions.refused[PartitionKey("t", 1)]
    cluster.leaderless.clear()
    assert positions.read(wanted).keys() == wanted.keys()
    assert positions.refused == {}


def test_a_topic_that_may_not_be_described_holds_up_no_other() -> None:
    cluster = FakeCluster({"t": 2, "u": 1})
    cluster.cannot_describe.add("t")
    positions, wanted = asking(cluster)
    assert positions.read(wanted).keys() == {PartitionKey("u", 0)}
    assert positions.refused.keys() == {PartitionKey("t", 0), PartitionKey("t", 1)}
    assert positions.topic_ids(["t", "u"]) == {"u": "id"}


def test_a_partition_that_was_refused_is_asked_for_again_with_the_sources(stand: Stand) -> None:
    (wanted,) = stand.services.wanted
    starts = {key: start_of(key) for key in KEYS[1:]}
    stand.assignment.open_readers(wanted, starts)
    assert len(stand.services.wanted) == 1
    stand.assignment.apply_sources(stand.sources)
    assert [list(wanted) for wanted in stand.services.wanted[1:]] == [[KEYS[0]]]
