"""A lane: one source's way through one partition; what is buffered, handed over, and not yet published."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from corpus.source import SourceSpec
from ingest.event import KafkaRecord

# While the log is known to hold more, a cut waits this long for it: one large micro-batch instead of fifty small ones.
CATCH_UP_SECONDS = 0.1
# Values of one micro-batch. The entity puts references together as it sees fit, but it cannot take one apart: small ones let
# it begin with batches that are searchable soon.
CUT_BYTES = 500_000
# References of one lane that are on their way before a further cut waits, and for how long a reference beyond. A source has three
# batches in flight, and the next one takes all that waits: with these on their way, more and smaller references make nothing
# searchable sooner, while the entity must hold each of them (437 bytes) in the 2 MB that Temporal gives its state.
UNCROWDED_REFERENCES = 16
CROWDED_SECONDS = 0.05
# References of one source that are on their way out of this process; above it its partitions pause. Limits in records do not
# hold back a trickle of single records while no worker runs.
MAX_REFERENCES = 200


@dataclass(frozen=True, slots=True)
class Position:
    """A row of `freshet.source_position`."""

    cluster_id: str
    topic_id: str
    next_offset: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Why a source cannot go on from its position without losing or skipping something."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionLog:
    """What Kafka says about a partition now."""

    cluster_id: str
    topic: str
    topic_id: str
    partition: int
    first_offset: int  # oldest record kept
    next_offset: int  # end of the log


def start_offset(position: Position | None, at: PartitionLog, source: str) -> int | Gap:
    """Where a source starts to read a partition, or the gap that stands in the way. Nothing is jumped silently."""
    if position is None:
        return at.first_offset
    place = f"{at.topic}/{at.partition}"
    then = f"Accept it with `freshet source resume {source} --skip-gap`."
    if position.cluster_id != at.cluster_id:
        return Gap(
            f"{place}: position {position.next_offset} belongs to Kafka cluster {position.cluster_id}, this one is {at.cluster_id}. {then}"
        )
    if position.topic_id != at.topic_id:
        return Gap(
            f"{place}: position {position.next_offset} belongs to topic id {position.topic_id}; the topic was recreated and is {at.topic_id} now. {then}"
        )
    if position.next_offset < at.first_offset:
        lost = at.first_offset - position.next_offset
        return Gap(
            f"{place}: {lost:,} offsets from {position.next_offset} to {at.first_offset - 1} were removed from the log before they were read (retention). {then}"
        )
    if position.next_offset > at.next_offset:
        return Gap(
            f"{place}: position {position.next_offset} is beyond the end of the log, {at.next_offset}: the log was cut. {then}"
        )
    return position.next_offset


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroBatch:
    """Records taken out of a lane for one micro-batch."""

    records: Sequence[KafkaRecord]
    value_bytes: int
    first_offset: int
    next_offset: int
    generation: int  # of the lane; an outdated cut changes nothing any more


@dataclass(slots=True, kw_only=True)
class PartitionReader:
    """State of one (source, topic, partition). Only the polling thread touches it."""

    spec: SourceSpec
    epoch: int
    at: PartitionLog
    expected: int  # next offset to take in
    cut_from: int  # first offset of the next cut
    generation: int = 0
    buffer: deque[KafkaRecord] = field(default_factory=deque)
    buffered_bytes: int = 0
    oldest_at: float = 0.0  # monotonic seconds, of the oldest buffered record
    in_flight: MicroBatch | None = None
    aside: bool = False  # takes in nothing, so that other sources of its partition go on (`ingest.consume.sharing`)
    turn_at: float | None = (
        None  # monotonic seconds, since when it is aside, or holds up another lane
    )
    outstanding: deque[tuple[int, int, int]] = field(
        default_factory=deque
    )  # (next offset, records, bytes) handed over, not published

    @property
    def handed_over(self) -> int:
        """Every offset below this one is with the source's workflow."""
        return self.in_flight.first_offset if self.in_flight else self.cut_from

    @property
    def held_bytes(self) -> int:
        """Bytes of values in memory."""
        return self.buffered_bytes + (self.in_flight.value_bytes if self.in_flight else 0)

    def take_in(self, record: KafkaRecord, now: float) -> None:
        """Buffer a record, unless it was seen."""
        if self.aside or record.offset < self.expected:
            return
        if not self.buffer:
            self.oldest_at = now
        self.buffer.append(record)
        self.buffered_bytes += _size(record)
        self.expected = record.offset + 1

    def step_aside(self, now: float) -> None:
        """Give up what was not cut yet: it is read again."""
        self.buffer.clear()
        self.buffered_bytes = 0
        self.expected = self.cut_from
        self.aside, self.turn_at = True, now

    def is_full(self) -> bool:
        """A whole micro-batch waits."""
        return len(self.buffer) >= self.spec.limits.max_records or self.buffered_bytes >= min(
            self.spec.limits.max_bytes, CUT_BYTES
        )

    def due_at(self, log_end: int) -> float:
        """Monotonic second at which the buffer is to be cut; 0 for at once."""
        if self.is_full():
            return 0.0
        linger = self.spec.limits.linger_ms / 1000
        if log_end > self.expected:
            linger = max(linger, CATCH_UP_SECONDS)
        linger = max(linger, (len(self.outstanding) - UNCROWDED_REFERENCES) * CROWDED_SECONDS)
        return self.oldest_at + linger if linger else 0.0

    def cut(self, now: float) -> MicroBatch:
        """Take out one micro-batch within the limits; at least one record, so that a large document gets its own."""
        limits = self.spec.limits
        records: list[KafkaRecord] = []
        size = 0
        while self.buffer and len(records) < limits.max_records:
            if records and size + _size(self.buffer[0]) > min(limits.max_bytes, CUT_BYTES):
                break
            record = self.buffer.popleft()
            records.append(record)
            size += _size(record)
        self.buffered_bytes -= size
        self.oldest_at = now
        next_offset = records[-1].offset + 1
        taken = MicroBatch(
            records=records,
            value_bytes=size,
            first_offset=self.cut_from,
            next_offset=next_offset,
            generation=self.generation,
        )
        self.cut_from = next_offset
        self.in_flight = taken
        return taken

    def handed(self, cut: MicroBatch) -> None:
        """The workflow has this cut."""
        self.in_flight = None
        self.outstanding.append((cut.next_offset, len(cut.records), cut.value_bytes))

    def published_up_to(self, next_offset: int) -> None:
        """Forget what is published."""
        while self.outstanding and self.outstanding[0][0] <= next_offset:
            self.outstanding.popleft()


def _size(record: KafkaRecord) -> int:
    # A record costs its Python objects too: without that a million tiny ones would count as nothing.
    return (
        len(record.value or b"")
        + len(record.key or b"")
        + sum(len(value or b"") for _, value in record.headers)
        + 200
    )


def is_behind(lanes: Sequence[PartitionReader], share: float = 1.0) -> bool:
    """Whether one source's lanes together hold more unpublished work than this share of its limits."""
    if not lanes:
        return False
    limits = lanes[0].spec.limits
    records = sum(entry[1] for lane in lanes for entry in lane.outstanding)
    size = sum(entry[2] for lane in lanes for entry in lane.outstanding)
    references = sum(len(lane.outstanding) for lane in lanes)
    return (
        records >= limits.max_pending_records * share
        or size >= limits.max_pending_bytes * share
        or references >= MAX_REFERENCES * share
    )


@dataclass(slots=True)
class AssignedPartition:
    """An assigned partition and the sources that read it."""

    lanes: dict[str, PartitionReader] = field(default_factory=dict)
    paused: bool = True  # as librdkafka was told
    seek_to: int | None = None  # to be done, or tried again
    sought: bool = False  # the next record is the first one after a seek
    doubts: int = 0  # times in a row that it stood further on than it should
    placing: bool = False
    absent: bool = False  # Kafka does not know the topic (any more): asked again with the next look at the sources
