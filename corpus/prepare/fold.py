"""What the records of a document come to. Pure, and the same for every order in which they are read.

The rule, in full. The publishing transaction applies it again, to what the corpus holds (query `decide`, functions of
the migration `order_of_records`). So a document depends on the *set* of its records alone: not on which partition is
read first, where batches are cut, or how often a record comes.

1. The greatest version counts; the others are superseded. Where the source says so (`version_rule = "own"`), a version
   that an event names is greater than all that are made of records.
2. Of several records of that version, the one that was written first stands, whatever the others say: its operation,
   content and metadata. "Written first" compares the record versions (`corpus.source.record_version`: time, then
   offset), then topic, partition and offset. What the others add is their end and their time: the latest `expires_at`
   that any of them names is the document's, and the latest record time says when it was last observed. And the upsert
   of them that was written last says who may read the document: a revocation needs no new version. Upserts of one log
   are compared by offset, others by record version (`corpus.versions.grants`).
3. A delete without a version deletes the version if it was written after a record of that version. Records of one log
   (a partition of one incarnation of a topic) are compared by offset, others by record version, where the delete wins a
   tie; so is a redriven record, which no longer has a place in its log. Sent again after its deletion, the version
   stays deleted.

Each part is a minimum or a maximum, which is why the rule commutes, associates and can be repeated: the greatest
version, the first of its records, per log its first record (`Marks` of `written`) and its last upsert (`Grants`), and
per log the last delete without a version (`Marks` of `deletes`). A head in the database carries the same.
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from corpus.versions.comparison import ranked
from corpus.versions.grants import Grant, granting_row, with_grant
from corpus.versions.marks import Mark, Marks, earliest, is_after, latest
from corpus.versions.scale import Ranked


class Place(NamedTuple):
    """Where and when a record was written; places are compared in this order."""

    record_version: int
    topic: str
    partition: int
    offset: int


class FoldableEvent(NamedTuple):
    """What the fold needs to know of an event."""

    row: int  # in the batch's table of events
    document_id: str
    version: int | None  # None: a delete without a version
    # Operation, content and metadata; equal, with an equal access list: the same event sent again.
    says: Hashable
    place: Place
    log: str
    expires_at_ms: int | None = None
    observed_at_ms: int | None = None  # record time
    acl: Hashable = None
    is_upsert: bool = True  # else it says nothing of who may read

    @property
    def mark(self) -> Marks:
        """The event alone, as marks."""
        return {self.log: Mark(self.place.offset, self.place.record_version)}

    @property
    def ranked(self) -> Ranked:
        """Its version, which is not None, as it is compared."""
        assert self.version is not None, "a delete without a version has no rank"
        return ranked(self.version, self.mark)


@dataclass(slots=True)
class FoldedDocument:
    """What the events of one document come to. Numbers are rows of the batch's table of events."""

    winner: int | None = None  # row of the record of the greatest version that stands
    winner_version: int = -1
    first: Place | None = None  # of the winner
    granting: int | None = (
        None  # row of the last upsert of its version; None: it has none
    )
    grants: dict[str, Grant] = field(default_factory=dict[str, Grant])
    """The last upserts of the winner's version, per log."""
    written: Marks = field(default_factory=dict[str, Mark])
    """The first records of the winner's version, per log."""
    expires_at_ms: int | None = None  # latest of the winner's version
    observed_at_ms: int | None = None  # latest of the winner's version
    tombstone: int | None = None  # row of the newest delete without a version
    # Those that were written after the winner, as they were written.
    tombstones: list[FoldableEvent] = field(default_factory=list[FoldableEvent])
    deletes: Marks = field(default_factory=dict[str, Mark])
    """The last deletes without a version, per log."""

    @property
    def ranked(self) -> Ranked:
        """The winner's version as it is compared."""
        return ranked(self.winner_version, self.written)

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


def fold(events: Iterable[FoldableEvent], *, own_first: bool = False) -> Fold:
    """Fold events in any order.

    Args:
        events: of any documents of one source.
        own_first: versions that events name are greater than all that are made of records.
    """
    by_document: dict[str, list[FoldableEvent]] = {}
    for event in events:
        by_document.setdefault(event.document_id, []).append(event)
    result = Fold()
    for document_id, its_events in by_document.items():
        folded = _fold_document(result, its_events, own_first=own_first)
        result.documents[document_id] = folded
    return result


def _fold_document(
    result: Fold, events: list[FoldableEvent], *, own_first: bool
) -> FoldedDocument:
    document = FoldedDocument()
    events.sort(key=lambda event: event.place)
    deletes = [event for event in events if event.version is None]
    if deletes:
        document.tombstone = deletes[-1].row
        result.superseded.extend(event.row for event in deletes[:-1])
        for event in deletes:
            document.deletes = latest(document.deletes, event.mark)
        document.tombstones = deletes
    versions = [event.ranked for event in events if event.version is not None]
    if versions:
        greatest = max(
            versions, key=lambda one: (own_first and one.is_own, one.version)
        )
        document.winner_version = greatest.version
        _fold_version(result, document, events)
    return document


def _fold_version(
    result: Fold, document: FoldedDocument, events: list[FoldableEvent]
) -> None:
    version = document.winner_version
    winner, *others = [event for event in events if event.version == version]
    document.winner, document.first = winner.row, winner.place
    document.tombstones = _written_after(winner, document.tombstones)
    for event in (winner, *others):
        document.written = earliest(document.written, event.mark)
        document.expires_at_ms = _later(document.expires_at_ms, event.expires_at_ms)
        document.observed_at_ms = _later(document.observed_at_ms, event.observed_at_ms)
    _fold_grants(document, [winner, *others])
    result.superseded.extend(
        event.row
        for event in events
        if event.version is not None and event.version != version
    )
    if is_after(document.deletes, document.written):
        result.superseded.extend(event.row for event in others)
    else:
        _judge_others(result, document, winner, others)


def _written_after(
    winner: FoldableEvent, events: list[FoldableEvent]
) -> list[FoldableEvent]:
    return [event for event in events if event.place > winner.place]


def _fold_grants(document: FoldedDocument, events: list[FoldableEvent]) -> None:
    """Which upsert of a version says who may read."""
    for event in events:
        if event.is_upsert:
            grant = Grant(event.place.offset, event.place.record_version, event.row)
            document.grants = with_grant(document.grants, event.log, grant)
    if document.grants:
        document.granting = granting_row(document.grants)


def _judge_others(
    result: Fold,
    document: FoldedDocument,
    winner: FoldableEvent,
    others: list[FoldableEvent],
) -> None:
    """What becomes of the other records of the winner's version."""
    granting = winner
    if winner.is_upsert:  # of what is deleted, no upsert acts
        granting = next((one for one in others if one.row == document.granting), winner)
    for event in others:
        if event is granting and event.acl != winner.acl:
            continue  # it acts, beside the winner
        is_repeat = event.says == winner.says and event.acl == granting.acl
        (result.repeated if is_repeat else result.superseded).append(event.row)


def _later(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return one if other is None else other
    return max(one, other)
