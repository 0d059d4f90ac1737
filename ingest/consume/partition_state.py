"""State of the partitions that this process reads, and the rules that change it; no I/O.

A partition is read by one or more sources. Each of them has a `PartitionReader` there, which buffers records, forms
micro-batches and remembers what is handed over and not yet published.

Two terms of this project:

- **epoch**: the number of times that an operator or a failure moved the positions of a source; what was read in an
  older epoch is dropped.
- **generation**: the number that a reader gets when it is opened; a micro-batch of another generation is outdated and
  changes nothing.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from corpus.source import SourceSpec
from corpus.versions.truncation import Truncation
from ingest.consume import pace
from ingest.consume.skips import Skip
from ingest.event import KafkaRecord
from ingest.kafka import PartitionKey
from ingest.kafka_record import size_of
from ingest.source_state import largest_batch

# While the log is known to hold more records, a micro-batch waits this long for them: one large micro-batch instead of
# fifty small ones.
CATCH_UP_SECONDS = 0.1
# Values of one micro-batch. The source's workflow joins references as it sees fit, but it cannot split one: small ones
# let it begin with batches that are searchable soon. The first ones of a backlog are smaller still (`largest_batch`).
MAX_MICRO_BATCH_BYTES = 500_000
_RECORD_OVERHEAD_BYTES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A row of `freshet.source_position`: the next offset of one source in one partition."""

    source: str
    topic: str
    partition: int
    cluster_id: str
    topic_id: str
    next_offset: int

    @property
    def key(self) -> PartitionKey:
        """Of which partition."""
        return PartitionKey(self.topic, self.partition)


@dataclass(frozen=True, slots=True)
class Gap:
    """Why a source cannot continue from its position without losing or skipping something."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionLog:
    """The log of a partition as Kafka describes it now."""

    cluster_id: str
    topic: str
    topic_id: str
    partition: int
    first_offset: int  # oldest record kept
    next_offset: int  # end of the log


def start_offset(position: Position | None, log: PartitionLog) -> int | Gap:
    """Where a source starts to read a partition, or the gap between its position and the log.

    A source without a position starts at the oldest record. No offset is ever skipped silently.
    """
    if position is None:
        return log.first_offset
    reason = _gap_reason(position, log)
    if reason is None:
        return position.next_offset
    accept = f"Accept it with `freshet source resume {position.source} --skip-gap`."
    return Gap(f"{position.key}: {reason}. {accept}")


def _gap_reason(position: Position, log: PartitionLog) -> str | None:
    offset = position.next_offset
    if position.cluster_id != log.cluster_id:
        return (
            f"position {offset} belongs to Kafka cluster {position.cluster_id}, "
            f"this one is {log.cluster_id}"
        )
    if position.topic_id != log.topic_id:
        return (
            f"position {offset} belongs to topic id {position.topic_id}; "
            f"the topic was recreated and its id is {log.topic_id} now"
        )
    if offset < log.first_offset:
        return (
            f"{log.first_offset - offset:,} offsets from {offset} to {log.first_offset - 1} "
            "were removed from the log before they were read (retention)"
        )
    if offset > log.next_offset:
        return f"position {offset} is beyond the end of the log, {log.next_offset}: the log was truncated"
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroBatch:
    """Records that a reader gives away to be staged and handed over together."""

    records: Sequence[KafkaRecord]
    value_bytes: int
    first_offset: int  # inclusive
    next_offset: int  # exclusive; offsets that Kafka left out are inside the range
    generation: int  # of the reader
    before: KafkaRecord | None = None  # the record before them, where it is known


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOver:
    """A micro-batch that the source's workflow has, and that is not published yet."""

    next_offset: int
    records: int
    value_bytes: int
    at: float  # monotonic seconds


@dataclass(slots=True, kw_only=True, eq=False)
class PartitionReader:
    """One source's reading of one partition. Only the polling thread changes it; two of them are never equal.

    Offsets only rise: `handed_over_offset <= batch_offset <= expected_offset`. Everything below the first is with the
    source's workflow, from there to the second in flight, from there to the third in the buffer.
    """

    spec: SourceSpec
    epoch: int
    log: PartitionLog
    expected_offset: int  # of the next record to buffer
    batch_offset: int  # first offset of the next micro-batch
    generation: int = 0
    skips: Sequence[Skip] = ()
    decisions: Sequence[Truncation] = ()
    buffer: deque[KafkaRecord] = field(default_factory=deque[KafkaRecord])
    buffered_bytes: int = 0
    oldest_at: float = 0.0  # monotonic seconds, when the oldest buffered record came
    in_flight: MicroBatch | None = None
    taken: KafkaRecord | None = None  # the last record, where the next one may need it
    taken_bytes: int = 0  # of the newest micro-batch
    outstanding: deque[HandedOver] = field(default_factory=deque[HandedOver])
    published_after: float = 0.0  # seconds from hand-over, of the newest one published
    # Both in monotonic seconds, see `ingest.consume.sharing`: since when it buffers nothing, and keeps others waiting.
    suspended_at: float | None = None
    blocking_since: float | None = None

    @property
    def is_suspended(self) -> bool:
        """Whether the reader buffers nothing."""
        return self.suspended_at is not None

    @property
    def handed_over_offset(self) -> int:
        """Every offset below this one is with the source's workflow."""
        if self.in_flight is not None:
            return self.in_flight.first_offset
        return self.batch_offset

    @property
    def held_bytes(self) -> int:
        """Bytes of records in memory."""
        if self.in_flight is not None:
            return self.buffered_bytes + self.in_flight.value_bytes
        return self.buffered_bytes

    @property
    def is_full(self) -> bool:
        """Whether the buffer holds a whole micro-batch."""
        if len(self.buffer) >= self.spec.limits.max_records:
            return True
        return self.buffered_bytes >= self._max_batch_bytes

    @property
    def _max_batch_bytes(self) -> int:
        """Small where all is published that came before: the source is not behind, or begins to be."""
        is_behind = bool(self.outstanding) or self.in_flight is not None
        largest = largest_batch(self.taken_bytes if is_behind else 0)
        return min(self.spec.limits.max_bytes, MAX_MICRO_BATCH_BYTES, largest)

    def add(self, record: KafkaRecord, now: float) -> None:
        """Buffer a record, unless the reader is suspended or has seen it."""
        if self.is_suspended or record.offset < self.expected_offset:
            return
        if not self.buffer:
            self.oldest_at = now
        self.buffer.append(record)
        self.buffered_bytes += _size_of(record)
        self.expected_offset = record.offset + 1

    def pass_unread(self, now: float) -> bool:
        """Buffer dead letters in place of the next records, where an operator said so; False: nobody did."""
        before = self.expected_offset
        for skip in self.skips:
            for record in skip.records(self.expected_offset):
                self.add(record, now)
        return self.expected_offset > before

    def suspend(self, now: float) -> None:
        """Discard the buffer, and buffer nothing until `resume`; what is discarded is read again then."""
        self.buffer.clear()
        self.buffered_bytes = 0
        self.expected_offset = self.batch_offset
        self.suspended_at, self.blocking_since = now, None

    def resume(self) -> None:
        """Buffer records again."""
        self.suspended_at = None

    def close(self) -> None:
        """Discard the buffer for ever; what is in flight becomes outdated."""
        self.generation = -1
        self.buffer.clear()
        self.buffered_bytes = 0

    def due_at(self, log_end: int) -> float:
        """Monotonic second at which the buffer is to be handed over; 0 for at once."""
        if self.is_full:
            return 0.0
        delay = max(self.spec.limits.linger_ms / 1000, self._pace())
        if log_end > self.expected_offset:
            delay = max(delay, CATCH_UP_SECONDS)
        return self.oldest_at + delay if delay else 0.0

    def _pace(self) -> float:
        """Seconds for which the next micro-batch waits because of those before it."""
        if not self.outstanding:
            return 0.0
        publishing = 0.0
        # A reader that keeps others waiting may be suspended soon, with what it has buffered.
        if self.blocking_since is None:
            unpublished_for = self.oldest_at - self.outstanding[0].at
            publishing = max(unpublished_for, self.published_after)
        return pace.seconds_to_wait(
            references=len(self.outstanding), publishing=publishing
        )

    def take_batch(self, now: float) -> MicroBatch:
        """Move records from the buffer, which must not be empty, into a micro-batch in flight.

        The micro-batch stays within the limits, but has at least one record: a large document gets its own.
        """
        records: list[KafkaRecord] = []
        size = 0
        max_bytes = self._max_batch_bytes
        while self.buffer and len(records) < self.spec.limits.max_records:
            next_size = _size_of(self.buffer[0])
            if records and size + next_size > max_bytes:
                break
            records.append(self.buffer.popleft())
            size += next_size
        batch = MicroBatch(
            records=records,
            value_bytes=size,
            first_offset=self.batch_offset,
            next_offset=records[-1].offset + 1,
            generation=self.generation,
            before=self.taken,
        )
        self.taken = records[-1] if self.spec.keeps_columns else None
        self.taken_bytes = size
        self.buffered_bytes -= size
        self.oldest_at = now
        self.batch_offset, self.in_flight = batch.next_offset, batch
        return batch

    def confirm(self, batch: MicroBatch, now: float) -> bool:
        """Note that the workflow has the micro-batch in flight; False where it is outdated."""
        if batch.generation != self.generation:
            return False
        self.in_flight = None
        self.outstanding.append(
            HandedOver(
                next_offset=batch.next_offset,
                records=len(batch.records),
                value_bytes=batch.value_bytes,
                at=now,
            )
        )
        return True

    def forget_published(self, next_offset: int, now: float) -> bool:
        """Everything below `next_offset` is published; returns whether some of that was outstanding."""
        before = len(self.outstanding)
        while self.outstanding and self.outstanding[0].next_offset <= next_offset:
            self.published_after = now - self.outstanding.popleft().at
        return len(self.outstanding) < before


def _size_of(record: KafkaRecord) -> int:
    """Bytes that a record costs; without its Python objects a million tiny ones would count as nothing."""
    return size_of(record) + _RECORD_OVERHEAD_BYTES


@dataclass(slots=True)
class AssignedPartition:
    """A partition that the consumer group gave to this process, and the sources that read it."""

    readers: dict[str, PartitionReader] = field(
        default_factory=dict[str, PartitionReader]
    )
    paused: bool = True  # whether librdkafka holds the partition paused
    seek_to: int | None = (
        None  # where to continue reading, until librdkafka has accepted it
    )
    after_seek: bool = False  # whether the next record is the first one after a seek
    hole: tuple[int, int] | None = (
        None  # target of the seek before this one, and the first record after it
    )
    positions_requested: bool = False
    topic_missing: bool = (
        False  # until the sources are read again, when Kafka is asked again
    )
    # Where librdkafka last said that it cannot read on, and how often.
    unreadable_at: int = -1
    unreadable_times: int = 0

    @property
    def read_offset(self) -> int | None:
        """The offset from which the partition is to be read; None where no reader reads."""
        reading = (
            reader.expected_offset
            for reader in self.readers.values()
            if not reader.is_suspended
        )
        return min(reading, default=None)

    @property
    def handed_over_offset(self) -> int | None:
        """Every offset below this one is with the workflows of all sources; None where no source reads."""
        return min(
            (reader.handed_over_offset for reader in self.readers.values()),
            default=None,
        )

    def request_seek(self) -> None:
        """Have reading continue at `read_offset`."""
        self.seek_to = self.read_offset
        self.hole = None

    def accepts(self, offset: int) -> bool:
        """Whether a record of this offset may be buffered."""
        if self.seek_to is not None or not self.readers:
            return False
        return not self.must_seek_again(offset)

    def must_seek_again(self, offset: int) -> bool:
        """Whether a record of this offset must not be buffered, since it follows a seek and lies beyond its target.

        A seek that was lost looks like a hole that Kafka left (an aborted transaction, compaction). No offset may be
        skipped silently, so a hole is believed only when the next seek leads to the same record again: after a seek
        that was lost, only later records come.
        """
        if not self.after_seek:
            return False
        self.after_seek = False
        wanted = self.read_offset
        if wanted is None or offset <= wanted or self.hole == (wanted, offset):
            self.hole = None
            return False
        self.hole = (wanted, offset)
        self.seek_to = wanted
        return True

    def count_unreadable(self, offset: int) -> int:
        """Note that the record at `offset` cannot be read; returns how often that was said. It is tried again."""
        if self.unreadable_at != offset:
            self.unreadable_at = offset
            self.unreadable_times = 0
        self.unreadable_times += 1
        self.request_seek()
        return self.unreadable_times

    def close_reader(self, source: str) -> None:
        """Close the reader of this source, if there is one."""
        reader = self.readers.pop(source, None)
        if reader is not None:
            reader.close()

    def close(self) -> None:
        """Close every reader."""
        for source in list(self.readers):
            self.close_reader(source)
