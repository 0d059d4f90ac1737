"""Sources that share a partition, under any sequence of records, hand-overs, suspensions, moves and lost seeks.

The class below does what a round of the polling thread does, on a log and a consumer that are lists and numbers.
In every case, each offset of each source is in exactly one micro-batch, in order; memory stays within its bound; and
once every service answers, every source reaches the end of the log.
"""

from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.consume import backpressure
from ingest.consume.backpressure import Pressure, must_pause
from ingest.consume.partition_state import AssignedPartition, MicroBatch, PartitionReader
from ingest.consume.sharing import suspend_and_resume
from ingest.event import KafkaRecord
from tests.support.readers import KEY, make_reader, make_record

SOURCES = ("a", "b", "c")
MAX_HELD = 8_000
MAX_RECORD_BYTES = 700 + 200  # with its overhead
MAX_BURST = 6
LIMITS: dict[str, dict[str, int]] = {
    "a": {"max_records": 2, "max_pending_records": 6},
    "b": {"max_records": 5, "max_pending_records": 20, "max_bytes": 2_000},
    "c": {"max_records": 3, "max_pending_bytes": 3_000, "linger_ms": 300},
}


class Reading:
    """One partition, its sources, and what Kafka and the services do to them, by chance."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.now = 100.0
        self.log: list[KafkaRecord] = []
        self.log_end = 0
        self.fetch_offset = 0  # librdkafka's
        self.generation = 0
        self.partition = AssignedPartition()
        self.pressure = Pressure()
        # Of each source: what is published, where its reader began, and what that reader handed over.
        self.published = dict.fromkeys(SOURCES, 0)
        self.start = dict.fromkeys(SOURCES, 0)
        self.handed_over: dict[str, list[MicroBatch]] = {source: [] for source in SOURCES}
        self.in_flight: list[tuple[PartitionReader, MicroBatch]] = []
        self.suspensions = 0
        for source in SOURCES[: chance.randint(1, len(SOURCES))]:
            self.open(source)

    def act(self) -> None:
        """One thing that can happen."""
        actions = {
            self.produce: 3,
            self.run_round: 12,
            self.run_rounds_while_no_service_answers: 1,
            self.confirm: 6,
            self.publish: 4,
            self.move: 0.5,
            self.stop_source: 0.3,
            self.rebalance: 0.3,
        }
        (action,) = self.chance.choices(list(actions), list(actions.values()))
        action()

    def open(self, source: str) -> None:
        self.generation += 1
        reader = make_reader(self.published[source], source, **LIMITS[source])
        reader.generation = self.generation
        self.partition.readers[source] = reader
        self.start[source] = self.published[source]
        self.handed_over[source] = []
        self.partition.request_seek()

    # ── what Kafka does ─────────────────────────────────────────────────────────────────────────────────────────────

    def produce(self) -> None:
        self.log_end += self.chance.choice([0, 0, 0, 1, 3])  # an aborted transaction, compaction
        for _ in range(self.chance.randint(0, 12)):
            self.log.append(make_record(self.log_end, self.chance.randint(0, 700)))
            self.log_end += 1

    def run_round(self) -> None:
        self.now += self.chance.choice([0.01, 0.1, 0.5, 1.0])
        self.poll(self.chance.randint(0, MAX_BURST), lose_seek=self.chance.random() < 0.3)

    def poll(self, burst: int, *, lose_seek: bool) -> None:
        """As `Poller._run_once`."""
        if not self.partition.paused:
            self.receive(burst)
        self.seek(lose=lose_seek)
        self.pressure.update({KEY: self.partition}, [KEY])
        behind = self.pressure.behind
        relieved = set(SOURCES) - self.pressure.half_behind
        if self.partition.seek_to is None:
            suspend_and_resume(self.partition, behind, relieved, self.now)
        for reader in self.partition.readers.values():
            self.suspensions += reader.suspended_at == self.now
            self.take_batch(reader, behind)
        self.partition.paused = must_pause(self.partition, behind, self.pressure.held)

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

    def take_batch(self, reader: PartitionReader, behind: set[str]) -> None:
        if reader.in_flight is not None or not reader.buffer or reader.spec.source in behind:
            return
        if reader.due_at(self.log_end) <= self.now:
            self.in_flight.append((reader, reader.take_batch(self.now)))

    # ── what the services and operators do ──────────────────────────────────────────────────────────────────────────

    def run_rounds_while_no_service_answers(self) -> None:
        for _ in range(self.chance.randint(2, 8)):
            self.now += 1.0
            self.poll(MAX_BURST, lose_seek=False)

    def confirm(self) -> None:
        if not self.in_flight:
            return
        index = self.chance.randrange(len(self.in_flight))
        reader, batch = self.in_flight.pop(index)
        if reader.confirm(batch, self.now):
            self.handed_over[reader.spec.source].append(batch)

    def publish(self) -> None:
        source = self.chance.choice(list(self.partition.readers))
        outstanding = list(self.partition.readers[source].outstanding)
        if outstanding:
            newest = outstanding[: self.chance.randint(1, 3)][-1]
            self.published[source] = newest.next_offset
            self.partition.readers[source].forget_published(newest.next_offset, now=self.now)

    def move(self) -> None:
        """A source is read again from what is published: a new epoch, or a new source."""
        source = self.chance.choice(SOURCES)
        self.partition.close_reader(source)
        self.open(source)

    def stop_source(self) -> None:
        if len(self.partition.readers) > 1:
            self.partition.close_reader(self.chance.choice(SOURCES))

    def rebalance(self) -> None:
        sources = list(self.partition.readers)
        self.partition.close()
        self.partition = AssignedPartition()
        self.fetch_offset = 0
        for source in sources:
            self.open(source)

    def drain(self) -> None:
        """Every service answers from now on, and no seek is lost."""
        self.log.append(
            make_record(self.log_end)
        )  # a seek that was lost is noticed with the next record
        self.log_end += 1
        end = self.log_end
        for _ in range(400 + 40 * len(self.log)):
            readers = self.partition.readers.values()
            if all(reader.handed_over_offset == end for reader in readers):
                return
            self.now += 0.5
            self.poll(MAX_BURST, lose_seek=False)
            while self.in_flight:
                self.confirm()
            for source, reader in self.partition.readers.items():
                self.published[source] = reader.handed_over_offset
                reader.forget_published(reader.handed_over_offset, now=self.now)
        pytest.fail(f"not drained: {self.partition}")

    # ── what must hold ──────────────────────────────────────────────────────────────────────────────────────────────

    def check_ranges(self) -> None:
        """Every offset is in exactly one micro-batch of each source, in order."""
        for source, batches in self.handed_over.items():
            covered = self.start[source]
            for batch in batches:
                assert batch.first_offset == covered
                covered = batch.next_offset
            handed_over = [record.offset for batch in batches for record in batch.records]
            in_log = (record.offset for record in self.log)
            assert handed_over == [at for at in in_log if self.start[source] <= at < covered]

    def check_bounds(self) -> None:
        """Memory and what is unpublished stay within their limits."""
        readers = self.partition.readers.values()
        burst = MAX_BURST * len(readers) * MAX_RECORD_BYTES
        assert sum(reader.held_bytes for reader in readers) <= MAX_HELD + burst
        for reader in readers:
            limits = reader.spec.limits
            records = sum(batch.records for batch in reader.outstanding)
            assert records <= limits.max_pending_records + limits.max_records
            assert sum(len(record.value or b"") for record in reader.buffer) <= reader.held_bytes

    def check_offsets(self) -> None:
        """What a reader holds is between what it handed over and what it expects."""
        for reader in self.partition.readers.values():
            assert reader.handed_over_offset <= reader.batch_offset <= reader.expected_offset
            buffered = [record.offset for record in reader.buffer]
            assert buffered == sorted(set(buffered))
            assert all(reader.batch_offset <= at < reader.expected_offset for at in buffered)
            assert not (reader.is_suspended and buffered)


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(backpressure, "MAX_HELD_BYTES", MAX_HELD)
    yield


@pytest.mark.usefixtures("little_memory")
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**64))
def test_whatever_happens_each_source_gets_every_record_once_and_in_order(seed: int) -> None:
    reading = Reading(Random(seed))
    for step in range(300):
        reading.act()
        reading.check_bounds()
        reading.check_offsets()
        if step % 20 == 0:
            reading.check_ranges()
    reading.check_ranges()
    reading.drain()
    reading.check_ranges()


def test_the_sequences_do_suspend_readers_and_hand_over_a_lot() -> None:
    """The test above would prove little on a partition where nothing happens."""
    readings = [Reading(Random(seed)) for seed in range(10)]
    for reading in readings:
        for _ in range(300):
            reading.act()
    assert sum(reading.suspensions for reading in readings) > 10
    assert (
        sum(len(batches) for reading in readings for batches in reading.handed_over.values()) > 60
    )
