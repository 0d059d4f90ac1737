"""The fields of an event as a format found them become a change event, by rules that all formats share."""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from corpus.dead_letter import DeadLetterReason
from corpus.source import SourceSpec
from ingest.decode import fields, references, times
from ingest.decode.body import base64_bytes, document_body
from ingest.decode.debezium.placeholder import left_out
from ingest.decode.fields import FieldError
from ingest.decode.record_key import key_as_id
from ingest.event import ChangeEvent, Decoded, KafkaRecord, Op, Undecodable


class ReceivedFields(msgspec.Struct):
    """The fields as they came, of any type; None where a field is absent, except for the id."""

    id: Any = msgspec.UNSET  # unset: the record's key takes its place; null is an error
    op: Any = None
    uri: Any = None
    title: Any = None
    content_type: Any = None
    content: Any = None  # bytes: a file, as a format made of bytes has it
    content_base64: Any = None  # bytes of a file or a text; instead of content
    content_url: Any = None  # where the content is; instead of it
    content_sha256: Any = None  # of what is there, in hex
    updated_at: Any = None
    version: Any = None
    metadata: Any = None
    expires_at: Any = None
    acl: Any = None
    language: Any = None


def change_event(
    event: ReceivedFields,
    record: KafkaRecord,
    spec: SourceSpec,
    *,
    raw_sha256: bytes,
    read_metadata: Callable[[Any], dict[str, Any]] = fields.metadata,
) -> Decoded:
    """Check every field.

    Args:
        event: the fields as they came.
        record: their record.
        spec: the source, for its version rule.
        raw_sha256: of all that makes this event; two events with one hash are the same event.
        read_metadata: checks the metadata, in the form that the format left it in.

    Raises:
        FieldError: the event has no usable id; any other field makes an Undecodable that names the document.
    """
    document_id = document_id_of(event, record, spec)
    try:
        op = fields.operation(event.op)
        if op is Op.DELETE:
            return _delete(event, record, spec, document_id, raw_sha256)
        return _upsert(event, record, spec, document_id, raw_sha256, read_metadata)
    except FieldError as error:
        return Undecodable(
            reason=error.reason, detail=error.detail, document_id=document_id
        )


def document_id_of(event: ReceivedFields, record: KafkaRecord, spec: SourceSpec) -> str:
    """The event's own id, else the record's key.

    Raises:
        FieldError: neither is an id.
    """
    if event.id is msgspec.UNSET:
        return key_as_id(record.key, spec)
    return fields.document_id(event.id)


def _delete(
    event: ReceivedFields,
    record: KafkaRecord,
    spec: SourceSpec,
    document_id: str,
    raw_sha256: bytes,
) -> ChangeEvent:
    return ChangeEvent(
        op=Op.DELETE,
        document_id=document_id,
        version=fields.effective_version(
            event.version, record, spec.version_rule, relative=True
        ),
        event_at_ms=times.time_ms(event.updated_at),
        raw_sha256=raw_sha256,
    )


def _upsert(
    event: ReceivedFields,
    record: KafkaRecord,
    spec: SourceSpec,
    document_id: str,
    raw_sha256: bytes,
    read_metadata: Callable[[Any], dict[str, Any]],
) -> ChangeEvent:
    _refuse_placeholders(event, spec)
    read = _content(event, spec)
    return ChangeEvent(
        op=Op.UPSERT,
        document_id=document_id,
        version=fields.effective_version(
            event.version, record, spec.version_rule, relative=False
        ),
        uri=fields.uri(event.uri),
        title=fields.title(event.title),
        content_type=fields.content_type(event.content_type),
        content=read.content,
        metadata=read_metadata(event.metadata),
        acl=fields.acl(event.acl),
        stated_language=fields.language(event.language),
        event_at_ms=times.time_ms(event.updated_at),
        expires_at_ms=times.expiry_ms(event.expires_at),
        content_bytes=read.size,
        content_sha256=read.sha256,
        raw_sha256=raw_sha256,
        content_url=read.url,
        stated_sha256=read.stated_sha256,
    )


def _refuse_placeholders(event: ReceivedFields, spec: SourceSpec) -> None:
    """A row of Debezium may have Freshet's own fields, or a column of it may be the whole value."""
    placeholder = spec.debezium.unavailable
    if event.content == placeholder or event.title == placeholder:
        names = [name for name in _SHOWN if getattr(event, name) == placeholder]
        raise left_out(names)


_SHOWN = ("content", "title")


class _Content(NamedTuple):
    """What an event says of its content: the content itself, or where it is."""

    content: str | bytes | None = None
    size: int | None = None
    sha256: bytes | None = None
    url: str | None = None
    stated_sha256: bytes | None = None


def _content(event: ReceivedFields, spec: SourceSpec) -> _Content:
    if event.content_url is None:
        content, size, digest = fields.content(_received_content(event, spec))
        return _Content(content, size, digest)
    if event.content is not None or event.content_base64 is not None:
        raise FieldError(
            DeadLetterReason.INVALID_FIELD,
            "content_url must be absent where there is a content",
        )
    url = references.content_url(event.content_url)
    stated = references.stated_sha256(event.content_sha256)
    return _Content(url=url, stated_sha256=stated)


def _received_content(event: ReceivedFields, spec: SourceSpec) -> Any:
    """The content as it came; out of base64, a text or a file."""
    if event.content_base64 is None:
        return event.content
    if event.content is not None:
        raise fields.invalid(
            "content_base64", event.content_base64, "absent where there is a content"
        )
    stated = event.content_type if isinstance(event.content_type, str) else ""
    content_types = (spec.pipeline.content_type or "", stated)
    value = base64_bytes("content_base64", event.content_base64)
    return document_body(value, content_types, detect=spec.detect_charset)
