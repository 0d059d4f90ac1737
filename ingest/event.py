"""A change event: what one Kafka record means."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from corpus.dead_letter import DeadLetterReason


class Op(StrEnum):
    """What happened to the document."""

    UPSERT = "upsert"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaRecord:
    """A record as it came, without the types of a client library."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int | None  # None: the record has none
    key: bytes | None
    value: bytes | None  # None: a tombstone
    headers: tuple[tuple[str, bytes | None], ...] = ()
    unreadable: str | None = (
        None  # which part could not be read, and so is missing above
    )
    # Why nothing of the record was kept, apart from its position; `unreadable` is the detail then.
    unread: DeadLetterReason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeEvent:
    """One document changed."""

    op: Op
    document_id: (
        str  # opaque, non-blank, at most 1,000 bytes of UTF-8, no control characters
    )
    # 0 .. 2^63-1. None: a delete without a version (a tombstone), which deletes what was written before it.
    version: int | None
    uri: str | None = None
    title: str | None = None
    content_type: str | None = None  # media type in lower case without parameters
    # As received: a text, or the bytes of a file such as a PDF; None for a delete.
    content: str | bytes | None = None
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    acl: tuple[str, ...] | None = None
    stated_language: str | None = None  # as it was received; it may be none
    event_at_ms: int | None = None  # the source's own time, epoch milliseconds UTC
    expires_at_ms: int | None = None  # when the document says that it ends
    content_bytes: int | None = None  # of the content as received; of a text, UTF-8
    content_sha256: bytes | None = None  # of the same bytes
    raw_sha256: bytes = b""  # of the Kafka value
    # Columns that did not change and are not in the record; then nothing above but op, id and version is known.
    unavailable: tuple[str, ...] = ()
    previous_id: str | None = None  # of the document that this one was before
    next_id: str | None = None  # of the document that a deleted one became
    content_url: str | None = None  # where the content is fetched, in place of one
    stated_sha256: bytes | None = None  # of what is fetched


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecodable:
    """Why a record is not an event; the record becomes a dead letter, with its bytes."""

    reason: DeadLetterReason
    detail: str  # one line for people, with the offending value cut short
    document_id: str | None = None  # None: it could not be read


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """A record that is neither a change nor a mistake, with the rule that says so."""

    rule: str
    version: int | None = None  # of a truncated table, by the database's log


Decoded = ChangeEvent | Undecodable | Ignored
