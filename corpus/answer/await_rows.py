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
    topic_id: str | None = None  # of the log; None: the log that the corpus reads

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
    """A batch in the ledger."""

    batch: int
    state: str  # a BatchState
    reason: str | None
    published_at_ms: int  # rounded up
    published_at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionRow:
    """How far a partition is applied."""

    topic_id: str  # of the log that the corpus reads
    next_offset: int  # first offset that has no effect yet


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRow:
    """What became of a record."""

    batch: int
    outcome: str | None  # None: the batch's range holds no such record
    op: str | None = None  # "upsert", "delete"; None: it is no usable event
    document_id: str | None = None
    version: int | None = None
    reason: str | None = None  # of a dead letter, or the rule that ignored it


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeRow:
    """The batch that accounts for a record."""

    batch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenRow:
    """The document version that a record wrote."""

    document_id: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRow:
    """A document at a version."""

    version: int
    kind: str  # "document" or "tombstone"
    visible: bool
    end_reason: str | None  # None while it is visible
    end_detail: str | None
    batch: int  # the batch that wrote this version


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentRow:
    """Whether a version says what a record said."""

    stands: bool


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
class PartitionRow:
    """A partition and the record time of its newest event in the corpus."""

    topic: str
    partition: int
    newest_ms: int | None  # None: it has none


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureRow:
    """The erasure of a document."""

    batch: int | None  # None: it is ordered


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
        key = {"topic": record.topic, "partition": record.partition}
        return self._row(PositionRow, "await_position", **key)

    def record(self, record: RecordPosition) -> RecordRow | None:
        """What became of a record of the log that it names; None: it is not kept."""
        return self._row(RecordRow, "await_record", **asdict(record))

    def range_batch(self, record: RecordPosition, read_id: str) -> int | None:
        """The batch that accounts for a record of the log that it names, if one does.

        Args:
            record: names its log.
            read_id: id of the log that the corpus reads; ranges of before logs were written down count as its ranges.
        """
        found = self._row(RangeRow, "await_range", read_id=read_id, **asdict(record))
        return found.batch if found else None

    def record_dead_letter(
        self, record: RecordPosition, batch: int
    ) -> DeadLetterRow | None:
        key = asdict(record)
        return self._row(DeadLetterRow, "await_offset_dead_letter", batch=batch, **key)

    def record_version(self, record: RecordPosition, batch: int) -> WrittenRow | None:
        """The document version that a record wrote, if it wrote one."""
        key = asdict(record)
        return self._row(WrittenRow, "await_offset_document", batch=batch, **key)

    def version(self, document_id: str, version: int) -> VersionRow | None:
        key = {"document_id": document_id, "version": version}
        return self._row(VersionRow, "await_document_version", **key)

    def content_stands(self, record: RecordPosition, wrote: RecordRow) -> bool:
        """Whether its version says what the record says; it was applied, or the version had its content then."""
        names = ("batch", "outcome", "document_id", "version")
        key = {name: getattr(wrote, name) for name in names}
        found = self._row(ContentRow, "await_content_stands", **asdict(record), **key)
        return found is None or found.stands

    def head(self, document_id: str) -> HeadRow | None:
        return self._row(HeadRow, "await_document_head", document_id=document_id)

    def document_dead_letters(self, document_id: str) -> list[DeadLetterRow]:
        """The newest events of a document that could not be used."""
        key = {"source": self._source, "document_id": document_id}
        with self._connection.cursor(row_factory=class_row(DeadLetterRow)) as cursor:
            cursor.execute(query("await_document_dead_letters"), key)
            return cursor.fetchall()

    def erasure(self, document_id: str) -> ErasureRow | None:
        """The erasure of a document that was not lifted."""
        return self._row(ErasureRow, "await_erasure", document_id=document_id)

    def partition_behind(self) -> PartitionRow | None:
        """The partition whose newest event in the corpus is the oldest; None: nothing was read yet."""
        return self._row(PartitionRow, "await_partition_behind")

    def _row(self, kind: type[_Row], name: str, **parameters: Any) -> _Row | None:
        with self._connection.cursor(row_factory=class_row(kind)) as cursor:
            cursor.execute(query(name), {"source": self._source, **parameters})
            return cursor.fetchone()
