"""Columns that a change leaves out because they did not change: they are those of the newest version before.

A database's log does not hold a large column that an update did not touch. Such an event says only part of its
document, so before anything else it is completed, in the order of the versions of its document:

1. The newest earlier version has the column: an event of the same batch, or the head, whose large columns are kept with
   it (`freshet.kept_columns`). A document whose key changed begins with the columns of the one that it was.
2. The event is read again with them, and from then on it is an event like any other. Where the head has changed when
   the batch is published, it is prepared again (query `stale_preparation`).
3. An event without such a version is no document: a placeholder is never text. While batches before it are not yet
   published, it waits for them; else it is a dead letter.
4. An earlier record of the document that is a dead letter may have changed the column: what was there before it is not
   taken. The event is a dead letter as well, until the earlier one is redriven.
5. A document whose key changed was another one, whose records may be in another partition. Until that one is read up
   to the change, its columns are not taken: they may be older than the change. The event is a dead letter that is sent
   again by itself (`freshet.waiting_fetch`), for a day; and so are events of its document that need its columns.

What 4 and 5 are judged by is in `corpus.prepare.evidence`.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import polars as pl
from psycopg.rows import class_row

from corpus.database import Connection, fetch_all
from corpus.dead_letter import DeadLetterReason
from corpus.prepare.candidates import BatchState, Documents
from corpus.prepare.columns import Completion, RowReader
from corpus.prepare.events import JudgedEvents
from corpus.prepare.evidence import (
    Evidence,
    KeptColumns,
    Known,
    Tombstone,
    evidence_of,
    known_of_head,
)
from corpus.prepare.fetch_memory import Wait, redriven_letters
from corpus.prepare.fold import FoldableEvent
from corpus.prepare.heads import Head, heads_of
from corpus.source import SourceSpec
from corpus.versions.marks import Marks, earliest, marks

_ORIGINAL = ("key", "value", "headers")
# How long an event waits for another partition; each time as long as it has waited already, within bounds.
_WAITS_SECONDS = 86_400
_MIN_PAUSE_SECONDS = 10
_MAX_PAUSE_SECONDS = 3_600
# What `freshet.waiting_fetch` has in place of a host.
_WAITS_FOR = "another partition"
# Whether a version is an event's own, where those come first; the version; a head before an event.
_Rank = tuple[bool, int, int]


def complete(
    connection: Connection,
    events: JudgedEvents,
    spec: SourceSpec,
    read: RowReader,
    *,
    is_behind: bool,
) -> Completion:
    """Find the columns that events of the batch leave out, and those that deleted documents had last.

    Args:
        connection: to PostgreSQL.
        events: of the batch.
        spec: of the source.
        read: reads a record with columns that are known.
        is_behind: whether batches before this one are not published yet.
    """
    completer = _Completer(events, spec, read, is_behind=is_behind)
    if not completer.documents:
        return Completion()
    return completer.run(connection)


def with_values(
    frame: pl.DataFrame, values: Mapping[int, Mapping[str, Any]]
) -> pl.DataFrame:
    """The events with other values in some rows."""
    names = {name for each in values.values() for name in each}
    columns: list[pl.Series] = []
    for name in sorted(names & set(frame.columns)):
        changed = frame[name].to_list()
        for row, each in values.items():
            changed[row] = each.get(name)
        columns.append(pl.Series(name, changed, frame.schema[name]))
    return frame.with_columns(columns)


def refuse_incomplete(batch: BatchState, documents: Documents) -> set[str]:
    """Take out the documents whose winner is incomplete.

    Returns:
        Ids of those whose event became a dead letter; they have to be folded without it.
    """
    refused: set[str] = set()
    for document_id, document in list(documents.items()):
        row = document.winner
        columns = batch.completion.incomplete.get(-1 if row is None else row)
        if row is None or columns is None:
            continue
        head = batch.heads.get(document_id)
        if head is not None and batch.is_outranked(head, document):
            continue
        del documents[document_id]
        if batch.is_behind:
            # Without a text it is stale when it is published, and is prepared again then.
            batch.add(document_id, document)
            continue
        _refuse(batch, row, columns)
        refused.add(document_id)
    return refused


def _refuse(batch: BatchState, row: int, columns: tuple[str, ...]) -> None:
    """Make a dead letter of an incomplete event, one that is sent again where that may help."""
    waits = batch.completion.waits
    wait = waits.get(row)
    waited = 0 if wait is None else wait.seconds
    if row not in waits or waited >= _WAITS_SECONDS:
        is_doubtful = row in batch.completion.doubtful
        detail = _why_doubtful(columns) if is_doubtful else _why_incomplete(columns)
        batch.events.dead_letter(row, DeadLetterReason.UNAVAILABLE_COLUMN, detail)
        return
    names = ", ".join(columns)
    detail = (
        f"the key of the row was changed, and what did not change ({names}) is in another partition, which is not read "
        "up to the change yet; it is sent again by itself"
    )
    batch.events.dead_letter(row, DeadLetterReason.COLUMN_WAITS, detail)
    batch.events.set_values(
        row,
        waits_for=_WAITS_FOR,
        retry_seconds=min(max(waited, _MIN_PAUSE_SECONDS), _MAX_PAUSE_SECONDS),
        waits_since_ms=None if wait is None else wait.waits_since_ms,
    )


def _why_incomplete(columns: tuple[str, ...]) -> str:
    names = ", ".join(columns)
    return (
        f"the change leaves out what did not change ({names}), and no earlier version of the document has it; have the "
        "connector send the whole row (a snapshot of it, or REPLICA IDENTITY FULL)"
    )


def _why_doubtful(columns: tuple[str, ...]) -> str:
    names = ", ".join(columns)
    return (
        f"the change leaves out what did not change ({names}), and an earlier record of the document, which may have "
        "changed it, is a dead letter; redrive that one first, then this one, or have the connector send the whole row"
    )


class _Completer:
    """Completes the events of one batch."""

    def __init__(
        self,
        events: JudgedEvents,
        spec: SourceSpec,
        read: RowReader,
        *,
        is_behind: bool,
    ) -> None:
        self._events = events
        self._spec = spec
        self._read = read
        self._is_behind = is_behind
        self._missing = events.unavailable()
        self._completion = Completion()
        self._begun: set[tuple[str, _Rank | None]] = set()
        self._heads: dict[str, Head] = {}
        self._kept: dict[str, KeptColumns] = {}
        self._evidence = Evidence(own_first=spec.own_first)
        self._behind: set[str] = (
            set()
        )  # documents with an event of the batch that waits
        self._by_document: dict[str, list[FoldableEvent]] = {}
        for event in events.usable():
            self._by_document.setdefault(event.document_id, []).append(event)
        self.documents = sorted(filter(self._is_concerned, self._by_document))

    def _is_concerned(
        self,
        document_id: str,
    ) -> bool:
        """Whether an event of a document leaves columns out, or the document is deleted after another event."""
        its_events = self._by_document[document_id]
        if any(event.row in self._missing for event in its_events):
            return True
        return len({event.is_upsert for event in its_events}) > 1

    def run(self, connection: Connection) -> Completion:
        previous = {each for _, each in self._missing.values() if each is not None}
        involved = sorted(previous.union(self.documents))
        self._heads = heads_of(connection, self._spec.source, involved)
        values = {"source": self._spec.source, "document_ids": involved}
        rows = fetch_all(connection, class_row(KeptColumns), "kept_columns_of", values)
        self._kept = {row.document_id: row for row in rows}
        self._evidence = evidence_of(
            connection, self._events, self._spec, self._heads, self._kept, involved
        )
        for document_id in self.documents:
            known = self._known_at(document_id, None)
            columns = None if known is None else known.columns
            self._completion.last[document_id] = columns or {}
        self._note_waits(connection)
        return self._completion

    def _note_waits(self, connection: Connection) -> None:
        """Which incomplete events wait, and since when those do that were sent again."""
        incomplete = self._completion.incomplete
        rows = [row for row in incomplete if self._may_be_completed(row)]
        letters = {row: list(redriven_letters(self._headers(row))) for row in rows}
        known = self._waits_of(connection, letters.values())
        for row, its_letters in letters.items():
            waits = map(known.get, its_letters)
            self._completion.waits[row] = next(filter(None, waits), None)

    def _waits_of(
        self, connection: Connection, letters: Iterable[list[int]]
    ) -> dict[int, Wait]:
        """Since when the events of some dead letters wait, by their numbers."""
        numbers = sorted(set(chain.from_iterable(letters)))
        if not numbers:
            return {}
        values = {"source": self._spec.source, "dead_letters": numbers}
        found = fetch_all(connection, class_row(Wait), "waits_of", values)
        return {wait.dead_letter: wait for wait in found}

    def _may_be_completed(self, row: int) -> bool:
        """Whether what an event leaves out may come from another partition, or from an event that waits for that."""
        document_id = self._events.value("document_id", row)
        return document_id in self._evidence.waiting or document_id in self._behind

    def _headers(self, row: int) -> str | None:
        return self._events.value("headers", row)

    def _known_at(self, document_id: str, rank: _Rank | None) -> Known | None:
        """The newest version of a document up to a rank, deleted or not; its events are completed."""
        if (document_id, rank) in self._begun:
            return None  # of a circle of keys nothing is known
        self._begun.add((document_id, rank))
        known: Known | None = None
        deleted_at: _Rank | None = None
        for at, event in self._in_order(document_id):
            if rank is not None and at > rank:
                break
            if isinstance(event, Head):
                known = known_of_head(event, self._kept.get(document_id))
                deleted_at = at if event.content_sha256 is None else None
            elif event.is_upsert:
                known = self._written_by(event, at, None if deleted_at else known)
                deleted_at = None
            else:
                known = None if _is_below(deleted_at, at) else known
                deleted_at = at
        self._begun.remove((document_id, rank))
        return known

    def _written_by(
        self, event: FoldableEvent, at: _Rank, before: Known | None
    ) -> Known:
        """A version of a row, completed from the one before."""
        written = event.mark
        columns = None if before is None else before.columns
        if before is not None and before.ranked == event.ranked:
            written = earliest(before.written, written)
        elif columns is not None and event.row in self._missing:
            _, previous = self._missing[event.row]
            # What this key had before is of another row, also where the log has no delete of that one.
            columns = None if previous else self._columns_known_to(event, before)
        return Known(self._columns_of(event, at, columns), event.ranked, written)

    def _columns_known_to(
        self, event: FoldableEvent, before: Known | None
    ) -> Mapping[str, Any] | None:
        """The columns of the version before, unless a record between the two could not be used, or deleted it."""
        if self._evidence.is_doubtful(event.document_id, before, event):
            self._completion.doubtful.add(event.row)
            return None
        deletes = self._evidence.tombstones_between(event.document_id, before, event)
        return None if deletes or before is None else before.columns

    def _in_order(self, document_id: str) -> list[tuple[_Rank, FoldableEvent | Head]]:
        """Its events with a version, and its head, from the lowest version on; the head before an event of its own."""
        ranked: list[tuple[_Rank, FoldableEvent | Head]] = []
        own_first = self._spec.own_first
        head = self._heads.get(document_id)
        if head is not None:
            ranked.append(((own_first and head.ranked.is_own, head.version, 0), head))
        for event in self._by_document.get(document_id, ()):
            if event.version is not None:
                is_own = own_first and event.ranked.is_own
                ranked.append(((is_own, event.version, 1), event))
        ranked.sort(key=_rank_of)
        return ranked

    def _columns_of(
        self, event: FoldableEvent, at: _Rank, before: Mapping[str, Any] | None
    ) -> Mapping[str, Any] | None:
        row = event.row
        names, previous = self._missing.get(row, ((), None))
        # What another document had last, only batches before this one can say.
        if before is None and previous is not None and not self._is_behind:
            before = self._columns_of_previous(event, previous, at)
        known = {name: (before or {}).get(name) for name in names}
        if None in known.values():
            self._completion.incomplete[row] = names
            return None
        key, value, headers = (self._events.value(name, row) for name in _ORIGINAL)
        read = self._read(self._spec, key, value, headers, known)
        if names:
            self._completion.known[row] = known
            self._completion.values[row] = read.values
        return read.columns

    def _columns_of_previous(
        self, event: FoldableEvent, previous: str, at: _Rank
    ) -> Mapping[str, Any] | None:
        """The columns of the document that one was before its key changed; None until all of it is read."""
        known = self._known_at(previous, at)
        behind = self._evidence.tombstones_between(previous, known, event)
        is_waiting = previous in self._evidence.waiting
        if is_waiting or not self._is_read_up_to(event, previous, at, behind):
            self._behind.add(event.document_id)
            return None
        # Between two tombstones was a row that is not known.
        is_doubtful = self._evidence.is_doubtful(previous, known, event)
        if is_doubtful or len(behind) > 1:
            self._completion.doubtful.add(event.row)
            return None
        return None if known is None else known.columns

    def _is_read_up_to(
        self,
        event: FoldableEvent,
        previous: str,
        at: _Rank,
        behind: list[Tombstone],
    ) -> bool:
        """Whether a document is known as it was when its key changed: the same change deleted it."""
        if any(rank[:2] >= at[:2] for rank, _ in self._in_order(previous)):
            return True
        return bool(behind) and self._evidence.is_of_change(
            behind[-1], event, self._records_before(event, at)
        )

    def _records_before(self, event: FoldableEvent, at: _Rank) -> Iterator[Marks]:
        """Records of an event's document that are older than the event."""
        for rank, other in self._in_order(event.document_id):
            if rank[:2] < at[:2]:
                yield marks(other.written) if isinstance(other, Head) else other.mark
                if isinstance(other, Head):
                    yield marks(other.deletes)
        for other in self._by_document.get(event.document_id, ()):
            if other.version is None and other.place < event.place:
                yield other.mark


def _is_below(deleted_at: _Rank | None, at: _Rank) -> bool:
    """Whether a delete follows an older one: what was written between them could not be used."""
    return deleted_at is not None and deleted_at[:2] < at[:2]


def _rank_of(ranked: tuple[_Rank, FoldableEvent | Head]) -> _Rank:
    return ranked[0]
