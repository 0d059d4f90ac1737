"""A message of the client as this project's own type."""

from dataclasses import replace

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from corpus.dead_letter import DeadLetterReason
from ingest.event import KafkaRecord
from ingest.kafka import MAX_MESSAGE_BYTES, PartitionKey

# Of each header beside its name and its value.
_HEADER_BYTES = 100


def record_of(message: Message) -> KafkaRecord:
    """A message without an error, as this project's own type.

    The client returns all headers of a message or none: it raises when a name is not UTF-8, which Kafka allows. A
    message that is larger than `MAX_MESSAGE_BYTES`, inflated, becomes a record without its bytes.
    """
    headers, unreadable = (), None
    try:
        headers = tuple(
            (name, _bytes(value)) for name, value in message.headers() or ()
        )
    except (SystemError, ValueError) as error:
        why = error.__cause__ or error
        unreadable = (
            f"the headers cannot be read ({why}); a header's name must be UTF-8"
        )
    record = KafkaRecord(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        timestamp_ms=_timestamp_of(message),
        key=_bytes(message.key()),
        value=_bytes(message.value()),
        headers=headers,
        unreadable=unreadable,
    )
    size = size_of(record)
    if size > MAX_MESSAGE_BYTES:
        return _too_large(record, size)
    return record


def size_of(record: KafkaRecord) -> int:
    """Bytes of a record, as it was inflated."""
    headers = sum(
        len(name) + len(value or b"") + _HEADER_BYTES for name, value in record.headers
    )
    return len(record.value or b"") + len(record.key or b"") + headers


def without_bytes(
    key: PartitionKey, offset: int, reason: DeadLetterReason, detail: str
) -> KafkaRecord:
    """A record of which only the position is known; it becomes a dead letter."""
    return KafkaRecord(
        topic=key.topic,
        partition=key.partition,
        offset=offset,
        timestamp_ms=None,
        key=None,
        value=None,
        unreadable=detail,
        unread=reason,
    )


def _too_large(record: KafkaRecord, size: int) -> KafkaRecord:
    key = PartitionKey(record.topic, record.partition)
    detail = (
        f"the record has {size:,} bytes, inflated, more than the {MAX_MESSAGE_BYTES:,} that are kept; its bytes are in "
        f"Kafka only, at {key}/{record.offset}"
    )
    kept = without_bytes(key, record.offset, DeadLetterReason.TOO_LARGE, detail)
    return replace(kept, timestamp_ms=record.timestamp_ms)


def _timestamp_of(message: Message) -> int | None:
    """Epoch milliseconds; None where the record has no time."""
    kind, timestamp = message.timestamp()
    if kind == TIMESTAMP_NOT_AVAILABLE or timestamp < 0:
        return None
    return timestamp


def _bytes(value: str | bytes | None) -> bytes | None:
    if isinstance(value, str):
        return value.encode()
    return value
