"""The content of a document out of a staged record, which carries the record as it came."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from corpus.dead_letter import DeadLetterReason
from corpus.errors import ConfigurationError
from corpus.prepare.columns import ReadRow
from corpus.source import SourceSpec
from ingest.decode.debezium.rows import decode_debezium, large_columns
from ingest.decode.decoder import NESTED, decode
from ingest.decode.fields import FieldError
from ingest.decode.inflate import inflated
from ingest.decode.registry.values import with_plain_key
from ingest.decode.staged_values import event_values
from ingest.event import ChangeEvent, KafkaRecord, Undecodable


def content_of(
    spec: SourceSpec,
    key: bytes | None,
    value: bytes,
    headers: str,
    content_sha256: bytes,
) -> str | bytes:
    """A document's content (a text, or the bytes of a file), by the decoder that staged the record.

    Args:
        spec: the source as it is configured now.
        key: of the record.
        value: of the record.
        headers: JSON list of [name, base64 of the value or null]; empty for no headers.
        content_sha256: of the content when the record was staged.

    Raises:
        ConfigurationError: the record has another content now, because the source's format was changed since it was
            staged. The batch ends, and the consumer reads its records again.
    """
    decoded = decode(_record(key, value, headers), spec)
    if not isinstance(decoded, ChangeEvent):
        raise _is_changed(spec)
    if decoded.content is None or decoded.content_sha256 != content_sha256:
        raise _is_changed(spec)
    return decoded.content


def read_row(
    spec: SourceSpec,
    key: bytes | None,
    value: bytes,
    headers: str,
    known: Mapping[str, Any],
) -> ReadRow:
    """What a record of a table says, with columns that are known of its row.

    Args:
        spec: the source as it is configured now; its format is `debezium`.
        key: of the record.
        value: of the record.
        headers: JSON list of [name, base64 of the value or null]; empty for no headers.
        known: values of columns that the record leaves out, by name.
    """
    record = _record(key, value, headers)
    try:
        record = with_plain_key(record, spec)
        record = inflated(record, spec.pipeline.max_document_bytes)
        decoded = decode_debezium(record, spec, known)
        columns = large_columns(record, spec, known)
    except FieldError as error:
        return _unreadable(error.reason, error.detail)
    except RecursionError:
        return _unreadable(DeadLetterReason.NOT_DECODABLE, NESTED)
    values = event_values(decoded)
    content: str | bytes | None = None
    if isinstance(decoded, ChangeEvent):
        content = decoded.content
        # Of the record as it was staged, which knows its place in the log.
        values = {name: values[name] for name in values if name not in _OF_RECORD}
    return ReadRow(values=values, content=content, columns=columns)


def _unreadable(reason: DeadLetterReason, detail: str) -> ReadRow:
    refused = Undecodable(reason=reason, detail=detail)
    return ReadRow(values=event_values(refused), content=None, columns={})


# What is not read again from a record that has lost its place.
_OF_RECORD = frozenset({"version", "unavailable", "previous_id"})


def _record(key: bytes | None, value: bytes, headers: str) -> KafkaRecord:
    return KafkaRecord(
        topic="",
        partition=0,
        offset=0,
        timestamp_ms=0,
        key=key,
        value=value,
        headers=_headers(headers),
    )


def _is_changed(spec: SourceSpec) -> ConfigurationError:
    return ConfigurationError(
        f"the format of source {spec.source!r} was changed after its records were staged; "
        "the consumer reads them again"
    )


def _headers(text: str) -> tuple[tuple[str, bytes | None], ...]:
    pairs: list[tuple[str, str | None]] = json.loads(text or "[]")
    return tuple((name, _decoded(value)) for name, value in pairs)


def _decoded(value: str | None) -> bytes | None:
    if value is None:
        return None
    return base64.b64decode(value)
