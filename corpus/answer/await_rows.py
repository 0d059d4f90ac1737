"""The rows that decide a wait, each read by name."""

from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from psycopg.rows import class_row

from corpus.database import Connection
from corpus.sql import query

_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPosition:
    """Where a Kafka record is."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        """As people read it."""
        return f"{self.topic}/{self.partition}@{self.offset}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRow:
    """State of a source."""

    state: str  # a SourceStatus
    state_reason: str | None
    last_batch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRow:
    """A batch in the ledger, with its counts of records by outcome."""

    batch: int
    state: str  # a BatchState
    reason: str | None
    published_at_ms: int
    applied: int
    unchanged: int
    superseded: int
    ignored: int
    dead_lettered: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionRow:
    """How far a partition is applied, and which batch accounts for the record."""

    next_offset: int  # first offset that has no effect yet
    batch: int | None  # None: no batch covers the record


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRow:
    """A document at a version."""

    version: int
    kind: str  # "document" or "tombstone"
    visible: bool
    end_reason: str | None  # None while it is visible
    end_detail: str | None
    batch: int  # the batch that wrote this version
    document_id: str | None = None
    end_batch: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadRow:
    """The newest version of a document, visible or not."""

    version: int
    kind: str
    batch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterRow:
    """An event that could not be used."""

    reason: str
    detail: str
    batch: int
    value: bytes | None = None  # as it was received


@dataclass(frozen=True, slots=True, kw_only=True)
class NewestEventRow:
    """Record time of the newest event in the corpus."""

    newest_ms: int | None


class AwaitRows:
    """Reads the rows of one source."""

    def __init__(self, connection: Connection, source: str) -> None:
        self._connection = connection
        self._source = source

    def source(self) -> SourceRow | None:
        return self._row(SourceRow, "await_source")

    def batch(self, number: int) -> BatchRow | None:
        return self._row(BatchRow, "await_batch", batch=number)

    def position(self, record: RecordPosition) -> PositionRow | None:
        return self._row(PositionRow, "await_offset", **asdict(record))

    def record_dead_letter(
        self, record: RecordPosition, batch: int
    ) -> DeadLetterRow | None:
        key = asdict(record)
        return self._row(DeadLetterRow, "await_offset_dead_letter", batch=batch, **key)

    def record_version(self, record: RecordPosition, batch: int) -> VersionRow | None:
        """The document version that a record became, if it became one."""
        key = asdict(record)
        return self._row(VersionRow, "await_offset_document", batch=batch, **key)

    def version(self, document_id: str, version: int) -> VersionRow | None:
        key = {"document_id": document_id, "version": version}
        return self._row(VersionRow, "await_document_version", **key)

    def head(self, document_id: str) -> HeadRow | None:
        return self._row(HeadRow, "await_document_head", document_id=document_id)

    def document_dead_letters(self, document_id: str) -> list[DeadLetterRow]:
        """The newest events of a document that could not be used."""
        key = {"source": self._source, "document_id": document_id}
        with self._connection.cursor(row_factory=class_row(DeadLetterRow)) as cursor:
            cursor.execute(query("await_document_dead_letters"), key)
            return cursor.fetchall()

    def newest_event_ms(self) -> int | None:
        newest = self._row(NewestEventRow, "await_newest_event")
        return newest.newest_ms if newest else None

    def _row(self, kind: type[_Row], name: str, **parameters: Any) -> _Row | None:
        with self._connection.cursor(row_factory=class_row(kind)) as cursor:
            cursor.execute(query(name), {"source": self._source, **parameters})
            return cursor.fetchone()
