"""Sources that share a partition, under any sequence of records, hand-overs, suspensions, moves and lost seeks.

The machine below does what a round of the polling thread does, on a log and a consumer that are lists and numbers.
In every case, each offset of each source is in exactly one micro-batch, in order; memory stays within its bound; and
once every service answers, every source reaches the end of the log.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ingest.consume import backpressure
from ingest.consume.backpressure import held_bytes, must_pause, sources_behind
from ingest.consume.partition_state import AssignedPartition, MicroBatch, PartitionReader
from ingest.consume.sharing import suspend_and_resume
from ingest.event import KafkaRecord
from tests.support.readers import make_reader, make_record

SOURCES = ("a", "b", "c")
MAX_HELD = 8_000
MAX_RECORD_BYTES = 700 + 200  # with its overhead
MAX_BURST = 6
LIMITS: dict[str, dict[str, int]] = {
    "a": {"max_records": 2, "max_pending_records": 6},
    "b": {"max_records": 5, "max_pending_records": 20, "max_bytes": 2_000},
    "c": {"max_records": 3, "max_pending_bytes": 3_000, "linger_ms": 300},
}


class Reading(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.log: list[KafkaRecord] = []
        self.log_end = 0
        self.fetch_offset = 0  # librdkafka's
        self.generation = 0
        self.partition = AssignedPartition()
        # Of each source: what is published, what the readers since the last move handed over, and what is in flight.
        self.published = dict.fromkeys(SOURCES, 0)
        self.start = dict.fromkeys(SOURCES, 0)
        self.handed_over: dict[str, list[MicroBatch]] = {source: [] for source in SOURCES}
        self.in_flight: list[tuple[PartitionReader, MicroBatch]] = []

    @initialize(sources=st.sets(st.sampled_from(SOURCES), min_size=1))
    def assign(self, sources: set[str]) -> None:
        for source in sorted(sources):
            self.open(source)

    def open(self, source: str) -> None:
        self.generation += 1
        reader = make_reader(self.published[source], source, **LIMITS[source])
        reader.generation = self.generation
        self.partition.readers[source] = reader
        self.start[source] = self.published[source]
        self.handed_over[source] = []
        self.partition.seek_to = self.partition.read_offset

    # ── what Kafka does ─────────────────────────────────────────────────────────────────────────────────────────────

    @rule(sizes=st.lists(st.integers(0, 700), max_size=20), hole=st.integers(0, 3))
    def produce(self, sizes: list[int], hole: int) -> None:
        self.log_end += hole  # an aborted transaction, compaction
        for size in sizes:
            self.log.append(make_record(self.log_end, size))
            self.log_end += 1

    @rule(
        burst=st.integers(0, MAX_BURST),
        seconds=st.sampled_from([0.01, 0.5, 1.0, 2.5]),
        lose_seek=st.booleans(),
    )
    def run_round(self, burst: int, seconds: float, *, lose_seek: bool) -> None:
        self.now += seconds
        if not self.partition.paused:
            self.receive(burst)
        self.seek(lose=lose_seek)
        behind = sources_behind([self.partition])
        relieved = set(SOURCES) - sources_behind([self.partition], share=0.5)
        if self.partition.seek_to is None:
            suspend_and_resume(self.partition, behind, relieved, self.now)
        for reader in self.partition.readers.values():
            self.take_batch(reader, behind)
        self.partition.paused = must_pause(self.partition, behind, held_bytes([self.partition]))

    def receive(self, burst: int) -> None:
        records = [record for record in self.log if record.offset >= self.fetch_offset][:burst]
        for record in records:
            self.fetch_offset = record.offset + 1
            if self.partition.accepts(record.offset):
                for reader in self.partition.readers.values():
                    reader.add(record, self.now)

    def seek(self, *, lose: bool) -> None:
        if self.partition.seek_to is None:
            return
        if not lose:
            self.fetch_offset = self.partition.seek_to
        self.partition.seek_to = None
        self.partition.after_seek = True

    def take_batch(self, reader: PartitionReader, behind: frozenset[str]) -> None:
        if reader.in_flight is not None or not reader.buffer or reader.spec.source in behind:
            return
        if reader.due_at(self.log_end) <= self.now:
            self.in_flight.append((reader, reader.take_batch(self.now)))

    # ── what the services do ────────────────────────────────────────────────────────────────────────────────────────

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def confirm(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.in_flight) - 1))
        reader, batch = self.in_flight.pop(index)
        if reader.confirm(batch):
            self.handed_over[reader.spec.source].append(batch)

    @rule(source=st.sampled_from(SOURCES), references=st.integers(1, 3))
    def publish(self, source: str, references: int) -> None:
        reader = self.partition.readers.get(source)
        if reader is None or not reader.outstanding:
            return
        newest = list(reader.outstanding)[:references][-1]
        self.published[source] = newest.next_offset
        reader.forget_published(newest.next_offset)

    @rule(burst=st.integers(1, MAX_BURST), count=st.integers(2, 6))
    def run_rounds_while_no_service_answers(self, burst: int, count: int) -> None:
        for _ in range(count):
            self.run_round(burst, 1.0, lose_seek=False)

    @rule(source=st.sampled_from(SOURCES))
    def move(self, source: str) -> None:
        """The source is read again from what is published: a new epoch, or a new source."""
        self.partition.close_reader(source)
        self.open(source)

    @rule(source=st.sampled_from(SOURCES))
    def stop_source(self, source: str) -> None:
        if len(self.partition.readers) > 1:
            self.partition.close_reader(source)

    @rule()
    def rebalance(self) -> None:
        sources = list(self.partition.readers)
        self.partition.close()
        self.partition = AssignedPartition()
        self.fetch_offset = 0
        for source in sources:
            self.open(source)

    # ── what must hold ──────────────────────────────────────────────────────────────────────────────────────────────

    @invariant()
    def every_offset_is_in_exactly_one_micro_batch_in_order(self) -> None:
        for source, batches in self.handed_over.items():
            covered = self.start[source]
            for batch in batches:
                assert batch.first_offset == covered
                covered = batch.next_offset
            handed_over = [record.offset for batch in batches for record in batch.records]
            in_range = (record.offset for record in self.log)
            assert handed_over == [at for at in in_range if self.start[source] <= at < covered]

    @invariant()
    def memory_and_what_is_unpublished_are_bounded(self) -> None:
        readers = self.partition.readers.values()
        burst = MAX_BURST * len(readers) * MAX_RECORD_BYTES
        assert held_bytes([self.partition]) <= MAX_HELD + burst
        for reader in readers:
            limits = reader.spec.limits
            records = sum(batch.records for batch in reader.outstanding)
            assert records <= limits.max_pending_records + limits.max_records
            held = sum(map(len, (record.value or b"" for record in reader.buffer)))
            assert held <= reader.held_bytes

    @invariant()
    def offsets_of_a_reader_are_in_order(self) -> None:
        for reader in self.partition.readers.values():
            assert reader.handed_over_offset <= reader.batch_offset <= reader.expected_offset
            buffered = [record.offset for record in reader.buffer]
            assert buffered == sorted(set(buffered))
            assert all(reader.batch_offset <= at < reader.expected_offset for at in buffered)
            assert not (reader.is_suspended and buffered)

    def teardown(self) -> None:
        """Every service answers from now on: every source reaches the end, however it was shared until now."""
        self.produce([10], 0)  # a seek that was lost is noticed with the next record
        for _ in range(400 + 40 * len(self.log)):
            if self.is_drained():
                break
            self.run_round(MAX_BURST, 0.5, lose_seek=False)
            while self.in_flight:
                reader, batch = self.in_flight.pop(0)
                if reader.confirm(batch):
                    self.handed_over[reader.spec.source].append(batch)
            for source in SOURCES:
                self.publish(source, 100)
        self.every_offset_is_in_exactly_one_micro_batch_in_order()
        assert self.is_drained()

    def is_drained(self) -> bool:
        if not self.log:
            return True
        end = self.log[-1].offset + 1
        return all(
            reader.handed_over_offset == end or self.start[source] >= end
            for source, reader in self.partition.readers.items()
        )


TestReading: Any = Reading.TestCase
TestReading.settings = settings(
    max_examples=60,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.fixture(autouse=True, scope="module")
def little_memory() -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    patch.setattr(backpressure, "MAX_HELD_BYTES", MAX_HELD)
    yield
    patch.undo()
