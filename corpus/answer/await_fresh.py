"""Decide whether the target of a wait is retrievable, never will be, or is not yet."""

import json
from dataclasses import asdict, replace
from typing import Any, cast

from corpus.access.reader import reading_as
from corpus.access.teams import team_reader
from corpus.answer.activities import TeamLook
from corpus.answer.await_rows import (
    AwaitRows,
    DeadLetterRow,
    HeadRow,
    RecordPosition,
    RecordRow,
    SourceRow,
    VersionRow,
)
from corpus.batch import OUTCOMES_KEPT_DAYS
from corpus.database import Connection
from corpus.dead_letter import without_quote
from corpus.erase.remembered import RULE
from corpus.service import AwaitFreshRequest, AwaitFreshResponse, WaitOutcome

_ENDED = {
    "expired": WaitOutcome.EXPIRED,
    "erased": WaitOutcome.ERASED,
    "deleted": WaitOutcome.DELETED,
    "replaced": WaitOutcome.SUPERSEDED,
}

# Outcomes that the records of documents have; what is kept of one that is erased has no id.
_OF_DOCUMENTS = ("applied", "unchanged", "superseded")


def outcome_for_team(connection: Connection, look: TeamLook) -> AwaitFreshResponse:
    """The outcome of a team's wait, by what the team is granted now: a source that is not granted does not exist."""
    request = look.request
    reader = team_reader(connection, look.team, request.groups)
    if request.source not in reader.sources:
        return _unknown(request.source)
    with reading_as(connection, reader):
        return current_outcome(connection, request)


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
        return _unknown(request.source)
    # Step 2.
    response = _by_target(rows, request, source)
    # Step 3.
    if response.why is WaitOutcome.TIMEOUT:
        return _stopped(source, request.source) or response
    # Step 4.
    return _with_publication_time(rows, response)


def _by_target(
    rows: AwaitRows, request: AwaitFreshRequest, source: SourceRow
) -> AwaitFreshResponse:
    if request.batch is not None:
        return _batch(rows, request.batch, source.last_batch)
    if request.topic is not None:
        record = RecordPosition(
            topic=request.topic,
            partition=request.partition or 0,
            offset=request.offset or 0,
            topic_id=request.topic_id,
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


def _batch(rows: AwaitRows, number: int, last_batch: int) -> AwaitFreshResponse:
    batch = rows.batch(number)
    if batch is None and number <= last_batch:
        detail = f"batch {number} was passed over: batch {last_batch} is published, and numbers only rise"
        return _never(WaitOutcome.NOT_PUBLISHED, detail)
    if batch is None:
        return not_yet(f"batch {number} is not published")
    if batch.state == "published":
        return _retrievable(f"batch {number} is published", number)
    reason = batch.reason or "see the ledger"
    detail = f"batch {number} is {batch.state}: {reason}"
    return _never(WaitOutcome.NOT_PUBLISHED, detail, number)


# ── a Kafka record ──────────────────────────────────────────────────────────────────────────────────────────────────


def _record(rows: AwaitRows, record: RecordPosition) -> AwaitFreshResponse:
    """Decide by what became of the record, in the log that it names or else in the one that the corpus reads.

    1. a record that the corpus has not reached is waited for
    2. what became of it is kept: decide by that, and by its document now
    3. it is not kept (an old batch): decide by what the record wrote, if it wrote something
    """
    # Step 1.
    position = rows.position(record)
    if position is None:
        return not_yet(
            f"{record} has no effect yet; the corpus has applied nothing of its partition"
        )
    log = record.topic_id or position.topic_id
    record = replace(record, topic_id=log)
    is_read = log == position.topic_id
    if is_read and position.next_offset <= record.offset:
        return not_yet(
            f"{record} has no effect yet; the corpus is at offset {position.next_offset}"
        )
    # Step 2.
    kept = rows.record(record)
    if kept is not None:
        return _kept(rows, record, kept)
    # Step 3.
    batch = rows.range_batch(record, position.topic_id)
    if batch is not None:
        return _not_kept(rows, record, batch)
    if is_read:
        detail = f"{record} lies before the first record that the corpus has read of this log"
        return _never(WaitOutcome.NO_CHANGE, detail)
    return not_yet(
        f"{record} of the topic with id {log} has no effect yet; the corpus reads the topic with id "
        f"{position.topic_id}"
    )


def _kept(
    rows: AwaitRows, record: RecordPosition, kept: RecordRow
) -> AwaitFreshResponse:
    """Decide by what became of a record."""
    is_of_document = kept.outcome in _OF_DOCUMENTS and kept.document_id is None
    if is_of_document or kept.reason == RULE:
        return _never(WaitOutcome.ERASED, f"the document of {record} is erased")
    match kept.outcome, kept.op:
        case None, _:
            detail = f"there is no record {record}: the topic was compacted, or a transaction's marker is there"
            return _never(WaitOutcome.NO_CHANGE, detail, kept.batch)
        case "dead_letter", _:
            return _dead_letter_of(rows, record, kept)
        case "ignored", _:
            detail = f"{record} is ignored by the rule {kept.reason!r}"
            return _never(WaitOutcome.NO_CHANGE, detail, kept.batch)
        case "superseded", _:
            detail = f"{record} changed nothing: the corpus had, or has, a version that outranks it"
            return _never(WaitOutcome.SUPERSEDED, detail, kept.batch)
        case _, "delete":
            detail = f"{record} is a delete of {kept.document_id!r}"
            return _never(WaitOutcome.DELETED, detail, kept.batch)
        case _:
            return _document_of(rows, record, kept)


def _dead_letter_of(
    rows: AwaitRows, record: RecordPosition, kept: RecordRow
) -> AwaitFreshResponse:
    letter = rows.record_dead_letter(record, kept.batch)
    if letter:
        return _dead_lettered(letter)
    detail = f"{kept.reason}; the dead letter itself is not kept any more"
    return _never(WaitOutcome.DEAD_LETTERED, detail, kept.batch)


def _document_of(
    rows: AwaitRows, record: RecordPosition, kept: RecordRow
) -> AwaitFreshResponse:
    """Decide by the document that the record wrote, or sent again unchanged, as it is now."""
    document_id, version = kept.document_id or "", kept.version or 0
    wanted = rows.version(document_id, version)
    if wanted is None:
        head = rows.head(document_id)
        outranked = _outranked(head, version)
        if outranked:
            return outranked
        detail = f"{record} was {kept.outcome}, but its version {kept.version} is not in the corpus any more"
        return _never(WaitOutcome.NO_CHANGE, detail, kept.batch)
    response = _of_record(rows, record, kept, wanted)
    if not response.reached or kept.outcome == "applied":
        return response
    return AwaitFreshResponse(
        reached=True,
        why=WaitOutcome.UNCHANGED,
        detail=f"{record} changed nothing: the corpus already had this content",
        batch=kept.batch,
    )


def _of_record(
    rows: AwaitRows, record: RecordPosition, wrote: RecordRow, wanted: VersionRow
) -> AwaitFreshResponse:
    """Decide by the version of a record: whether it is there, and says what the record says."""
    response = _version(wanted)
    if response.reached and not rows.content_stands(record, wrote):
        detail = f"{record} is superseded: another record of version {wanted.version} was written before it"
        return _never(WaitOutcome.SUPERSEDED, detail, wanted.batch)
    return response


def _not_kept(
    rows: AwaitRows, record: RecordPosition, batch: int
) -> AwaitFreshResponse:
    """Decide by what the record wrote; a record that wrote nothing cannot be told from one that never was."""
    letter = rows.record_dead_letter(record, batch)
    if letter:
        return _dead_lettered(letter)
    written = rows.record_version(record, batch)
    wanted = rows.version(written.document_id, written.version) if written else None
    if written and wanted:
        wrote = RecordRow(batch=batch, outcome="applied", **asdict(written))
        return _of_record(rows, record, wrote, wanted)
    detail = (
        f"{record} wrote no document version, and what else became of it is not kept: "
        f"the corpus keeps that for {OUTCOMES_KEPT_DAYS} days"
    )
    return _never(WaitOutcome.NO_CHANGE, detail, batch)


# ── a document at a version ─────────────────────────────────────────────────────────────────────────────────────────


def _document(rows: AwaitRows, document_id: str, version: int) -> AwaitFreshResponse:
    """Decide by the version itself, else by a newer head, a dead letter, an erasure."""
    wanted = rows.version(document_id, version)
    if wanted and wanted.visible:
        return _version(wanted)
    head = rows.head(document_id)
    outranked = _outranked(head, version)
    if outranked:
        return outranked
    if wanted:
        return _version(wanted)
    for letter in rows.document_dead_letters(document_id):
        stated = _version_in(letter.value)
        if stated == version:
            return _dead_lettered(letter)
    erasure = rows.erasure(document_id)
    if erasure:
        return _never(WaitOutcome.ERASED, "the document is erased", erasure.batch)
    known = "the corpus has never seen the document"
    if head:
        known = f"the corpus has version {head.version}"
    return not_yet(f"{document_id!r} at version {version}: {known}")


def _outranked(head: HeadRow | None, version: int) -> AwaitFreshResponse | None:
    """The end of a wait for a version that a newer one outranks, or None."""
    if head is None or head.version <= version:
        return None
    what = "a delete" if head.kind == "tombstone" else "in the corpus"
    detail = f"version {version} was superseded: version {head.version} is {what}"
    return _never(WaitOutcome.SUPERSEDED, detail, head.batch)


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
    """Decide by the partition that is the furthest behind: nothing of an earlier time can be missing then."""
    behind = rows.partition_behind()
    wanted = f"the wait is for one of {time_ms} or later from every partition"
    if behind is None:
        return not_yet(f"the corpus has no event yet; {wanted}")
    partition = f"{behind.topic}/{behind.partition}"
    if behind.newest_ms is None:
        return not_yet(f"the corpus has no event of {partition} yet; {wanted}")
    if behind.newest_ms < time_ms:
        newest = (
            f"the newest event of {partition} in the corpus is of {behind.newest_ms}"
        )
        return not_yet(f"{newest}; {wanted}")
    return _retrievable(
        f"every partition has an event of {behind.newest_ms} or later in the corpus"
    )


# ── responses ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _retrievable(detail: str, batch: int | None = None) -> AwaitFreshResponse:
    return AwaitFreshResponse(
        reached=True, why=WaitOutcome.RETRIEVABLE, detail=detail, batch=batch
    )


def _never(
    why: WaitOutcome, detail: str, batch: int | None = None
) -> AwaitFreshResponse:
    return AwaitFreshResponse(reached=False, why=why, detail=detail, batch=batch)


def _unknown(source: str) -> AwaitFreshResponse:
    return _never(WaitOutcome.SOURCE_UNKNOWN, f"there is no source {source!r}")


def _dead_lettered(letter: DeadLetterRow) -> AwaitFreshResponse:
    detail = f"{letter.reason}: {without_quote(letter.detail)}"
    return _never(WaitOutcome.DEAD_LETTERED, detail, letter.batch)


def not_yet(detail: str) -> AwaitFreshResponse:
    """It is not there yet, and may come."""
    return AwaitFreshResponse(reached=False, why=WaitOutcome.TIMEOUT, detail=detail)


def _with_publication_time(
    rows: AwaitRows, response: AwaitFreshResponse
) -> AwaitFreshResponse:
    if response.batch is None:
        return response
    batch = rows.batch(response.batch)
    if batch is None:
        return response
    return replace(
        response,
        published_at_ms=batch.published_at_ms,
        published_at_us=batch.published_at_us,
    )
