"""What a decoded record is staged as, by the names of `corpus.staging.layout`."""

import json
from collections.abc import Mapping
from typing import Any

from ingest.event import ChangeEvent, Decoded, Ignored, Undecodable


def event_values(event: Decoded) -> dict[str, Any]:
    """The columns that have values; the others are null."""
    match event:
        case ChangeEvent():
            return _change_values(event)
        case Ignored():
            return {
                "outcome": "ignored",
                "reason": event.rule,
                "version": event.version,
            }
        case Undecodable():
            return {
                "outcome": "dead_letter",
                "document_id": event.document_id,
                "reason": event.reason.value,
                "detail": event.detail,
            }


def _change_values(event: ChangeEvent) -> dict[str, Any]:
    return {
        "outcome": "event",
        "op": event.op.value,
        "document_id": event.document_id,
        "version": event.version,
        "uri": event.uri,
        "title": event.title,
        "content_type": event.content_type,
        "metadata": _metadata_json(event.metadata),
        "acl": None if event.acl is None else list(event.acl),
        "event_at_ms": event.event_at_ms,
        "expires_at_ms": event.expires_at_ms,
        "content_bytes": event.content_bytes,
        "content_sha256": event.content_sha256,
        "stated_language": event.stated_language,
        "raw_sha256": event.raw_sha256,
        "unavailable": list(event.unavailable) or None,
        "previous_id": event.previous_id,
        "next_id": event.next_id,
        "content_url": event.content_url,
        "stated_sha256": event.stated_sha256,
    }


def _metadata_json(metadata: Mapping[str, Any]) -> str:
    if not metadata:
        return "{}"
    return json.dumps(metadata, ensure_ascii=False, separators=(",", ":"))
