"""A Kafka record becomes a change event, or the reason why not.

Nothing that a record holds raises: one bad record never stops another. A registry that does not answer does raise,
since no record is to blame for it. A format is a function of (record, spec) in `FORMATS`.
"""

import hashlib
from dataclasses import replace
from typing import Protocol

from corpus.dead_letter import DeadLetterReason
from corpus.source import SourceSpec, VersionRule
from corpus.specs.formats import NO_MAPPING
from corpus.versions.scale import why_no_time
from ingest.dead_letters.first_position import (
    as_first_written,
    is_of_earlier_log,
    without_redrive,
)
from ingest.decode import fields, times
from ingest.decode.cloudevents import decode_cloudevent, is_event_without_value
from ingest.decode.debezium.rows import decode_debezium, next_id
from ingest.decode.fields import FieldError
from ingest.decode.inflate import inflated
from ingest.decode.json_fields import decode_json
from ingest.decode.mapping import deleting_fields
from ingest.decode.native import decode_native
from ingest.decode.received import ReceivedFields, document_id_of
from ingest.decode.record_key import key_as_id
from ingest.decode.registry.values import decode_registered, with_plain_key
from ingest.decode.text import decode_text
from ingest.event import ChangeEvent, Decoded, KafkaRecord, Op, Undecodable


class Format(Protocol):
    """How a topic's values are read. May raise FieldError and RecursionError; the value is not null."""

    def __call__(self, record: KafkaRecord, spec: SourceSpec, /) -> Decoded: ...


FORMATS: dict[str, Format] = {
    "native": decode_native,
    "text": decode_text,
    "json": decode_json,
    "debezium": decode_debezium,
    "cloudevents": decode_cloudevent,
    "avro": decode_registered,
    "protobuf": decode_registered,
    "json_schema": decode_registered,
}

NESTED = "the value is nested too deeply to be read"


def placed(record: KafkaRecord, topic_id: str | None = None) -> KafkaRecord:
    """The record with the time, in milliseconds, and the offset that order it among others.

    Args:
        record: as it was read.
        topic_id: of the topic that it was read from; None: not known.
    """
    timestamp_ms = times.record_time_ms(record.timestamp_ms)
    if timestamp_ms != record.timestamp_ms:
        record = replace(record, timestamp_ms=timestamp_ms)
    if not record.headers:
        return record
    # Without the headers of a redrive, so that to place it again changes nothing.
    first = as_first_written(record, topic_id)
    return replace(first, headers=without_redrive(record.headers))


def decode(record: KafkaRecord, spec: SourceSpec) -> Decoded:
    """Read one record by the source's format.

    0. A key that names a schema is read by it.
    1. A null value deletes the document that the key names (Kafka tombstone), in every format.
    2. A value above the source's limit is not read at all, nor one that becomes larger when it is inflated.
    3. The format reads the rest.

    Raises:
        ConfigurationError: the format needs a schema registry; none is set, or it refuses the login.
        DependencyError: the schema registry does not answer.
    """
    record = placed(record)
    if record.unreadable is not None:
        reason = record.unread or DeadLetterReason.NOT_DECODABLE
        return _undecodable(record, spec, reason, record.unreadable)
    try:
        record = with_plain_key(record, spec)  # 0
        if record.value is None:  # 1
            return _without_value(record, spec)
        if len(record.value) > spec.pipeline.max_document_bytes:  # 2
            reason = DeadLetterReason.TOO_LARGE
            detail = _too_large(len(record.value), spec)
            return _undecodable(record, spec, reason, detail)
        if record.headers:
            record = inflated(record, spec.pipeline.max_document_bytes)
        return FORMATS[spec.format](record, spec)  # 3
    except FieldError as error:
        return _undecodable(record, spec, error.reason, error.detail)
    except RecursionError:
        return _undecodable(record, spec, DeadLetterReason.NOT_DECODABLE, NESTED)


def without_version(
    record: KafkaRecord, spec: SourceSpec, decoded: Decoded, *, now_ms: int
) -> Undecodable | None:
    """Why the record that gives the event its version gives none; None where it does, or the event has its own.

    Args:
        record: as it was read, with its time in milliseconds and the offset that orders it (`placed`).
        spec: of the source.
        decoded: from the record.
        now_ms: by the consumer's clock, epoch milliseconds UTC.
    """
    if not isinstance(decoded, ChangeEvent) or spec.version_rule is VersionRule.OFFSET:
        return None
    is_from_record = decoded.version == fields.record_version(record)
    if not is_from_record or not times.is_ahead(record.timestamp_ms, now_ms):
        return None
    hours = times.RECORD_TIME_TOLERANCE_MS // 3_600_000
    detail = (
        f"the record's time is {record.timestamp_ms} ms since 1970, more than {hours} hours ahead of the consumer's "
        "clock, and would be the event's version; redrive it when that time has come, or send the event again"
    )
    return _undecodable(record, spec, DeadLetterReason.NO_VERSION, detail)


def beyond_scale(
    record: KafkaRecord, spec: SourceSpec, decoded: Decoded, *, now_ms: int
) -> Undecodable | None:
    """Why the event's own version is no time in the unit of its source; None where it is one, or need not be.

    Args:
        record: as it was read, with its time in milliseconds and the offset that orders it (`placed`).
        spec: of the source.
        decoded: from the record.
        now_ms: by the consumer's clock, epoch milliseconds UTC.
    """
    if not isinstance(decoded, ChangeEvent) or decoded.version is None:
        return None
    is_own = decoded.version != fields.record_version(record)
    if not spec.reads_own_versions or not is_own:
        return None
    detail = why_no_time(decoded.version, spec.version_scale, now_ms)
    if not detail:
        return None
    return Undecodable(
        reason=DeadLetterReason.VERSION_BEYOND_SCALE,
        detail=f"{detail}; send the event again with a version on the scale of its source",
        document_id=decoded.document_id,
    )


def from_earlier_log(
    record: KafkaRecord, spec: SourceSpec, topic_id: str
) -> Undecodable | None:
    """Why a redriven record has no version where versions are offsets; None where it has one.

    Args:
        record: as it was read.
        spec: of the source.
        topic_id: of the topic that it was read from.
    """
    if spec.version_rule is not VersionRule.OFFSET:
        return None
    if not is_of_earlier_log(record, topic_id):
        return None
    detail = (
        "the record was redriven from an earlier log of its topic, whose offsets are no versions in this one "
        '(version_rule = "offset"); send the event again'
    )
    return _undecodable(record, spec, DeadLetterReason.NO_VERSION, detail)


def tombstone(record: KafkaRecord, spec: SourceSpec) -> ChangeEvent:
    """A null value: the document of the record's key is deleted, if it was written before.

    Raises:
        FieldError: the key is absent, or is not an id; or a mapped header is missing.
    """
    said = ReceivedFields()
    if spec.mapping != NO_MAPPING:
        said = deleting_fields(spec.mapping, record)
    return ChangeEvent(
        op=Op.DELETE,
        document_id=document_id_of(said, record, spec),
        version=fields.effective_version(
            said.version, record, spec.version_rule, relative=True
        ),
        event_at_ms=record.timestamp_ms,
        raw_sha256=hashlib.sha256(b"").digest(),
        next_id=next_id(record, spec) if spec.format == "debezium" else None,
    )


def _without_value(record: KafkaRecord, spec: SourceSpec) -> Decoded:
    if spec.format == "cloudevents" and is_event_without_value(record):
        return decode_cloudevent(record, spec)
    return tombstone(record, spec)


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
