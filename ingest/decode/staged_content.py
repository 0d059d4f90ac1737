"""The content of a document out of a staged record, which carries the record as it came."""

import base64
import json

from corpus.errors import ConfigurationError
from corpus.source import SourceSpec
from ingest.decode.decoder import decode
from ingest.event import ChangeEvent, KafkaRecord


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
    record = KafkaRecord(
        topic="",
        partition=0,
        offset=0,
        timestamp_ms=0,
        key=key,
        value=value,
        headers=_headers(headers),
    )
    decoded = decode(record, spec)
    if not isinstance(decoded, ChangeEvent):
        raise _is_changed(spec)
    if decoded.content is None or decoded.content_sha256 != content_sha256:
        raise _is_changed(spec)
    return decoded.content


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
