"""Whether columns that are known of a row may be taken for a later change: what was written between the two.

1. A record that could not be used may have changed them. It is between where its version is, or, where its version is
   not known, its place in the log (of other logs, its time; `corpus.versions.marks`).
2. A row whose key changed was deleted under its old one by the same change. Deletes that name a version say which
   change they are of. A Kafka tombstone does not: it is of this change where Debezium's header names the new row, and
   no other record of the new row is between the two; or, without the header, where its partition is read beyond the
   time of the change. Else it may be of an earlier life of the key, and what came then is not read yet.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from psycopg.rows import class_row

from corpus.database import Connection, fetch_all
from corpus.dead_letter import DeadLetterReason
from corpus.prepare.events import JudgedEvents
from corpus.prepare.fold import FoldableEvent
from corpus.prepare.heads import Head
from corpus.source import SourceSpec, record_time_ms, record_version
from corpus.versions.comparison import ranked
from corpus.versions.marks import Mark, Marks, is_after, marks
from corpus.versions.scale import Ranked

# By how much the clocks of two brokers may differ, where a topic has the times of its brokers.
_SKEW_MS = 1_000


class Known(NamedTuple):
    """What is known of a row: the columns of one version."""

    columns: Mapping[str, Any] | None
    ranked: Ranked | None  # None: it is not known which
    written: Marks  # its first records; empty: they are not known


class Lost(NamedTuple):
    """A record of which it is not known what it says of its row."""

    ranked: Ranked | None  # None: nor which version it is
    mark: Marks


class Tombstone(NamedTuple):
    """A delete that names no version."""

    log: str
    mark: Mark
    next_id: str | None  # of the document that the row became, as the record says


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptColumns:
    """A row of the query `kept_columns_of`."""

    document_id: str
    columns: str
    # The tombstone that deleted it: log, offset, record version, id that its row became.
    tombstone: tuple[str, int, int, str | None] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Letter:
    """A row of the query `letters_of`."""

    document_id: str
    reason: str
    log: str
    record_offset: int
    time_ms: int | None
    version: int | None

    def lost(self) -> Lost:
        record = record_version(self.time_ms, self.record_offset)
        return _lost(self.version, {self.log: Mark(self.record_offset, record)})


@dataclass(frozen=True, slots=True, kw_only=True)
class _ReadTo:
    """A row of the query `newest_records`."""

    topic: str
    partition: int
    newest_ms: int | None


@dataclass(slots=True)
class Evidence:
    """Of the documents of a batch, and of those that they were."""

    own_first: bool
    waiting: set[str] = field(default_factory=set[str])
    """Documents with an open dead letter that waits for columns."""
    lost: dict[str, list[Lost]] = field(default_factory=dict[str, list[Lost]])
    tombstones: dict[str, list[Tombstone]] = field(
        default_factory=dict[str, list[Tombstone]]
    )
    read_to_ms: dict[str, int] = field(default_factory=dict[str, int])
    """By "topic/partition", the newest record time that is applied."""

    def is_doubtful(
        self, document_id: str, known: Known | None, at: FoldableEvent
    ) -> bool:
        """Whether a record of a document could not be used between what is known of it and a later change."""
        records = self.lost.get(document_id, ())
        if known is None:
            return bool(records)
        since = Lost(known.ranked, known.written)
        change = Lost(at.ranked, at.mark)
        return any(
            self._is_later(lost, since) and self._is_later(change, lost)
            for lost in records
        )

    def _is_later(self, one: Lost, other: Lost) -> bool:
        if one.ranked is not None and other.ranked is not None:
            if other.ranked.is_below(one.ranked, own_first=self.own_first):
                return True
            if one.ranked.is_below(other.ranked, own_first=self.own_first):
                return False
        if not one.mark or not other.mark:
            return True
        return is_after(one.mark, other.mark)

    def tombstones_between(
        self, document_id: str, known: Known | None, change: FoldableEvent
    ) -> list[Tombstone]:
        """The tombstones of a document behind what is known of it, up to a change, as they were written.

        Of those that name the same next document only the first: the others are that one sent again, or it is not of
        the change (`is_of_change`).
        """
        found = {
            one.mark: one
            for one in self.tombstones.get(document_id, ())
            if known is None
            or not known.written
            or is_after({one.log: one.mark}, known.written)
        }
        between: dict[Any, Tombstone] = {}
        for one in sorted(found.values(), key=lambda one: one.mark.record_version):
            if not _is_behind(one, change.log, change.mark[change.log], _SKEW_MS):
                between.setdefault(one.next_id or one.mark, one)
        return list(between.values())

    def is_of_change(
        self, tombstone: Tombstone, change: FoldableEvent, before: Iterable[Marks]
    ) -> bool:
        """Whether a tombstone of the old key is the other half of a change of the key.

        Args:
            tombstone: of the old key.
            change: of the new key.
            before: marks of the new key's records before the change.
        """
        if tombstone.next_id is not None:
            return tombstone.next_id == change.document_id and all(
                _is_behind(tombstone, log, mark)
                for each in before
                for log, mark in each.items()
            )
        time_ms = record_time_ms(change.place.record_version)
        partition = tombstone.log.rpartition("/")[0]
        return 0 < time_ms < self.read_to_ms.get(partition, 0)


def known_of_head(head: Head, kept: KeptColumns | None) -> Known:
    """What the corpus knows of a row. A delete with a version is the head in place of the version that it deleted."""
    columns = None if kept is None else json.loads(kept.columns)
    is_deleted = head.content_sha256 is None
    if is_deleted and (kept is None or kept.tombstone is None):
        return Known(columns, None, {})
    return Known(columns, head.ranked, marks(head.written))


def _is_behind(tombstone: Tombstone, log: str, mark: Mark, skew_ms: int = 0) -> bool:
    """Whether a tombstone was certainly written after a record."""
    if log == tombstone.log and not log.endswith("/"):
        return tombstone.mark.offset > mark.offset
    beyond = record_time_ms(mark.record_version) + skew_ms
    return record_time_ms(tombstone.mark.record_version) > beyond


def _lost(version: int | None, mark: Marks) -> Lost:
    return Lost(None if version is None else ranked(version, mark), mark)


def evidence_of(
    connection: Connection,
    events: JudgedEvents,
    spec: SourceSpec,
    heads: Mapping[str, Head],
    kept: Mapping[str, KeptColumns],
    document_ids: list[str],
) -> Evidence:
    """What the batch and the corpus have of some documents.

    Args:
        connection: to PostgreSQL.
        events: of the batch.
        spec: of the source.
        heads: of the documents.
        kept: what is kept of them.
        document_ids: of the documents.
    """
    evidence = Evidence(own_first=spec.own_first)
    values = {"source": spec.source, "document_ids": document_ids}
    for letter in fetch_all(connection, class_row(_Letter), "letters_of", values):
        if letter.reason == DeadLetterReason.COLUMN_WAITS:
            evidence.waiting.add(letter.document_id)
        else:
            evidence.lost.setdefault(letter.document_id, []).append(letter.lost())
    for event in events.unusable():
        lost = _lost(event.version, event.mark)
        evidence.lost.setdefault(event.document_id, []).append(lost)
    for event in events.usable():
        if event.version is None:
            next_id: str | None = events.value("next_id", event.row)
            [(log, mark)] = event.mark.items()
            found = evidence.tombstones.setdefault(event.document_id, [])
            found.append(Tombstone(log, mark, next_id))
    for document_id, head in heads.items():
        found = evidence.tombstones.setdefault(document_id, [])
        found += _tombstones_of(head, kept.get(document_id))
    for row in fetch_all(connection, class_row(_ReadTo), "newest_records", values):
        evidence.read_to_ms[f"{row.topic}/{row.partition}"] = row.newest_ms or 0
    return evidence


def _tombstones_of(head: Head, kept: KeptColumns | None) -> Iterable[Tombstone]:
    """Those that the corpus knows of a deleted document; without a note, not what its row became."""
    if head.content_sha256 is not None:
        return
    if kept is not None and kept.tombstone is not None:
        log, offset, record, next_id = kept.tombstone
        yield Tombstone(log, Mark(offset, record), next_id)
        return
    for log, mark in marks(head.deletes).items():
        yield Tombstone(log, mark, None)
