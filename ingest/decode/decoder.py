"""A Kafka record becomes a change event, or the reason why not.

Nothing in here raises: one bad record never stops another. A format is a function of (record, spec) in `FORMATS`.
"""

import hashlib
from typing import Protocol

from corpus.dead_letter import DeadLetterReason
from corpus.source import SourceSpec
from ingest.dead_letters.first_position import as_first_written
from ingest.decode import fields
from ingest.decode.fields import FieldError
from ingest.decode.native import decode_native
from ingest.decode.record_key import key_as_id
from ingest.decode.text import decode_text
from ingest.event import ChangeEvent, Decoded, KafkaRecord, Op, Undecodable


class Format(Protocol):
    """How a topic's values are read. May raise FieldError and RecursionError; the value is not null."""

    def __call__(self, record: KafkaRecord, spec: SourceSpec, /) -> Decoded: ...


FORMATS: dict[str, Format] = {"native": decode_native, "text": decode_text}


def decode(record: KafkaRecord, spec: SourceSpec) -> Decoded:
    """Read one record by the source's format.

    1. A null value deletes the document that the key names (Kafka tombstone), in every format.
    2. A value above the source's limit is not read at all.
    3. The format reads the rest.
    """
    record = as_first_written(record)
    if record.unreadable is not None:
        return _undecodable(
            record, spec, DeadLetterReason.NOT_DECODABLE, record.unreadable
        )
    try:
        if record.value is None:  # 1
            return tombstone(record, spec)
        if len(record.value) > spec.pipeline.max_document_bytes:  # 2
            detail = _too_large(len(record.value), spec)
            return _undecodable(record, spec, DeadLetterReason.TOO_LARGE, detail)
        return FORMATS[spec.format](record, spec)  # 3
    except FieldError as error:
        return _undecodable(record, spec, error.reason, error.detail)
    except RecursionError:
        return _undecodable(
            record,
            spec,
            DeadLetterReason.NOT_DECODABLE,
            "the value is nested too deeply to be read",
        )


def tombstone(record: KafkaRecord, spec: SourceSpec) -> ChangeEvent:
    """A null value: the document of the record's key is deleted, whatever version it has.

    Raises:
        FieldError: the key is absent, or is not an id.
    """
    return ChangeEvent(
        op=Op.DELETE,
        document_id=key_as_id(record.key, spec),
        version=fields.effective_version(
            None, record, spec.version_rule, relative=True
        ),
        event_at_ms=record.timestamp_ms,
        raw_sha256=hashlib.sha256(b"").digest(),
    )


def _undecodable(
    record: KafkaRecord, spec: SourceSpec, reason: DeadLetterReason, detail: str
) -> Undecodable:
    return Undecodable(
        reason=reason, detail=detail, document_id=_readable_key(record, spec)
    )


def _too_large(size: int, spec: SourceSpec) -> str:
    limit = spec.pipeline.max_document_bytes
    return (
        f"the value has {size:,} bytes; "
        f"pipeline.max_document_bytes of source {spec.source} is {limit:,}"
    )


def _readable_key(record: KafkaRecord, spec: SourceSpec) -> str | None:
    """The key as an id, for people who look through the dead letters; None where it is not an id."""
    try:
        return key_as_id(record.key, spec)
    except FieldError:
        return None
