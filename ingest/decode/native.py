"""Format `native`: the value is a JSON object.

Its fields are `id`, `op`, `uri`, `title`, `content_type`, `content`, `content_base64`, `content_url`, `content_sha256`,
`updated_at`, `version`, `metadata`, `expires_at`, `acl` and `language`; others are left out.
"""

import hashlib
import re
from typing import Any, cast

import msgspec

from corpus.source import SourceSpec
from corpus.specs.formats import NO_MAPPING
from ingest.decode import fields
from ingest.decode.encoding import json_bytes, utf8_text
from ingest.decode.json_text import load_json, load_object, may_repeat
from ingest.decode.mapping import compiled, fill_from_headers
from ingest.decode.received import ReceivedFields, change_event
from ingest.event import Decoded, KafkaRecord

# Parsers differ on which of two values counts; for these fields that is never guessed.
UNREPEATED_FIELDS = (
    *("id", "op", "version", "content", "content_base64", "acl", "expires_at"),
    *("content_url", "content_sha256"),
)

# What metadata may need repair for: long numbers, NUL, and halves of surrogate pairs.
_LONG_NUMBER = re.compile(rb"[0-9]{19}|[eE][+-]?[0-9]{3}")
_ESCAPED_TROUBLE = (b"\\u0000", b"\\ud", b"\\uD")

_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _NativeFields(ReceivedFields):
    """Metadata stays text until it is known whether it needs repair; an access list may be absent, or null."""

    metadata: msgspec.Raw = msgspec.Raw(b"null")  # pyright: ignore[reportIncompatibleVariableOverride]
    acl: Any = msgspec.UNSET


_event_decoder = msgspec.json.Decoder(_NativeFields)
_metadata_decoder = msgspec.json.Decoder()


def decode_native(record: KafkaRecord, spec: SourceSpec) -> Decoded:
    """Read a JSON event. msgspec reads nearly all of them; what it refuses is read again by Python's parser, slowly.

    Raises:
        FieldError: the value is not a JSON object, or the event has no usable id.
        RecursionError: it is nested too deeply.
    """
    value = record.value or b""
    event = _read_fast(value)
    if event is None:
        event = _read_carefully(value)
    read_metadata = _metadata
    if spec.mapping != NO_MAPPING:
        added = fill_from_headers(event, compiled(spec.mapping), record)

        def read_metadata(value: Any) -> dict[str, Any]:
            return _metadata(value) | fields.metadata(added)

    event.acl = _stated_acl(event.acl)
    return change_event(
        event,
        record,
        spec,
        raw_sha256=hashlib.sha256(value).digest(),
        read_metadata=read_metadata,
    )


def _stated_acl(value: Any) -> Any:
    """The access list as it came; None where it is absent. Null is no list, so it is refused as any other value.

    A producer that looked for the groups and found none may write null, and without a list every reader of the source
    would see the document.
    """
    if value is msgspec.UNSET:
        return None
    return "null" if value is None else value


def _read_fast(value: bytes) -> _NativeFields | None:
    """The event; None where the value is damaged or may have a field twice."""
    if may_repeat(value, UNREPEATED_FIELDS):
        return None
    try:
        return _event_decoder.decode(value)
    except _ERRORS:
        return None


def _read_carefully(value: bytes) -> _NativeFields:
    """The event, with bad bytes as lone surrogates; repeated fields and broken JSON are named."""
    event = load_object(utf8_text(json_bytes(value)), UNREPEATED_FIELDS)
    known = ReceivedFields.__struct_fields__
    return _NativeFields(**{name: event[name] for name in known if name in event})


def _metadata(value: Any) -> dict[str, Any]:
    if not isinstance(value, msgspec.Raw):
        return fields.metadata(value)
    text = bytes(value)
    try:
        decoded = _metadata_decoder.decode(text)
    except (*_ERRORS, ValueError):
        # Bad bytes become lone surrogates here, so the text must be repaired, however plain it looks.
        return fields.metadata(load_json(utf8_text(text)))
    if isinstance(decoded, dict) and _is_plain(text):
        return cast("dict[str, Any]", decoded)
    return fields.metadata(decoded)


def _is_plain(text: bytes) -> bool:
    """Whether nothing in this JSON can need repair, which saves the walk through it."""
    levels_at_most = text.count(b"{") + text.count(b"[")
    if levels_at_most >= fields.MAX_METADATA_DEPTH:
        return False
    if any(trouble in text for trouble in _ESCAPED_TROUBLE):
        return False
    return _LONG_NUMBER.search(text) is None
