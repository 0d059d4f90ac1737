"""What an audit knows of a document: its records, its versions, and what the log can prove. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from corpus.audit.audit import AuditedPartition
from corpus.prepare.fold import (
    FoldableEvent,
    FoldedDocument,
    Place,
    fold,
    is_after,
)


class Origin(StrEnum):
    """What became of the record that a row names."""

    RECORD = "record"  # the log has it
    OTHER = "other"  # the log has a record of another document there
    UNREADABLE = "unreadable"  # it is no event any more: the settings were changed
    LOST = "lost"  # retention or compaction may have removed it
    NONE = "none"  # there never was one


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedRecord:
    """A record of the log, or a row of an inventory (query `audit_records_of`)."""

    document_id: str
    topic: str  # "": of an inventory
    partition: int
    topic_id: str
    record_offset: int
    op: str
    version: int | None
    record_version: int
    is_redriven: bool
    content_sha256: bytes | None
    description: str | None
    expires_at_ms: int | None
    was_dead_letter: bool

    @property
    def log(self) -> str:
        """As marks name it: redriven records have no order among themselves."""
        topic_id = "" if self.is_redriven else self.topic_id
        return f"{self.topic}/{self.partition}/{topic_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVersion:
    """A version of a document that is its head, or visible (query `audit_versions_of`)."""

    document_id: str
    document_key: int
    version: int
    kind: str
    is_head: bool
    is_visible: bool
    is_moved: bool  # published since the audit began
    is_ended: bool  # by a batch that the ledger has, or by none
    end_reason: str | None
    content_sha256: bytes | None
    uri: str | None
    title: str | None
    content_type: str | None
    metadata: Any
    acl: list[str] | None
    knows_language: bool  # what its event named is kept
    stated_language: str | None
    is_corrected: bool  # a person has given it this version
    is_past_end: bool  # readers no longer see it, and the next check withdraws it
    topic: str | None
    partition: int | None
    topic_id: str | None  # of its batch; None: not known
    record_offset: int | None
    # Of the record that it names; None: the log has none there.
    named_document: str | None
    named_outcome: str | None

    def description(self) -> dict[str, Any]:
        """What its event says, apart from the content."""
        return {
            "uri": self.uri,
            "title": self.title,
            "content_type": self.content_type,
            "metadata": self.metadata or {},
            "acl": self.acl,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the records of a document come to."""

    document: FoldedDocument
    winner: LoggedRecord | None  # None: only deletes without a version
    is_present: bool
    granting: LoggedRecord | None = None  # says who may read the document

    @property
    def version(self) -> int:
        """Of the winner; -1: there is none."""
        return self.document.winner_version

    def __str__(self) -> str:
        if not self.is_present:
            return "not visible"
        return f"version {shown_version(self.winner)} visible"


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What an audit knows of a document."""

    document_id: str
    records: Sequence[LoggedRecord]
    versions: Sequence[StoredVersion]
    inventory: LoggedRecord | None = None
    has_inventory: bool = (
        False  # the audit has one: a document that is not in it is none
    )

    @property
    def head(self) -> StoredVersion | None:
        """The newest known version."""
        heads = [version for version in self.versions if version.is_head]
        return max(heads, key=_by_version, default=None)

    @property
    def visible(self) -> list[StoredVersion]:
        """What readers see; at most one, or something is wrong."""
        shown = [version for version in self.versions if version.is_visible]
        return sorted(shown, key=_by_version)


def expected_of(records: Sequence[LoggedRecord]) -> Expected | None:
    """What these records come to; None: there is none."""
    if not records:
        return None
    folded = fold(
        FoldableEvent(
            row=row,
            document_id=record.document_id,
            version=record.version,
            says=row,
            place=Place(
                record.record_version,
                record.topic,
                record.partition,
                record.record_offset,
            ),
            log=record.log,
            expires_at_ms=record.expires_at_ms,
            is_upsert=record.op == "upsert",
        )
        for row, record in enumerate(records)
    )
    [document] = folded.documents.values()
    winner = None if document.winner is None else records[document.winner]
    is_deleted = is_after(document.deletes, document.written)
    is_upsert = winner is not None and winner.op == "upsert"
    granting = None if document.granting is None else records[document.granting]
    return Expected(
        document=document,
        winner=winner,
        is_present=is_upsert and not is_deleted,
        granting=granting,
    )


class Logs:
    """What an audit covers of each partition."""

    def __init__(self, partitions: Iterable[AuditedPartition]) -> None:
        self._by_key = {(one.topic, one.partition): one for one in partitions}

    def origin_of(self, version: StoredVersion) -> Origin:
        """What became of the record that a row names."""
        offset = version.record_offset
        if version.topic is None or offset is None:
            return Origin.NONE
        if version.named_outcome is not None:
            return _origin_of_named(version)
        known = self._by_key.get((version.topic, version.partition or 0))
        if known is None:
            return Origin.LOST  # the source no longer reads it
        if version.topic_id not in (None, known.topic_id):
            return Origin.LOST  # of an earlier topic of this name
        return Origin.NONE if _proves_absence(known, offset) else Origin.LOST


def _proves_absence(partition: AuditedPartition, offset: int) -> bool:
    """Whether a record that is not there never was, or was replaced."""
    is_beyond = offset >= partition.next_offset
    return is_beyond or partition.is_complete or partition.is_compacted


def _origin_of_named(version: StoredVersion) -> Origin:
    if version.named_outcome != "event":
        return Origin.UNREADABLE
    if version.named_document == version.document_id:
        return Origin.RECORD
    return Origin.OTHER


def read_again_from(document: Document) -> tuple[tuple[str, int, str, int], ...]:
    """From where the records of a document must be read, so that it becomes what they come to."""
    certain = [record for record in document.records if not record.was_dead_letter]
    expected = expected_of(certain)
    return () if expected is None else _needed(document, expected)


def floor_of(document: Document) -> dict[str, Any] | None:
    """The version that the records of a document come to, and the marks of those that say who may read it."""
    certain = [record for record in document.records if not record.was_dead_letter]
    expected = expected_of(certain)
    if expected is None:
        return None
    grants = expected.document.grants
    marks = {log: [one.offset, one.record_version] for log, one in grants.items()}
    return {"version": expected.version, "grants": marks}


def _needed(
    document: Document, expected: Expected
) -> tuple[tuple[str, int, str, int], ...]:
    """The oldest record of each partition that decides: of the winner's version, and deletes without one."""
    first: dict[tuple[str, int, str], int] = {}
    for record in document.records:
        if record.version is not None and record.version != expected.version:
            continue
        key = (record.topic, record.partition, record.topic_id)
        first[key] = min(first.get(key, record.record_offset), record.record_offset)
    return tuple((*key, offset) for key, offset in sorted(first.items()))


def _by_version(version: StoredVersion) -> tuple[int, int]:
    return (version.version, version.document_key)


def shown_version(record: LoggedRecord | None) -> str:
    """A version for people."""
    if record is None or record.version is None:
        return "unknown"
    return str(record.version)
