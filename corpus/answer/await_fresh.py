"""Look whether something is retrievable, or never will be."""

import json
from collections.abc import Callable
from typing import Any

from psycopg.rows import dict_row

from corpus.database import Connection
from corpus.service import AwaitFreshRequest, AwaitFreshResponse, WaitOutcome
from corpus.sql import query

Row = dict[str, Any]
_Ask = Callable[..., Row | None]
_ENDED = {
    "expired": WaitOutcome.EXPIRED,
    "erased": WaitOutcome.ERASED,
    "deleted": WaitOutcome.DELETED,
    "replaced": WaitOutcome.SUPERSEDED,
}


def look(connection: Connection, request: AwaitFreshRequest) -> AwaitFreshResponse:
    """One look. `why` TIMEOUT means: not yet; `detail` says what is missing."""
    with connection.cursor(row_factory=dict_row) as cursor:

        def ask(name: str, **parameters: Any) -> Row | None:
            return cursor.execute(query(name), {"source": request.source, **parameters}).fetchone()

        def letters() -> list[Row]:
            key = {"source": request.source, "document_id": request.document_id}
            return cursor.execute(query("await_document_dead_letters"), key).fetchall()

        source = ask("await_source")
        if source is None:
            return _never(WaitOutcome.SOURCE_UNKNOWN, f"there is no source {request.source!r}")
        if request.batch is not None:
            found = _batch(ask, request.batch)
        elif request.offset is not None:
            found = _offset(ask, request, request.offset)
        elif request.document_id is not None:
            found = _document(ask, request, letters)
        else:
            found = _time(ask, request.time_ms or 0)
        if found.why is WaitOutcome.TIMEOUT and source["state"] == "halted":
            return _never(WaitOutcome.SOURCE_HALTED, source["state_reason"] or "")
        if found.why is WaitOutcome.TIMEOUT and source["state"] == "retired":
            return _never(
                WaitOutcome.SOURCE_RETIRED, f"source {request.source!r} is no longer configured"
            )
        return _dated(ask, found)


def _batch(ask: _Ask, number: int) -> AwaitFreshResponse:
    row = ask("await_batch", batch=number)
    if row is None:
        return _not_yet(f"batch {number} is not published")
    if row["state"] != "published":
        return _never(
            WaitOutcome.NOT_PUBLISHED,
            f"batch {number} is {row['state']}: {row['reason'] or 'see the ledger'}",
            number,
        )
    return _there(f"batch {number} is published", number)


def _offset(ask: _Ask, request: AwaitFreshRequest, offset: int) -> AwaitFreshResponse:
    record = {"topic": request.topic, "partition": request.partition, "offset": offset}
    where = f"{request.topic}/{request.partition}@{offset}"
    position = ask("await_offset", **record)
    if position is None or position["next_offset"] <= offset:
        return _not_yet(
            f"{where} has no effect yet; the corpus stands before {position['next_offset'] if position else 'the first record'}"
        )
    batch = position["batch"]
    if batch is None:
        return _never(WaitOutcome.NO_CHANGE, f"{where} lies before what the corpus has read")
    letter = ask(
        "await_offset_dead_letter", batch=batch, **record
    )  # of this incarnation of the topic
    if letter:
        return _never(
            WaitOutcome.DEAD_LETTERED, f"{letter['reason']}: {letter['detail']}", letter["batch"]
        )
    document = ask("await_offset_document", batch=batch, **record)
    if document:
        return _version(document)
    row = ask("await_batch", batch=batch) or {}
    if row and not row["superseded"] and not row["ignored"]:
        return AwaitFreshResponse(
            reached=True,
            why=WaitOutcome.UNCHANGED,
            detail=f"{where} changed nothing: it was there already",
            batch=batch,
        )
    counts = ", ".join(
        f"{row[name]} {name}" for name in ("unchanged", "superseded", "ignored") if row.get(name)
    )
    return _never(
        WaitOutcome.NO_CHANGE,
        f"{where} had no effect of its own; its batch {batch} counts {counts}",
        batch,
    )


def _document(
    ask: _Ask, request: AwaitFreshRequest, dead_letters: Callable[[], list[Row]]
) -> AwaitFreshResponse:
    row = ask("await_document_version", document_id=request.document_id, version=request.version)
    if row and row["visible"]:
        return _version(row)
    head = ask("await_document_head", document_id=request.document_id)
    if head and head["version"] > (request.version or 0):
        now = "a delete" if head["kind"] == "tombstone" else "there"
        return _never(
            WaitOutcome.SUPERSEDED,
            f"version {request.version} was superseded: version {head['version']} is {now}",
            head["batch"],
        )
    if row:
        return _version(row)
    for letter in dead_letters():
        if _letter_version(letter["value"]) == request.version:
            return _never(
                WaitOutcome.DEAD_LETTERED,
                f"{letter['reason']}: {letter['detail']}",
                letter["batch"],
            )
    stands = f"the corpus has version {head['version']}" if head else "the corpus has never seen it"
    return _not_yet(f"{request.document_id!r} at version {request.version}: {stands}")


def _letter_version(value: bytes) -> int | None:
    """The version in an unusable event, where it can be read."""
    try:
        event = json.loads(value)
    except (ValueError, RecursionError):
        return None
    version = event.get("version") if isinstance(event, dict) else None
    return version if isinstance(version, int) and not isinstance(version, bool) else None


def _version(row: Row) -> AwaitFreshResponse:
    if row["kind"] == "tombstone":
        return _never(WaitOutcome.DELETED, f"version {row['version']} is a delete", row["batch"])
    if row["visible"]:
        return _there(f"version {row['version']} is retrievable", row["batch"])
    return _never(
        _ENDED[row["end_reason"]],
        row["end_detail"] or f"version {row['version']} was {row['end_reason']}",
        row["batch"],
    )


def _time(ask: _Ask, time_ms: int) -> AwaitFreshResponse:
    newest = (ask("await_newest_event") or {}).get("newest_ms")
    if newest is not None and newest >= time_ms:
        return _there(f"the newest event in the corpus is of {newest}")
    return _not_yet(f"the newest event in the corpus is of {newest}, asked for {time_ms}")


def _there(detail: str, batch: int | None = None) -> AwaitFreshResponse:
    return AwaitFreshResponse(reached=True, why=WaitOutcome.RETRIEVABLE, detail=detail, batch=batch)


def _never(why: WaitOutcome, detail: str, batch: int | None = None) -> AwaitFreshResponse:
    return AwaitFreshResponse(reached=False, why=why, detail=detail, batch=batch)


def _not_yet(detail: str) -> AwaitFreshResponse:
    return AwaitFreshResponse(reached=False, why=WaitOutcome.TIMEOUT, detail=detail)


def _dated(ask: _Ask, found: AwaitFreshResponse) -> AwaitFreshResponse:
    row = ask("await_batch", batch=found.batch) if found.batch is not None else None
    if row is None:
        return found
    return AwaitFreshResponse(
        reached=found.reached,
        why=found.why,
        detail=found.detail,
        batch=found.batch,
        published_at_ms=row["published_at_ms"],
    )
