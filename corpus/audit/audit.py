"""An audit: does the corpus equal its source? Its order, its cursor, what it finds and what repairs that.

Phases, in order; each is a number of steps, and a step is one activity::

    begin ─► replay ─► documents ─► ledger ─► texts ─► search ─► vectors ─► staged ─► finish ─► done

"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

DEFAULT_SAMPLE = 1_000
# Documents of a full audit that are cleaned, embedded and searched for, beside comparing all of them.
DEFAULT_DEEP = 200
DEFAULT_RATE = 5_000
# Below it, a vector belongs to another text: bf16 and fp32 differ by less than 0.0005, another text by far more.
MIN_COSINE = 0.98
# An audit is overdue when it is later than this many of its intervals.
OVERDUE_INTERVALS = 2


class Phase(StrEnum):
    """What an audit does next."""

    BEGIN = "begin"  # note the published position
    REPLAY = "replay"  # read the records up to it
    DOCUMENTS = "documents"  # compare every document, its chunks and their vectors
    LEDGER = "ledger"  # add up batches, ranges, positions and notices
    TEXTS = "texts"  # clean and split documents of a sample again
    SEARCH = "search"  # search for chunks of a sample
    VECTORS = "vectors"  # embed chunks of a sample again
    STAGED = "staged"  # look for the staged files of batches in flight
    FINISH = "finish"  # write the result
    DONE = "done"


_ORDER = tuple(Phase)


def after(phase: Phase) -> Phase:
    """The phase that follows."""
    return _ORDER[_ORDER.index(phase) + 1]


class FindingKind(StrEnum):
    """How the corpus differs from its source. The names are stable."""

    MISSING = "missing"  # a document is not visible, and should be
    EXTRA = "extra"  # a document is visible, and no record accounts for it
    STALE = "stale"  # an older version is visible
    NEWER = "newer"  # a version is visible that no record has
    DUPLICATE = "duplicate"  # two versions of a document are visible
    WRONG_CONTENT = "wrong_content"  # of the right version
    WRONG_METADATA = "wrong_metadata"  # of the right version and content
    CHUNK_WITHOUT_DOCUMENT = "chunk_without_document"
    DOCUMENT_WITHOUT_CHUNKS = "document_without_chunks"
    CHUNKS_DIFFER = "chunks_differ"  # from what splitting the document gives
    TEXT_HASH_DIFFERS = "text_hash_differs"  # from the chunk's text
    WRONG_SPACE = "wrong_space"
    VECTOR_MISSING = "vector_missing"  # of audits before vectors were stored once
    VECTOR_OF_OTHER_TEXT = "vector_of_other_text"
    # By what the model gives, though not by its hash.
    STORED_VECTOR_OF_OTHER_TEXT = "stored_vector_of_other_text"
    SEARCH_TEXT_DIFFERS = "search_text_differs"  # from what text search needs
    NOT_FOUND_BY_SEARCH = "not_found_by_search"
    LEDGER_DOES_NOT_ADD_UP = "ledger_does_not_add_up"
    NOTICE_MISSING = "notice_missing"
    STAGED_FILE_MISSING = "staged_file_missing"


class Remedy(StrEnum):
    """What a repair does about a finding."""

    READ_AGAIN = "read_again"  # the document's records replace what is visible
    WITHDRAW = "withdraw"  # by an expiry, which the entity publishes
    CLOSE = "close"  # a chunk that belongs to no document
    INDEX_AGAIN = "index_again"  # the chunk's search text
    NOTIFY = "notify"  # the subscriber's cursor goes back
    BY_HAND = "by_hand"  # a person must look: see the runbook


_REMEDIES: dict[FindingKind, Remedy] = {
    FindingKind.EXTRA: Remedy.WITHDRAW,
    FindingKind.CHUNK_WITHOUT_DOCUMENT: Remedy.CLOSE,
    FindingKind.SEARCH_TEXT_DIFFERS: Remedy.INDEX_AGAIN,
    FindingKind.NOT_FOUND_BY_SEARCH: Remedy.BY_HAND,
    FindingKind.LEDGER_DOES_NOT_ADD_UP: Remedy.BY_HAND,
    FindingKind.NOTICE_MISSING: Remedy.NOTIFY,
    FindingKind.STAGED_FILE_MISSING: Remedy.BY_HAND,
}


class NotJudged(StrEnum):
    """Why something was not judged; counted, never reported as a finding."""

    RECORD_NOT_IN_LOG = "record_not_in_log"  # retention or compaction removed it
    DECODED_OTHERWISE = "decoded_otherwise"  # the settings were changed since
    MOVED = "moved"  # published since the audit began, or being read again
    CORRECTED = "corrected"  # a person has given it another version
    PREPARED_OTHERWISE = "prepared_otherwise"  # by an older version, or other settings
    NOT_TRIED = "not_tried"  # neither of these: it cannot be compared


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOrder:
    """Input of the workflow: what to audit."""

    source: str
    sample: int = 0  # documents; 0: all of them
    deep: int = DEFAULT_DEEP  # documents that are cleaned, embedded, searched for
    rate: int = DEFAULT_RATE  # records, or documents, per second; 0: no limit
    audit: int = 0  # number of an audit that a command has begun; 0: none has
    inventory: bool = False  # its rows are there


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditCursor:
    """How far an audit is: input and result of every step."""

    order: AuditOrder
    phase: Phase = Phase.BEGIN
    audit: int = 0  # its number; 0: not begun
    partition: int = 0  # index into what it audits
    offset: int = -1  # next one to be read there; -1: its beginning
    after: str = ""  # last document id, or number, of the page before
    cost: int = 0  # records or documents of the last step
    counts: dict[str, int] = field(default_factory=dict[str, int])
    run_id: str = ""  # of the workflow that began it
    workflow_id: str = ""

    @property
    def is_full(self) -> bool:
        """Whether every document is compared."""
        return not self.order.sample


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditResult:
    """Result of the workflow: pointers and counts."""

    audit: int
    source: str
    findings: dict[str, int] = field(default_factory=dict[str, int])  # by kind
    counts: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def is_clean(self) -> bool:
        """Whether nothing differs."""
        return not self.findings


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFailure:
    """Why an audit has no result."""

    audit: int  # its number; 0: it had none yet
    run_id: str  # of the workflow that began it
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One difference between the corpus and its source."""

    kind: FindingKind
    document_id: str = ""
    subject: str = ""  # which chunk, partition, batch, subscriber or file
    chunk_id: int | None = None
    document_key: int | None = None
    expected: str = ""
    actual: str = ""
    records: tuple[tuple[str, int, str, int], ...] = ()
    """Topic, partition, topic id, offset: from where the document's records must be read again."""
    floor: Mapping[str, Any] | None = None
    """What the records come to (`corpus.audit.evidence.floor_of`): nothing below it shows while they are read again."""

    @property
    def remedy(self) -> Remedy:
        """What a repair does about it. A document that its records delete is deleted by them."""
        if self.kind is FindingKind.EXTRA and self.records:
            return Remedy.READ_AGAIN
        return _REMEDIES.get(self.kind, Remedy.READ_AGAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedPartition:
    """A partition of the log, and how much of it an audit covers."""

    topic: str
    partition: int
    topic_id: str
    first_offset: int  # oldest record that the log has
    next_offset: int  # exclusive: the published position
    is_complete: bool  # the log has every record that was ever ingested from it
    # The log is compacted only, and every record's key names its document: it has the newest record of each.
    is_compacted: bool = False
    # From here on records are being read again, as after a repair; None: they are not.
    again_from: int | None = None


def audit_workflow_id(source: str) -> str:
    """Workflow id of a source's audit; one runs at a time."""
    return f"audit:{source}"


def counted(counts: dict[str, int], **more: int) -> dict[str, int]:
    """The counts with more added."""
    result = dict(counts)
    for name, number in more.items():
        if number:
            result[name] = result.get(name, 0) + number
    return result
