"""Records, logs, positions and readers of one partition, for tests without a broker."""

from corpus.source import BatchLimits, SourceSpec
from ingest.consume.partition_state import (
    AssignedPartition,
    MicroBatch,
    PartitionLog,
    PartitionReader,
    Position,
)
from ingest.consume.positions import ActiveSource
from ingest.event import KafkaRecord
from ingest.kafka import PartitionKey

TOPIC = "t"


def make_record(offset: int, size: int = 10) -> KafkaRecord:
    return KafkaRecord(
        topic=TOPIC, partition=0, offset=offset, timestamp_ms=1, key=b"", value=b"x" * size
    )


def make_log(
    first: int = 10, end: int = 100, *, topic_id: str = "id", partition: int = 0
) -> PartitionLog:
    return PartitionLog(
        cluster_id="c",
        topic=TOPIC,
        topic_id=topic_id,
        partition=partition,
        first_offset=first,
        next_offset=end,
    )


def make_position(
    offset: int,
    *,
    source: str = "s",
    topic_id: str = "id",
    cluster_id: str = "c",
    partition: int = 0,
) -> Position:
    return Position(
        source=source,
        topic=TOPIC,
        partition=partition,
        cluster_id=cluster_id,
        topic_id=topic_id,
        next_offset=offset,
    )


def make_source(name: str = "s", *, epoch: int = 0, **limits: int) -> ActiveSource:
    spec = SourceSpec(source=name, topics=(TOPIC,), limits=BatchLimits(**limits))
    return ActiveSource(spec=spec, epoch=epoch)


def make_reader(start: int = 0, source: str = "s", **limits: int) -> PartitionReader:
    return PartitionReader(
        spec=make_source(source, **limits).spec,
        epoch=0,
        log=make_log(),
        expected_offset=start,
        batch_offset=start,
    )


def make_partition(**starts: int) -> AssignedPartition:
    """One reader per source, each at its offset."""
    return AssignedPartition(
        readers={name: make_reader(start, name) for name, start in starts.items()}
    )


def receive(partition: AssignedPartition, *offsets: int) -> None:
    """Every reader is given these records."""
    for offset in offsets:
        for reader in partition.readers.values():
            reader.add(make_record(offset), 0.0)


def hand_over(reader: PartitionReader, now: float = 0.0) -> MicroBatch:
    """Take a micro-batch, which the workflow has at once."""
    batch = reader.take_batch(now)
    assert reader.confirm(batch, now)
    return batch


def hand_over_singly(reader: PartitionReader, count: int, now: float = 0.0) -> None:
    """Hand over that many micro-batches of one record each."""
    for _ in range(count):
        reader.add(make_record(reader.expected_offset), now)
        hand_over(reader, now)


KEY = PartitionKey(TOPIC, 0)
