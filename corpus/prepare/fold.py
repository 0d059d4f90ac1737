"""What the records of a document come to. Pure, and the same for every order in which they are read.

The rule, in full. The publishing transaction applies it again, to what the corpus holds (query `decide`, functions of
the migration `order_of_records`). So a document depends on the *set* of its records alone: not on which partition is
read first, where batches are cut, or how often a record comes.

1. The greatest version counts; the others are superseded.
2. Of several records of that version, the one that was written first stands, whatever the others say: its operation,
   content and metadata. "Written first" compares the record versions (`corpus.source.record_version`: time, then
   offset), then topic, partition and offset. What the others add is their end and their time: the latest `expires_at`
   that any of them names is the document's, and the latest record time says when it was last observed.
3. A delete without a version deletes the version if it was written after a record of that version. Records of one log
   (a partition of one incarnation of a topic) are compared by offset, others by record version, where the delete wins a
   tie; so is a redriven record, which no longer has a place in its log. Sent again after its deletion, the version
   stays deleted.

Each part is a minimum or a maximum, which is why the rule commutes, associates and can be repeated: the greatest
version, the first and the latest of its records, per log its first record (`Marks` of `written`), and per log the last
delete without a version (`Marks` of `deletes`). A head in the database carries the same.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Place(NamedTuple):
    """Where and when a record was written; places are compared in this order."""

    record_version: int
    topic: str
    partition: int
    offset: int


class Mark(NamedTuple):
    """A bound of some records of one log."""

    offset: int
    record_version: int


# By log: "topic/partition/topic id". Without the id, the records are redriven and have no order among themselves.
Marks = Mapping[str, Mark]


class FoldableEvent(NamedTuple):
    """What the fold needs to know of an event."""

    row: int  # in the batch's table of events
    document_id: str
    version: int | None  # None: a delete without a version
    says: Hashable  # operation, content and metadata; equal: the same event sent again
    place: Place
    log: str
    expires_at_ms: int | None = None
    observed_at_ms: int | None = None  # record time

    @property
    def mark(self) -> Marks:
        """The event alone, as marks."""
        return {self.log: Mark(self.place.offset, self.place.record_version)}


@dataclass(slots=True)
class FoldedDocument:
    """What the events of one document come to. Numbers are rows of the batch's table of events."""

    winner: int | None = None  # row of the record of the greatest version that stands
    winner_version: int = -1
    first: Place | None = None  # of the winner
    written: Marks = field(default_factory=dict[str, Mark])
    """The first records of the winner's version, per log."""
    expires_at_ms: int | None = None  # latest of the winner's version
    observed_at_ms: int | None = None  # latest of the winner's version
    tombstone: int | None = None  # row of the newest delete without a version
    deletes: Marks = field(default_factory=dict[str, Mark])
    """The last deletes without a version, per log."""

    @property
    def acting(self) -> tuple[int, ...]:
        """Rows that may act: the delete without a version, the winner."""
        return tuple(row for row in (self.tombstone, self.winner) if row is not None)


@dataclass(frozen=True, slots=True)
class Fold:
    """Result: a folded document per id, and the rows that do not act."""

    documents: dict[str, FoldedDocument] = field(
        default_factory=dict[str, FoldedDocument]
    )
    superseded: list[int] = field(default_factory=list[int])
    """Rows of an older version, of another event under the same version, or of an older delete."""
    repeated: list[int] = field(default_factory=list[int])
    """Rows that are the winner sent again."""


def fold(events: Iterable[FoldableEvent]) -> Fold:
    """Fold events in any order."""
    by_document: dict[str, list[FoldableEvent]] = {}
    for event in events:
        by_document.setdefault(event.document_id, []).append(event)
    result = Fold()
    for document_id, its_events in by_document.items():
        result.documents[document_id] = _fold_document(result, its_events)
    return result


def _fold_document(result: Fold, events: list[FoldableEvent]) -> FoldedDocument:
    document = FoldedDocument()
    events.sort(key=lambda event: event.place)
    deletes = [event for event in events if event.version is None]
    if deletes:
        document.tombstone = deletes[-1].row
        result.superseded.extend(event.row for event in deletes[:-1])
        for event in deletes:
            document.deletes = latest(document.deletes, event.mark)
    versions = [event.version for event in events if event.version is not None]
    if versions:
        document.winner_version = max(versions)
        _fold_version(result, document, events)
    return document


def _fold_version(
    result: Fold, document: FoldedDocument, events: list[FoldableEvent]
) -> None:
    version = document.winner_version
    winner, *others = [event for event in events if event.version == version]
    document.winner, document.first = winner.row, winner.place
    for event in (winner, *others):
        document.written = earliest(document.written, event.mark)
        document.expires_at_ms = _later(document.expires_at_ms, event.expires_at_ms)
        document.observed_at_ms = _later(document.observed_at_ms, event.observed_at_ms)
    result.superseded.extend(
        event.row
        for event in events
        if event.version is not None and event.version != version
    )
    is_deleted = is_after(document.deletes, document.written)
    for event in others:
        is_repeat = event.says == winner.says and not is_deleted
        (result.repeated if is_repeat else result.superseded).append(event.row)


def earliest(one: Marks, other: Marks) -> Marks:
    """The least of both, per log (`freshet.earliest`)."""
    return _merged(one, other, min)


def latest(one: Marks, other: Marks) -> Marks:
    """The greatest of both, per log (`freshet.latest`)."""
    return _merged(one, other, max)


def is_after(deletes: Marks, written: Marks) -> bool:
    """Whether a delete was written after a record of the version (`freshet.deleting`)."""
    return any(
        _is_later(delete, deletes[delete], first, written[first])
        for delete in deletes
        for first in written
    )


def _is_later(log: str, mark: Mark, other_log: str, other: Mark) -> bool:
    if log == other_log and not log.endswith("/"):
        return mark.offset > other.offset
    return mark.record_version >= other.record_version


def _merged(one: Marks, other: Marks, choose: Callable[[int, int], int]) -> Marks:
    merged = dict(one)
    for log, mark in other.items():
        known = merged.get(log, mark)
        merged[log] = Mark(
            choose(known.offset, mark.offset),
            choose(known.record_version, mark.record_version),
        )
    return merged


def _later(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return one if other is None else other
    return max(one, other)
