"""A message of the client as this project's own type."""

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from ingest.event import KafkaRecord


def record_of(message: Message) -> KafkaRecord:
    """A message without an error, as this project's own type.

    The client returns all headers of a message or none: it raises when a name is not UTF-8, which Kafka allows.
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
    return KafkaRecord(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        timestamp_ms=_timestamp_of(message),
        key=_bytes(message.key()),
        value=_bytes(message.value()),
        headers=headers,
        unreadable=unreadable,
    )


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
