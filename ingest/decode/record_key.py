"""The key of a Kafka record names a document, whatever converter wrote it."""

import json
from typing import Any, cast

from corpus.source import SourceSpec
from ingest.decode import fields

_CONFLUENT_HEADER_BYTES = 5  # magic byte 0 and a schema id


def key_as_id(key: bytes | None, spec: SourceSpec) -> str:
    """The key as a document id.

    Kafka Connect's JSON converters write a key `doc-1` as `"doc-1"`, or as `{"schema": ..., "payload": "doc-1"}`;
    all three name one document. A key is taken apart only if all of it is

    1. a JSON string, or
    2. a JSON object of just `schema` and `payload`, whose payload is a text or a whole number;
       Confluent's header of a JSON Schema key may be before either

    and the source's `key_format` is not "text". Any other key is the id as it is.

    Raises:
        FieldError: there is no key, or it is not an id.
    """
    if key is None:
        return fields.key_as_id(None)
    if spec.key_format == "text":
        return fields.key_as_id(key)
    name = _written_by_converter(key)
    is_written = name is not None
    if is_written:
        return fields.document_id(name)
    return fields.key_as_id(key)


def _written_by_converter(key: bytes) -> Any:
    """What a JSON converter wrote; None where none did."""
    if key[:1] == b"\0":
        key = key[_CONFLUENT_HEADER_BYTES:]
    if not (_is_between(key, b'"', b'"') or _is_between(key, b"{", b"}")):
        return None
    try:
        value = json.loads(key)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return value
    envelope = cast("dict[str, Any]", value)
    if envelope.keys() != {"schema", "payload"}:
        return None
    payload = envelope["payload"]
    if isinstance(payload, (str, int)):
        return payload
    return None


def _is_between(key: bytes, first: bytes, last: bytes) -> bool:
    return len(key) > 1 and key.startswith(first) and key.endswith(last)
