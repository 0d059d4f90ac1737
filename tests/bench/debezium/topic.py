"""What the records of a table's topic say of its rows, read without Freshet's code for Debezium.

A connector that was killed in its snapshot takes it again. A row that was deleted in between is in the records of the
first, not in those of the second, and the stream begins after that: its delete is not in the topic, so nobody who reads
the topic can know of it. Which rows those are, the topic's own records prove (`deleted_unseen`).
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from tests.support.polling import wait_until

_PLACEHOLDER = "__debezium_unavailable_value"
_SECONDS = 30.0

Decode = Callable[[bytes], dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRecord:
    """A record of a row; a tombstone has neither operation nor position in the log."""

    partition: int
    offset: int
    row: str  # its key
    op: str | None = None
    lsn: int | None = None
    snapshot: str = "false"
    title: str | None = None
    body: str | None = None  # None: left out


@dataclass(frozen=True, slots=True, kw_only=True)
class UnseenDelete:
    """A row that a snapshot does not have, and no record deletes."""

    last: RowRecord  # of the row
    body: (
        str | None
    )  # what its last record has, or the newest that has one where the last leaves it out
    snapshot_lsn: int  # where the log was when the snapshot was taken

    @property
    def digest(self) -> str:
        """SHA-256 of what the topic says that the row is; empty: no record has its text."""
        if self.body is None:
            return ""
        return hashlib.sha256(f"{self.last.title}\n\n{self.body}".encode()).hexdigest()

    def shown(self) -> dict[str, Any]:
        """The proof: where the last record is, and that the snapshot was taken behind it."""
        last = self.last
        place = {"partition": last.partition, "offset": last.offset, "op": last.op}
        return place | {"lsn": last.lsn, "snapshot_lsn": self.snapshot_lsn}


def deleted_unseen(records: Iterable[RowRecord]) -> dict[str, UnseenDelete]:
    """Rows that are deleted without a record that says so, by their keys.

    1. a snapshot is whole where its last record is there; each of its records has the position of the log at which it
       read the table, so a row that existed then has a record of this position or a later one
    2. the last record of a row, by the log, is one that writes it, and is from before the newest whole snapshot
    3. behind it in its partition there is no tombstone

    Args:
        records: of the whole topic.
    """
    by_row: dict[str, list[RowRecord]] = {}
    for record in records:
        by_row.setdefault(record.row, []).append(record)
    whole = [
        record.lsn or 0
        for its_records in by_row.values()
        for record in its_records
        if record.op == "r" and record.snapshot == "last"
    ]
    snapshot_lsn = max(whole, default=0)
    unseen: dict[str, UnseenDelete] = {}
    for row, its_records in by_row.items():
        last = _last_of(its_records)
        if last is not None and (last.lsn or 0) < snapshot_lsn:
            body = _body_of(its_records)
            unseen[row] = UnseenDelete(last=last, body=body, snapshot_lsn=snapshot_lsn)
    return unseen


def _body_of(records: list[RowRecord]) -> str | None:
    """The newest text of a row that is in one of its records."""
    having = [record for record in records if record.lsn is not None and record.body is not None]
    newest = max(having, key=lambda record: record.lsn or 0, default=None)
    return None if newest is None else newest.body


def _last_of(records: list[RowRecord]) -> RowRecord | None:
    """The record that says what a row is; None: it is deleted."""
    changes = [record for record in records if record.lsn is not None]
    last = max(changes, key=lambda record: record.lsn or 0, default=None)
    if last is None or last.op == "d":
        return None
    has_tombstone = any(record.op is None and record.offset > last.offset for record in records)
    return None if has_tombstone else last


def read_rows(kafka: Mapping[str, str], topic: str, decode: Decode) -> Iterator[RowRecord]:
    """All records of a table's topic, by partition and offset.

    Args:
        kafka: properties of a client.
        topic: of the table.
        decode: reads a key or a value.
    """
    consumer = Consumer({**kafka, "group.id": "bench-topic", "enable.auto.commit": False})
    try:
        metadata = consumer.list_topics(topic, _SECONDS)
        for partition in sorted(metadata.topics[topic].partitions):
            yield from _read_partition(consumer, topic, partition, decode)
    finally:
        consumer.close()


def wait_for_records(kafka: Mapping[str, str], topic: str, seconds: float) -> None:
    """Return when the topic has a record."""
    consumer = Consumer({**kafka, "group.id": "bench-topic"})
    try:
        metadata = consumer.list_topics(topic, _SECONDS)
        partitions = [
            TopicPartition(topic, partition) for partition in metadata.topics[topic].partitions
        ]

        def has_records() -> bool:
            ends = (consumer.get_watermark_offsets(each, _SECONDS) for each in partitions)
            return any(end > 0 for _, end in ends)

        wait_until(has_records, seconds, f"{topic} has a record")
    finally:
        consumer.close()


def _read_partition(
    consumer: Consumer, topic: str, partition: int, decode: Decode
) -> Iterator[RowRecord]:
    at = TopicPartition(topic, partition, OFFSET_BEGINNING)
    _, end = consumer.get_watermark_offsets(at, _SECONDS)
    consumer.assign([at])
    next_offset = 0
    while next_offset < end:
        message = consumer.poll(_SECONDS)
        if message is None or message.error():
            why = "nothing" if message is None else message.error()
            raise RuntimeError(f"{topic} partition {partition} ends at {end}: {why}")
        offset, key, value = message.offset(), message.key(), message.value()
        assert offset is not None
        assert isinstance(key, bytes)
        next_offset = offset + 1
        row = str(decode(key)["id"])
        said = {} if value is None else _said(decode(value))
        yield RowRecord(partition=partition, offset=offset, row=row, **said)


def _said(envelope: Mapping[str, Any]) -> dict[str, Any]:
    origin: dict[str, Any] = envelope["source"]
    after: dict[str, Any] = envelope["after"] or {}
    body = after.get("body")
    return {
        "op": envelope["op"],
        "lsn": origin["lsn"],
        "snapshot": origin["snapshot"],
        "title": after.get("title"),
        "body": None if body == _PLACEHOLDER else body,
    }


def json_decode(data: bytes) -> dict[str, Any]:
    """A key or value written with its schema or without."""
    read = json.loads(data)
    return read["payload"] if read.keys() == {"schema", "payload"} else read


def avro_decode(registry: str) -> Decode:
    """Reads keys and values in Confluent's wire format.

    Args:
        registry: address of the schema registry.
    """
    client: Any = SchemaRegistryClient({"url": registry})
    deserialize: Any = cast("Any", AvroDeserializer)(client)
    context = SerializationContext("", MessageField.VALUE)

    def decode(data: bytes) -> dict[str, Any]:
        return deserialize(data, context)

    return decode
