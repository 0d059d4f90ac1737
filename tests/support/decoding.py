"""Records and events for tests of the decoder."""

import base64
import json
from typing import Any

from corpus.dead_letter import DeadLetterReason
from corpus.source import SourceSpec
from ingest.decode.decoder import decode
from ingest.event import ChangeEvent, Decoded, KafkaRecord, Undecodable

NATIVE = SourceSpec(source="s", topics=("t",))
TEXT = SourceSpec(source="s", topics=("t",), format="text")
AT = 1_714_564_800_000
MAX_DETAIL = 400  # characters; a dead letter is read in a table


def record(
    value: bytes | None,
    *,
    key: bytes | None = b"k",
    headers: tuple[tuple[str, bytes | None], ...] = (),
    offset: int = 7,
    at: int | None = AT,
) -> KafkaRecord:
    return KafkaRecord(
        topic="t",
        partition=0,
        offset=offset,
        timestamp_ms=at,
        key=key,
        value=value,
        headers=headers,
    )


def event(spec: SourceSpec = NATIVE, *, key: bytes | None = b"k", **fields: Any) -> Decoded:
    """A JSON event of document `a` with these fields."""
    value = json.dumps({"id": "a", "content": "text", **fields}).encode()
    return decode(record(value, key=key), spec)


def text_event(value: bytes = b"text", **headers: bytes | None) -> Decoded:
    """A document in format `text`; `_` in a header's name is `-`."""
    pairs = tuple((name.replace("_", "-"), header) for name, header in headers.items())
    return decode(record(value, headers=pairs), TEXT)


def changed(decoded: Decoded) -> ChangeEvent:
    assert isinstance(decoded, ChangeEvent), decoded
    return decoded


def refused(decoded: Decoded, reason: DeadLetterReason, *words: str) -> Undecodable:
    """An Undecodable with this reason, whose detail has these words and is one short line that can be stored."""
    assert isinstance(decoded, Undecodable), decoded
    assert decoded.reason is reason
    for word in words:
        assert word in decoded.detail
    assert_detail_is_safe(decoded)
    return decoded


def assert_detail_is_safe(decoded: Undecodable) -> None:
    assert decoded.detail.isprintable()
    assert len(decoded.detail) < MAX_DETAIL
    decoded.detail.encode()


def assert_is_storable(decoded: Decoded) -> None:
    """PostgreSQL takes it: no NUL, no half of a surrogate pair, no number beyond bigint."""
    if isinstance(decoded, Undecodable):
        assert_detail_is_safe(decoded)
        return
    event = changed(decoded)
    names = ("document_id", "uri", "title", "content_type", "content", "stated_language")
    texts = [getattr(event, name) for name in names]
    stored = json.dumps([texts, event.metadata, event.acl], ensure_ascii=False, allow_nan=False)
    assert "\\u0000" not in stored.replace("\\\\", "")
    stored.encode()
    for number in (event.version, event.event_at_ms, event.expires_at_ms):
        assert number is None or -(2**63) <= number < 2**63


def kafka_record(case: dict[str, Any], offset: int) -> KafkaRecord:
    """A record of the shared hostile ones."""
    headers = tuple((name, _decoded(value)) for name, value in case["headers"])
    at = case["timestamp_ms"] if case["timestamp_ms"] >= 0 else None
    return KafkaRecord(
        topic="nasty",
        partition=0,
        offset=offset,
        timestamp_ms=at,
        key=_decoded(case["key_b64"]),
        value=_decoded(case["value_b64"]),
        headers=headers,
    )


def _decoded(text: str | None) -> bytes | None:
    if text is None:
        return None
    return base64.b64decode(text)
