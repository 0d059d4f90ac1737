"""The key of a Kafka record names a document, whatever converter wrote it."""

import json
from functools import lru_cache
from typing import Any, cast
from urllib.parse import quote

from corpus.dead_letter import DeadLetterReason
from corpus.source import SourceSpec
from corpus.specs.formats import MAPPED_FORMATS, REGISTRY_FORMATS
from ingest.decode import fields
from ingest.decode.fields import FieldError
from ingest.decode.paths import Reader, compile_text
from ingest.event import KafkaRecord

_CONFLUENT_HEADER_BYTES = 5  # magic byte 0 and a schema id
# A key is read without its record's headers.
_NO_RECORD = KafkaRecord(
    topic="", partition=0, offset=0, timestamp_ms=None, key=None, value=None
)


class _Repeating(dict[str, Any]):
    """The fields of an object that has a name twice, or one in it has; parsers differ on which one counts."""


def key_as_id(
    key: bytes | None,
    spec: SourceSpec,
) -> str:
    """The key as a document id.

    Kafka Connect's JSON converters write a key `doc-1` as `"doc-1"`, or as `{"schema": ..., "payload": "doc-1"}`;
    all three name one document. A key is taken apart only if all of it is

    1. a JSON string, or
    2. a JSON object of just `schema` and `payload`, whose payload is a text or a whole number;
       Confluent's header of a JSON Schema key may be before either

    and the source's `key_format` is not "text". A key that is an object is read by the path of the source's mapping for
    ids, where it has one. Any other key is the id as it is.

    Raises:
        FieldError: there is no key, or it is not an id.
    """
    if key is None:
        return fields.key_as_id(None)
    if spec.key_format == "text":
        return fields.key_as_id(key)
    written = _written_by_converter(key)
    if isinstance(written, dict):
        return _id_of_object(cast("dict[str, Any]", written), key, spec)
    if written is not None:
        return fields.document_id(written)
    return fields.key_as_id(key)


def key_fields(key: bytes | None) -> dict[str, Any] | None:
    """The fields of a key that is an object; None where it is none."""
    written = _written_by_converter(key or b"")
    return cast("dict[str, Any]", written) if isinstance(written, dict) else None


def id_of_fields(
    value: dict[str, Any], spec: SourceSpec, record: KafkaRecord | None = None
) -> str:
    """The id that the mapping's path finds in the fields of a key or a row.

    Raises:
        FieldError: the path is missing, or what it finds is no id.
    """
    _refuse_repeating(value)
    read = _reader(spec.mapping.id or "")
    return fields.document_id(read(value, record or _NO_RECORD))


def _id_of_object(
    value: dict[str, Any],
    key: bytes,
    spec: SourceSpec,
) -> str:
    if spec.format in MAPPED_FORMATS and spec.mapping.id is not None:
        return id_of_fields(value, spec)
    if spec.format == "debezium" or spec.format in REGISTRY_FORMATS:
        return _id_of_columns(value)
    return fields.key_as_id(key)


def _id_of_columns(columns: dict[str, Any]) -> str:
    """The columns of a primary key: the only one's value, or all values joined by `/`.

    Raises:
        FieldError: a column is no part of an id, or is there twice.
    """
    _refuse_repeating(columns)
    values = [_column_text(each) for each in columns.values()]
    if len(values) == 1:
        return fields.document_id(values[0])
    return fields.document_id("/".join(quote(str(each), safe="") for each in values))


def _column_text(value: Any) -> Any:
    """A column of a key. MongoDB's is JSON inside a text: `{"$oid": "5f.."}`, or a text in quotes."""
    if isinstance(value, str) and value.startswith(('{"', '"')):
        written = _written_by_converter(value.encode())
        value = value if written is None else written
    while isinstance(value, dict):
        typed = cast("dict[str, Any]", value)
        _refuse_repeating(typed)
        if len(typed) != 1:
            break
        [value] = typed.values()
    if isinstance(value, dict | list) or value is None or value is True:
        raise fields.invalid("a column of the key", value, "text or a whole number")
    return value


@lru_cache(maxsize=1_024)
def _reader(path: str) -> Reader:
    return compile_text("id", path).read


def _written_by_converter(key: bytes) -> Any:
    """What a JSON converter wrote: a text, a whole number, or the fields of an object; None where none did."""
    if key[:1] == b"\0":
        key = key[_CONFLUENT_HEADER_BYTES:]
    if not (_is_between(key, b'"', b'"') or _is_between(key, b"{", b"}")):
        return None
    try:
        text = key.decode(json.detect_encoding(key), "surrogatepass")  # as json.loads
        value = _decoder.decode(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return value
    envelope = cast("dict[str, Any]", value)
    if envelope.keys() != {"schema", "payload"}:
        return envelope
    _refuse_repeating(envelope)
    payload = envelope["payload"]
    if isinstance(payload, (str, int, dict)):
        return cast("Any", payload)
    return envelope


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The fields of an object. One that has a name twice may yet be an id as it is written."""
    found = dict(pairs)
    is_repeating = len(found) < len(pairs)
    is_repeating |= any(isinstance(value, _Repeating) for value in found.values())
    return _Repeating(found) if is_repeating else found


# Made once: `json.loads` with a hook makes one for each key.
_decoder = json.JSONDecoder(object_pairs_hook=_object)


def _refuse_repeating(value: dict[str, Any]) -> None:
    if isinstance(value, _Repeating):
        detail = "the record's key has a name twice; which value counts is not guessed"
        raise FieldError(DeadLetterReason.INVALID_ID, detail)


def _is_between(key: bytes, first: bytes, last: bytes) -> bool:
    return len(key) > 1 and key.startswith(first) and key.endswith(last)
