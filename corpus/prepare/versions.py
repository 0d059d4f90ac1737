"""Versions of a batch that cannot be compared with those of their source: their events become dead letters.

An event that cannot be compared changes nothing, as if it had been superseded; but it is named, and can be sent again
when a person has decided.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from psycopg.rows import class_row

from corpus.database import Connection, fetch_all
from corpus.dead_letter import DeadLetterReason
from corpus.prepare.events import JudgedEvents
from corpus.prepare.fold import FoldableEvent, FoldedDocument
from corpus.prepare.heads import Head
from corpus.source import SourceSpec
from corpus.versions.comparison import incomparable
from corpus.versions.marks import marks
from corpus.versions.scale import highest_on_scale


@dataclass(frozen=True, slots=True, kw_only=True)
class Highest:
    """The highest versions of a source, as a batch was prepared."""

    known: int  # that the source had accepted; -1: none
    accepted: int  # with those of the batch
    beyond: int = (
        0  # events of the batch that are dead letters, since theirs are higher
    )


# ── against the source ──────────────────────────────────────────────────────────────────────────────────────────────


def refuse_beyond(events: JudgedEvents, spec: SourceSpec, known: int) -> Highest:
    """Make dead letters of events whose own versions are far beyond the highest of their source.

    Args:
        events: of the batch.
        spec: of the source.
        known: highest version that it has accepted; -1: none.
    """
    own = _own_versions(events, spec)
    accepted = max([known, *own.values()])
    if spec.version_scale != "auto":
        return Highest(known=known, accepted=accepted)
    highest = highest_on_scale(known, own.values())
    beyond = [row for row, version in own.items() if version > highest]
    for row in beyond:
        detail = _beyond(own[row], highest, spec.source)
        events.dead_letter(row, DeadLetterReason.VERSION_BEYOND_SCALE, detail)
    return Highest(known=known, accepted=highest, beyond=len(beyond))


def _own_versions(events: JudgedEvents, spec: SourceSpec) -> dict[int, int]:
    """The versions that the events name, by row."""
    if not spec.reads_own_versions:
        return {}
    return {
        event.row: event.version
        for event in events.usable()
        if event.version is not None and event.ranked.is_own
    }


def _beyond(version: int, highest: int, source: str) -> str:
    return (
        f"version {version} is far beyond the highest of source {source!r}, {highest}: it would outrank all to come. "
        "Send the event again with a version on that scale; or, if the version is right, set "
        'version_scale = "any" for the source, run `freshet apply` and redrive the dead letter'
    )


# ── against the document ────────────────────────────────────────────────────────────────────────────────────────────


def refuse_outranked(
    events: JudgedEvents,
    documents: Mapping[str, FoldedDocument],
    heads: Mapping[str, Head],
    spec: SourceSpec,
) -> set[str]:
    """Make dead letters of winners that cannot be compared with the heads that outrank them.

    Returns:
        Ids of their documents, which have to be folded without them.
    """
    refused: set[str] = set()
    for document_id, document in documents.items():
        head = heads.get(document_id)
        if head is None or document.winner is None:
            continue
        if not document.ranked.is_below(head.ranked, own_first=spec.own_first):
            continue
        upper_written = marks(head.written)
        why = incomparable(
            document.ranked,
            document.written,
            head.ranked,
            upper_written,
            spec,
        )
        if why is not None:
            events.dead_letter(document.winner, why.reason, why.detail)
            refused.add(document_id)
    return refused


def refuse_superseded(events: JudgedEvents, spec: SourceSpec) -> None:
    """Make dead letters of events that cannot be compared with the winner of their document, when all is judged."""
    for event, document in list(events.superseded()):
        if document.winner is None or not _is_below(event, document, spec):
            continue
        why = incomparable(
            event.ranked,
            event.mark,
            document.ranked,
            document.written,
            spec,
        )
        if why is not None:
            events.dead_letter(event.row, why.reason, why.detail)


def _is_below(event: FoldableEvent, document: FoldedDocument, spec: SourceSpec) -> bool:
    return event.ranked.is_below(document.ranked, own_first=spec.own_first)


# ── what a person has corrected ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class _Corrected:
    """A row of the query `corrected_versions`."""

    document_id: str
    old_version: int
    new_version: int
    batch: int
    reason: str


def refuse_corrected(connection: Connection, source: str, events: JudgedEvents) -> None:
    """Make dead letters of events with versions that a person has corrected: no replay brings them back."""
    usable = [event for event in events.usable() if event.version is not None]
    values = {
        "source": source,
        "document_ids": sorted({event.document_id for event in usable}),
    }
    rows = fetch_all(connection, class_row(_Corrected), "corrected_versions", values)
    corrected = {(row.document_id, row.old_version): row for row in rows}
    for event in usable:
        row = corrected.get((event.document_id, event.version or 0))
        if row is not None:
            detail = (
                f"version {row.old_version} of this document was corrected to {row.new_version} in batch {row.batch}: "
                f"{row.reason}"
            )
            events.dead_letter(event.row, DeadLetterReason.VERSION_BEYOND_SCALE, detail)
