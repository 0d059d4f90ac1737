"""Format `json`: the value is any JSON object; the source's mapping says which of its fields are the document's."""

import hashlib
from typing import Any, cast

import msgspec

from corpus.dead_letter import DeadLetterReason
from corpus.source import SourceSpec
from ingest.decode import mapping as mappings
from ingest.decode.debezium.placeholder import (
    left_out,
    may_have_placeholder,
    names_with_placeholder,
)
from ingest.decode.encoding import json_bytes, utf8_text
from ingest.decode.fields import FieldError
from ingest.decode.json_text import load_object, may_repeat
from ingest.decode.mapping import Mapping, compiled
from ingest.decode.received import change_event, document_id_of
from ingest.event import Decoded, KafkaRecord, Undecodable

_decoder = msgspec.json.Decoder()
_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def decode_json(
    record: KafkaRecord,
    spec: SourceSpec,
) -> Decoded:
    """Read a JSON object by the source's mapping.

    Raises:
        FieldError: the value is not a JSON object, or has no usable id.
        RecursionError: it is nested too deeply.
    """
    mapping = compiled(spec.mapping)
    value = record.value or b""
    fields = read_object(value, mapping.unrepeated)
    return mapped_event(fields, mapping, record, spec)


def mapped_event(
    value: dict[str, Any],
    mapping: Mapping,
    record: KafkaRecord,
    spec: SourceSpec,
    *,
    document_id: str | None = None,
    own_version: Any = None,
    written: bytes | None = None,
) -> Decoded:
    """The event of an object, whichever format it was read from.

    Args:
        value: the object.
        mapping: of the source.
        record: of the object.
        spec: of the source.
        document_id: where the format knows it; None: by the mapping, else by the key.
        own_version: that the format knows, where the mapping names none.
        written: what the object was read from; None: the record's value. Empty: it has no placeholder of Debezium.

    Raises:
        FieldError: it has no usable id; anything else that is wrong makes an Undecodable that names the document.
    """
    if written is None:
        written = record.value or b""
    event = mappings.begin_event(mapping, value, record, document_id)
    event.version = own_version
    document_id = document_id_of(event, record, spec)
    event.id = document_id  # so that the key is not read again
    try:
        mappings.fill_event(event, mapping, value, record)
        if event.op != "delete":
            _refuse_placeholders(value, mapping, written, spec)
    except FieldError as error:
        return Undecodable(
            reason=error.reason, detail=error.detail, document_id=document_id
        )
    digest = hashlib.sha256(record.value or b"").digest()
    return change_event(event, record, spec, raw_sha256=digest)


def _refuse_placeholders(
    value: dict[str, Any],
    mapping: Mapping,
    written: bytes,
    spec: SourceSpec,
) -> None:
    """Rows of Debezium are read by other formats, too, and no format makes a text of what only stands for one.

    Raises:
        FieldError: names the fields that a change left out.
    """
    placeholder = spec.debezium.unavailable
    if not may_have_placeholder(written, value, placeholder, spec.schema_kind):
        return
    names = names_with_placeholder(value, mapping.reads, placeholder)
    if names:
        raise left_out(names)


def read_json(value: bytes, unrepeated: tuple[str, ...] = ()) -> Any:
    """Any JSON value.

    Raises:
        FieldError: it is none, or an object has one of these names twice.
        RecursionError: it is nested too deeply.
    """
    if value.lstrip()[:1] == b"{":
        return read_object(value, unrepeated)
    try:
        return _decoder.decode(value)
    except _ERRORS:
        raise FieldError(DeadLetterReason.NOT_DECODABLE, "not JSON") from None


def read_object(value: bytes, unrepeated: tuple[str, ...] = ()) -> dict[str, Any]:
    """The object of a JSON value.

    Args:
        value: UTF-8, perhaps with Confluent's header.
        unrepeated: names that no object in it may have twice, since parsers differ on which one counts.

    Raises:
        FieldError: it is not a JSON object, or has one of these names twice.
        RecursionError: it is nested too deeply.
    """
    if not may_repeat(value, unrepeated):
        try:
            decoded = _decoder.decode(value)
        except _ERRORS:
            decoded = None
        if isinstance(decoded, dict):
            return cast("dict[str, Any]", decoded)
    written = json_bytes(value)
    text = utf8_text(written)
    return load_object(text, unrepeated)
