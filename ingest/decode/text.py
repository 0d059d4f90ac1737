"""Format `text`: the value is the document (text, Markdown, HTML, or a file such as a PDF); headers describe it."""

import hashlib
import json
from dataclasses import replace

import msgspec

from corpus.source import SourceSpec
from corpus.specs.formats import NO_MAPPING
from ingest.decode import fields, times
from ingest.decode.body import document_body
from ingest.decode.mapping import compiled, fill_from_headers
from ingest.decode.paths import twice
from ingest.decode.received import ReceivedFields, change_event
from ingest.event import ChangeEvent, Decoded, KafkaRecord, Op

# Headers that a wrong character would change the meaning of; in the others it becomes U+FFFD.
_STRICT_HEADERS = frozenset({"id", "op", "acl", "version", "expires-at"})
_HEADERS = _STRICT_HEADERS | {
    "uri",
    "title",
    "content-type",
    "updated-at",
    "language",
}
_METADATA_PREFIX = "meta-"


def decode_text(record: KafkaRecord, spec: SourceSpec) -> Decoded:
    """Read a document. Header `id`, else the key, names it; headers `meta-*` are its metadata.

    Raises:
        FieldError: the event has no usable id, a header that decides something is not UTF-8, or the value is not text.
    """
    value = record.value or b""
    headers = _known_headers(record)
    event = ReceivedFields(
        id=headers.get("id", msgspec.UNSET),
        op=headers.get("op"),
        uri=headers.get("uri"),
        title=headers.get("title"),
        content_type=headers.get("content-type"),
        updated_at=times.number_or_text(headers.get("updated-at")),
        version=headers.get("version"),
        metadata=_metadata(headers),
        expires_at=times.number_or_text(headers.get("expires-at")),
        acl=_readers(headers.get("acl")),
        language=headers.get("language"),
    )
    if spec.mapping != NO_MAPPING:
        event.metadata |= fill_from_headers(event, compiled(spec.mapping), record)
    if fields.operation(event.op) is Op.UPSERT:
        content_types = (spec.pipeline.content_type or "", event.content_type or "")
        event.content = document_body(value, content_types, detect=spec.detect_charset)
    decoded = change_event(
        event, record, spec, raw_sha256=_sha256_of_record(value, headers)
    )
    if isinstance(decoded, ChangeEvent) and decoded.event_at_ms is None:
        return replace(decoded, event_at_ms=record.timestamp_ms)
    return decoded


def _known_headers(record: KafkaRecord) -> dict[str, str]:
    """The headers that have a meaning here. Names are in upper or lower case; the last header of a name counts.

    Raises:
        FieldError: one that decides something is no UTF-8, or there are two that differ.
    """
    known: dict[str, str] = {}
    for original_name, value in record.headers:
        name = original_name.lower()
        if value is None and name == "acl":
            value = b""  # no list, and not none
        if value is not None and (
            name in _HEADERS or name.startswith(_METADATA_PREFIX)
        ):
            text = _header_text(name, value)
            if name in _STRICT_HEADERS and known.get(name, text) != text:
                raise twice(f"header {name}")
            known[name] = text
    return known


def _header_text(name: str, value: bytes) -> str:
    if name not in _STRICT_HEADERS:
        return value.decode("utf-8", "replace")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise fields.invalid(f"header {name}", value, "UTF-8") from None


def _metadata(headers: dict[str, str]) -> dict[str, str]:
    return {
        name.removeprefix(_METADATA_PREFIX): value
        for name, value in headers.items()
        if name.startswith(_METADATA_PREFIX)
    }


def _readers(value: str | None) -> list[str] | None:
    if value is None:
        return None
    return [name.strip() for name in value.split(",")]


def _sha256_of_record(value: bytes, headers: dict[str, str]) -> bytes:
    """Of the value and the known headers: with the value alone, a new title over the same text would be nothing new."""
    digest = hashlib.sha256(value)
    # The version is left out, because versions are compared apart.
    described = [(name, headers[name]) for name in sorted(headers) if name != "version"]
    if described:
        digest.update(json.dumps(described).encode())
    return digest.digest()
