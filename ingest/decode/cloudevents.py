"""Format `cloudevents`: events of CloudEvents 1.0, structured and binary; `datacontenttype` decides what the body is.

A body that is JSON is read by the source's mapping, or, where it has none, as an event in Freshet's own fields. Any
other body is the document itself, and so is what an event without data points to (`dataref`). Types that the source
does not read are ignored, those that it names as deletes delete.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, cast

from corpus.clean.files.kinds import is_file
from corpus.source import SourceSpec
from corpus.specs.formats import NO_MAPPING
from ingest.decode import fields
from ingest.decode.body import base64_bytes, document_body
from ingest.decode.json_fields import mapped_event, read_object
from ingest.decode.mapping import compiled
from ingest.decode.native import UNREPEATED_FIELDS, decode_native
from ingest.decode.received import ReceivedFields, change_event
from ingest.decode.record_key import id_of_fields
from ingest.decode.repeated import refuse_repeated_in_data
from ingest.decode.times import time_us
from ingest.event import ChangeEvent, Decoded, Ignored, KafkaRecord, Op

_HEADER = "ce_"
_STRUCTURED = "application/cloudevents"
_BATCH = "application/cloudevents-batch"
_REQUIRED = ("id", "source", "type")
_DATA = frozenset({"data", "data_base64"})
_JSON = ("/json", "+json")
# What a document may not go without where a mapping reads it: another document, one for others, one for ever.
_NEEDS_DATA = ("id", "version", "acl", "expires_at")
# Of an event as JSON. Parsers differ on which of two values counts; for these it is never guessed.
_UNREPEATED = ("subject", "sequence", "time", "data", "data_base64")


class _Event(NamedTuple):
    attributes: Mapping[str, Any]
    data: Any  # bytes, or the fields of an object; None: there is none


def decode_cloudevent(record: KafkaRecord, spec: SourceSpec) -> Decoded:
    """Read a CloudEvent.

    Raises:
        FieldError: the value is no CloudEvent, or names no document.
        RecursionError: it is nested too deeply.
    """
    event = _event_of(record, spec)
    kind = _attribute(event.attributes, "type")
    if any(fnmatchcase(kind, pattern) for pattern in spec.cloudevents.deleted_types):
        return _deleted(event, record, spec)
    if not any(fnmatchcase(kind, pattern) for pattern in spec.cloudevents.types):
        return Ignored(rule="cloudevents type is not among the source's")
    if event.data is None and event.attributes.get("dataref") is not None:
        return _referred(event, record, spec)
    if event.data is None:
        raise fields.invalid(
            "data", None, "there, or a dataref, for an event that is no delete"
        )
    return _upserted(event, record, spec)


def is_event_without_value(record: KafkaRecord) -> bool:
    """Whether a null value is an event in binary mode, whose headers say what it does."""
    return any(name.lower() == "ce_specversion" for name, _ in record.headers)


# ── the two modes ───────────────────────────────────────────────────────────────────────────────────────────────────


def _event_of(record: KafkaRecord, spec: SourceSpec) -> _Event:
    headers = _headers(record)
    content_type = headers.get("content-type", "")
    if content_type.lower().startswith(_BATCH):
        raise fields.invalid("content-type", content_type, "of one event per record")
    if f"{_HEADER}specversion" in headers:
        return _binary(headers, record)
    text = record.value or b""
    value = read_object(text, _UNREPEATED)
    refuse_repeated_in_data(text, _unrepeated_in_body(spec))
    if content_type.lower().startswith(_STRUCTURED):
        return _structured(value)
    if "specversion" in value:
        return _structured(value)
    raise fields.invalid(
        "the record",
        _shown_names(value),
        "a CloudEvent (specversion is missing)",
    )


def _unrepeated_in_body(spec: SourceSpec) -> tuple[str, ...]:
    if spec.mapping == NO_MAPPING:
        return UNREPEATED_FIELDS
    return compiled(spec.mapping).unrepeated


def _shown_names(value: Mapping[str, Any]) -> str:
    """The names of a few fields, for a message."""
    return ", ".join(sorted(value)[:5])


def _binary(
    headers: Mapping[str, str],
    record: KafkaRecord,
) -> _Event:
    attributes: dict[str, Any] = {
        name.removeprefix(_HEADER): value
        for name, value in headers.items()
        if name.startswith(_HEADER)
    }
    content_type = headers.get("content-type")
    if content_type is not None:
        attributes["datacontenttype"] = content_type
    _check(attributes)
    return _Event(attributes, record.value or None)


def _structured(value: dict[str, Any]) -> _Event:
    _check(value)
    attributes = {name: each for name, each in value.items() if name not in _DATA}
    encoded = value.get("data_base64")
    if encoded is not None:
        return _Event(attributes, base64_bytes("data_base64", encoded))
    data = value.get("data")
    if data is None:
        return _Event(attributes, None)
    if isinstance(data, str):
        return _Event(attributes, data.encode("utf-8", "surrogatepass"))
    if isinstance(data, dict):
        return _Event(attributes, cast("dict[str, Any]", data))
    return _Event(attributes, json.dumps(data).encode())


def _check(attributes: Mapping[str, Any]) -> None:
    version = attributes.get("specversion")
    if version != "1.0":
        raise fields.invalid("specversion", version, '"1.0"')
    for name in _REQUIRED:
        _attribute(attributes, name)


def _attribute(
    attributes: Mapping[str, Any],
    name: str,
) -> str:
    value = attributes.get(name)
    if isinstance(value, str) and value:
        return value
    raise fields.invalid(name, value, "text")


def _headers(record: KafkaRecord) -> dict[str, str]:
    """The headers by their names in small letters; the last one of a name counts."""
    headers: dict[str, str] = {}
    for name, value in record.headers:
        if value is None:
            continue
        small = name.lower()
        text = value.decode("utf-8", "surrogateescape")
        headers[small] = text
    return headers


# ── events ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _deleted(
    event: _Event,
    record: KafkaRecord,
    spec: SourceSpec,
) -> Decoded:
    received = ReceivedFields(op="delete", version=_version(event, spec))
    named = _named_by_body(event, spec)
    if named is not None:
        received.id = named
    digest = hashlib.sha256(record.value or b"").digest()
    return change_event(received, _named(record, event), spec, raw_sha256=digest)


def _named_by_body(
    event: _Event,
    spec: SourceSpec,
) -> Any:
    """The id that the body of a delete names, if it has one."""
    if event.data is None or not _is_json(event):
        return None
    value = _object(event, spec)
    if spec.mapping == NO_MAPPING:
        return value.get("id")
    if spec.mapping.id is None:
        return None
    return id_of_fields(value, spec)


def _named(
    record: KafkaRecord,
    event: _Event,
) -> KafkaRecord:
    """The subject names the document, in place of the record's key."""
    subject = event.attributes.get("subject")
    if not isinstance(subject, str):
        return record
    named = fields.document_id(subject)
    return replace(record, key=named.encode())


def _upserted(event: _Event, record: KafkaRecord, spec: SourceSpec) -> Decoded:
    if not _is_json(event):
        return _document(event, record, spec)
    if spec.mapping == NO_MAPPING:
        return _of_our_own(event, record, spec)
    subject = event.attributes.get("subject")
    document_id: str | None = None
    if spec.mapping.id is None and subject is not None:
        document_id = fields.document_id(subject)
    written = event.data if isinstance(event.data, bytes) else None
    return mapped_event(
        _object(event, spec),
        compiled(spec.mapping),
        record,
        spec,
        document_id=document_id,
        own_version=_version(event, spec),
        written=written,
    )


def _of_our_own(
    event: _Event,
    record: KafkaRecord,
    spec: SourceSpec,
) -> Decoded:
    """A body in Freshet's own fields; the version is that of the event."""
    body = replace(_named(record, event), value=_bytes(event))
    decoded = decode_native(body, spec)
    if not isinstance(decoded, ChangeEvent):
        return decoded
    version = fields.effective_version(
        _version(event, spec),
        record,
        spec.version_rule,
        relative=decoded.op is Op.DELETE,
    )
    return replace(decoded, version=version)


def _object(
    event: _Event,
    spec: SourceSpec,
) -> dict[str, Any]:
    data: Any = event.data
    if not isinstance(data, bytes):
        return cast("dict[str, Any]", data)
    unrepeated = compiled(spec.mapping).unrepeated
    return read_object(data, unrepeated)


def _bytes(event: _Event) -> bytes:
    if isinstance(event.data, bytes):
        return event.data
    return json.dumps(event.data).encode()


def _document(
    event: _Event,
    record: KafkaRecord,
    spec: SourceSpec,
) -> Decoded:
    """A body that is the document itself."""
    data = _bytes(event)
    content_type = _content_type(event)
    stated = (spec.pipeline.content_type or "", content_type)
    received = ReceivedFields(
        content=document_body(data, stated, detect=spec.detect_charset),
        content_type=content_type,
        updated_at=event.attributes.get("time"),
        version=_version(event, spec),
    )
    digest = hashlib.sha256(data).digest()
    return change_event(received, _named(record, event), spec, raw_sha256=digest)


def _referred(
    event: _Event,
    record: KafkaRecord,
    spec: SourceSpec,
) -> Decoded:
    """An event whose data is elsewhere (extension `dataref`): what is there is the document itself."""
    for name in _NEEDS_DATA:
        path = getattr(spec.mapping, name)
        if path is not None:
            raise fields.invalid(
                "data", None, f"there, since the mapping reads {name} of it"
            )
    attributes = event.attributes
    received = ReceivedFields(
        content_url=attributes["dataref"],
        content_type=attributes.get("datacontenttype"),
        updated_at=attributes.get("time"),
        version=_version(event, spec),
    )
    everything = json.dumps(dict(attributes), sort_keys=True)
    digest = hashlib.sha256(everything.encode("utf-8", "surrogatepass")).digest()
    return change_event(received, _named(record, event), spec, raw_sha256=digest)


def _content_type(event: _Event) -> str:
    return str(event.attributes.get("datacontenttype") or "application/json")


def _version(event: _Event, spec: SourceSpec) -> Any:
    """`sequence` where it is a number, else the microseconds of `time`; None: neither is there, or a field counts."""
    if spec.mapping.version is not None:
        return None
    attributes = event.attributes
    sequence = attributes.get("sequence")
    if isinstance(sequence, int):
        return sequence
    if isinstance(sequence, str) and sequence.isdecimal():
        return _sequence_number(sequence)
    time = attributes.get("time")
    if not isinstance(time, str):
        return None
    microseconds = time_us(time)
    if microseconds is None:
        raise fields.invalid("time", time, "a time such as 2026-01-31T12:00:00Z")
    return microseconds


def _sequence_number(sequence: str) -> int:
    number = fields.digits_as_number(sequence)
    if number is None:
        raise fields.invalid("sequence", sequence, "a whole number from 0 to 2^63-1")
    return number


def _is_json(event: _Event) -> bool:
    """Whether the body is JSON: as its media type says, unless it begins as a file does."""
    if isinstance(event.data, bytes) and is_file(event.data):
        return False
    content_type = _content_type(event)
    stated, _, _ = content_type.partition(";")
    media_type = stated.strip()
    media_type = media_type.lower()
    return media_type.endswith(_JSON)
