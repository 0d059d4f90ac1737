"""Decide whether the target of a wait is retrievable, never will be, or is not yet."""

import json
from dataclasses import replace
from typing import Any, cast

from corpus.answer.await_rows import (
    AwaitRows,
    BatchRow,
    DeadLetterRow,
    RecordPosition,
    SourceRow,
    VersionRow,
)
from corpus.database import Connection
from corpus.service import AwaitFreshRequest, AwaitFreshResponse, WaitOutcome

_ENDED = {
    "expired": WaitOutcome.EXPIRED,
    "erased": WaitOutcome.ERASED,
    "deleted": WaitOutcome.DELETED,
    "replaced": WaitOutcome.SUPERSEDED,
}


def current_outcome(
    connection: Connection, request: AwaitFreshRequest
) -> AwaitFreshResponse:
    """The outcome of a wait as the database stands now.

    TIMEOUT means: not yet; `detail` says what is missing.
    """
    return decide(AwaitRows(connection, request.source), request)


def decide(rows: AwaitRows, request: AwaitFreshRequest) -> AwaitFreshResponse:
    """Decide a wait by the rows of its source.

    1. an unknown source ends the wait
    2. decide by the target: a batch, a record, a document at a version, or a time
    3. what is not there yet never will be if the source is halted or retired
    4. add the time at which the deciding batch became visible
    """
    # Step 1.
    source = rows.source()
    if source is None:
        return _never(
            WaitOutcome.SOURCE_UNKNOWN, f"there is no source {request.source!r}"
        )
    # Step 2.
    response = _by_target(rows, request)
    # Step 3.
    if response.why is WaitOutcome.TIMEOUT:
        return _stopped(source, request.source) or response
    # Step 4.
    return _with_publication_time(rows, response)


def _by_target(rows: AwaitRows, request: AwaitFreshRequest) -> AwaitFreshResponse:
    if request.batch is not None:
        return _batch(rows, request.batch)
    if request.topic is not None:
        record = RecordPosition(
            topic=request.topic,
            partition=request.partition or 0,
            offset=request.offset or 0,
        )
        return _record(rows, record)
    if request.document_id is not None:
        version = request.version or 0
        return _document(rows, request.document_id, version)
    time_ms = request.time_ms or 0
    return _time(rows, time_ms)


def _stopped(source: SourceRow, name: str) -> AwaitFreshResponse | None:
    if source.state == "halted":
        return _never(WaitOutcome.SOURCE_HALTED, source.state_reason or "")
    if source.state == "retired":
        return _never(
            WaitOutcome.SOURCE_RETIRED, f"source {name!r} is no longer configured"
        )
    return None


# ── a batch ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _batch(rows: AwaitRows, number: int) -> AwaitFreshResponse:
    batch = rows.batch(number)
    if batch is None:
        return _not_yet(f"batch {number} is not published")
    if batch.state == "published":
        return _retrievable(f"batch {number} is published", number)
    reason = batch.reason or "see the ledger"
    detail = f"batch {number} is {batch.state}: {reason}"
    return _never(WaitOutcome.NOT_PUBLISHED, detail, number)


# ── a Kafka record ──────────────────────────────────────────────────────────────────────────────────────────────────


def _record(rows: AwaitRows, record: RecordPosition) -> AwaitFreshResponse:
    position = rows.position(record)
    if position is None:
        return _not_yet(
            f"{record} has no effect yet; the corpus has applied nothing of its partition"
        )
    if position.next_offset <= record.offset:
        return _not_yet(
            f"{record} has no effect yet; the corpus is at offset {position.next_offset}"
        )
    if position.batch is None:
        detail = f"{record} lies before the first record that the corpus has read"
        return _never(WaitOutcome.NO_CHANGE, detail)
    # By batch as well as by offset: a recreated topic has the same offsets again.
    letter = rows.record_dead_letter(record, position.batch)
    if letter:
        return _dead_lettered(letter)
    version = rows.record_version(record, position.batch)
    if version:
        return _version(version)
    batch = rows.batch(position.batch)
    if batch and not batch.superseded and not batch.ignored:
        return _unchanged(record, position.batch)
    counts = f"its batch {position.batch} counts {_counts(batch)}"
    detail = f"{record} wrote no document version; {counts}"
    return _never(WaitOutcome.NO_CHANGE, detail, position.batch)


def _unchanged(record: RecordPosition, batch: int) -> AwaitFreshResponse:
    return AwaitFreshResponse(
        reached=True,
        why=WaitOutcome.UNCHANGED,
        detail=f"{record} changed nothing: the corpus already had this content",
        batch=batch,
    )


def _counts(batch: BatchRow | None) -> str:
    if batch is None:
        return "nothing"
    counts = {
        "unchanged": batch.unchanged,
        "superseded": batch.superseded,
        "ignored": batch.ignored,
    }
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


# ── a document at a version ─────────────────────────────────────────────────────────────────────────────────────────


def _document(rows: AwaitRows, document_id: str, version: int) -> AwaitFreshResponse:
    """Decide by the version itself, else by a newer head, else by a dead letter."""
    wanted = rows.version(document_id, version)
    if wanted and wanted.visible:
        return _version(wanted)
    head = rows.head(document_id)
    if head and head.version > version:
        what = "a delete" if head.kind == "tombstone" else "in the corpus"
        detail = f"version {version} was superseded: version {head.version} is {what}"
        return _never(WaitOutcome.SUPERSEDED, detail, head.batch)
    if wanted:
        return _version(wanted)
    for letter in rows.document_dead_letters(document_id):
        if _version_in(letter.value) == version:
            return _dead_lettered(letter)
    known = "the corpus has never seen the document"
    if head:
        known = f"the corpus has version {head.version}"
    return _not_yet(f"{document_id!r} at version {version}: {known}")


def _version(row: VersionRow) -> AwaitFreshResponse:
    version = f"version {row.version}"
    if row.kind == "tombstone":
        return _never(WaitOutcome.DELETED, f"{version} is a delete", row.batch)
    if row.visible or row.end_reason is None:
        return _retrievable(f"{version} is retrievable", row.batch)
    outcome = _ENDED[row.end_reason]
    detail = row.end_detail or f"{version} was {row.end_reason}"
    return _never(outcome, detail, row.batch)


def _version_in(value: bytes | None) -> int | None:
    """The version in an event that could not be used, where it can be read."""
    try:
        event = json.loads(value or b"")
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict):
        return None
    fields = cast("dict[str, Any]", event)
    version = fields.get("version")
    if isinstance(version, bool) or not isinstance(version, int):
        return None
    return version


# ── a time ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _time(rows: AwaitRows, time_ms: int) -> AwaitFreshResponse:
    wanted = f"the wait is for one of {time_ms} or later"
    newest_ms = rows.newest_event_ms()
    if newest_ms is None:
        return _not_yet(f"the corpus has no event yet; {wanted}")
    newest = f"the newest event in the corpus is of {newest_ms}"
    if newest_ms < time_ms:
        return _not_yet(f"{newest}; {wanted}")
    return _retrievable(newest)


# ── responses ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _retrievable(detail: str, batch: int | None = None) -> AwaitFreshResponse:
    return AwaitFreshResponse(
        reached=True, why=WaitOutcome.RETRIEVABLE, detail=detail, batch=batch
    )


def _never(
    why: WaitOutcome, detail: str, batch: int | None = None
) -> AwaitFreshResponse:
    return AwaitFreshResponse(reached=False, why=why, detail=detail, batch=batch)


def _dead_lettered(letter: DeadLetterRow) -> AwaitFreshResponse:
    detail = f"{letter.reason}: {letter.detail}"
    return _never(WaitOutcome.DEAD_LETTERED, detail, letter.batch)


def _not_yet(detail: str) -> AwaitFreshResponse:
    return AwaitFreshResponse(reached=False, why=WaitOutcome.TIMEOUT, detail=detail)


def _with_publication_time(
    rows: AwaitRows, response: AwaitFreshResponse
) -> AwaitFreshResponse:
    if response.batch is None:
        return response
    batch = rows.batch(response.batch)
    if batch is None:
        return response
    return replace(response, published_at_ms=batch.published_at_ms)
