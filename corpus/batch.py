"""A batch: the unit of work, of publishing and of rollback.

::

    STAGED ──prepare──► PREPARED ──embed──► EMBEDDED ──upsert, publish──► PUBLISHED
       │                   │                   │
       └───────────────────┴───────────────────┴──► REJECTED   (given up: the source halts, nothing is skipped)

Upsert and publish are one transaction, so no state lies between them. HELD (a gate waits for a person) and WITHDRAWN
(an operator took a published batch back) are named in the ledger's schema and reached by later work.
"""

from dataclasses import dataclass, field
from enum import StrEnum


class BatchKind(StrEnum):
    """Why a batch exists."""

    INGEST = "ingest"  # events from Kafka
    EXPIRY = "expiry"  # documents that were not seen for too long
    ERASURE = "erasure"  # documents that must be forgotten
    REEMBED = "reembed"  # same texts, new embedding space


class BatchState(StrEnum):
    """Where a batch stands."""

    STAGED = "staged"  # its events lie in the staging store
    PREPARED = "prepared"  # cleaned, split, compared with what is there
    EMBEDDED = "embedded"  # every text has its vector
    PUBLISHED = "published"  # readers see it
    REJECTED = "rejected"  # given up; nothing of it is visible


_NEXT: dict[BatchState, frozenset[BatchState]] = {
    BatchState.STAGED: frozenset({BatchState.PREPARED, BatchState.REJECTED}),
    BatchState.PREPARED: frozenset({BatchState.EMBEDDED, BatchState.REJECTED}),
    BatchState.EMBEDDED: frozenset({BatchState.PUBLISHED, BatchState.REJECTED}),
    BatchState.PUBLISHED: frozenset(),
    BatchState.REJECTED: frozenset(),
}


def next_state(current: BatchState, wanted: BatchState) -> BatchState:
    """Return `wanted` if the diagram has that arrow.

    Raises:
        ValueError: there is no such arrow.
    """
    if wanted not in _NEXT[current]:
        raise ValueError(
            f"a batch cannot go from {current} to {wanted}; from there it goes to {sorted(_NEXT[current])}"
        )
    return wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRef:
    """Pointer to staged events: one contiguous offset range of one partition (claim check)."""

    source: str
    cluster_id: str
    topic: str
    topic_id: str  # Kafka's id of the topic; changes when the topic is recreated
    partition: int
    first_offset: int  # inclusive
    next_offset: int  # exclusive; holes left by compaction or transactions are inside the range
    records: int
    staged_bytes: int  # size of the decoded contents, for limits; not the file's size
    url: str  # name in the staging store, relative to its root
    sha256: str  # of the file, hex; the reader verifies it
    staged_at_ms: int  # epoch milliseconds
    epoch: int = (
        0  # `source.epoch` when the consumer read it; older ones are dropped after a rewind
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedFile:
    """Pointer to a file in the staging store."""

    url: str  # relative to the store's root
    sha256: str  # hex
    rows: int
    file_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchInput:
    """What a BatchWorkflow needs to know."""

    source: str
    batch: int  # counts up by one a source
    refs: tuple[BatchRef, ...]
    first_in_line: bool  # true: nothing of this source is in flight before it, publish without waiting for a turn
    spec_revision: int = 0  # 0: whatever is current
    expire_documents: "ExpiryOrder | None" = None  # set for kind expiry; refs is empty then


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiryOrder:
    """Withdraw what is overdue. The rule is judged again in the publishing transaction, by the database's clock."""

    request_id: str
    rule: str  # for people and the ledger: "expire_after=30d"
    expire_after_seconds: (
        int | None
    )  # age since last observed or verified; None: only the events' own `expires_at`
    max_ratio: float = 1.0  # of the visible documents; above it the order is refused


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareRequest:
    """Input of the prepare step."""

    source: str
    batch: int
    refs: tuple[BatchRef, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedFrom:
    """Where the events of one partition begin that were prepared: what lies before it was applied, or is another batch's."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedBatch:
    """Result of the prepare step: pointers and counts."""

    source: str
    batch: int
    events: StagedFile  # one row a record read, with its outcome so far
    documents: StagedFile  # one row a document that may be written
    chunks: StagedFile  # one row a chunk of those documents
    texts: StagedFile  # one row a text that the embedding space has not seen; may be empty
    model: str  # as configured
    prefix: str  # put before every text
    space_id: int
    space_fingerprint: str
    pipeline: str  # fingerprint of the preparation
    starts: tuple[PreparedFrom, ...] = ()  # one a partition; publishing begins there or not at all
    prepared_ms: int = 0  # time taken


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedRequest:
    """Input of the embed step."""

    source: str
    batch: int
    texts: StagedFile
    model: str
    prefix: str
    space_id: int
    space_fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedBatch:
    """Result of the embed step."""

    embedded: int  # texts this attempt sent through the model
    found: int  # texts somebody else had embedded in between


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishRequest:
    """Input of the publish step."""

    batch: BatchInput
    prepared: PreparedBatch | None  # None for expiry
    workflow_id: str
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchReport:
    """What became of a batch; the ledger's row, in short."""

    source: str
    batch: int
    kind: BatchKind
    state: BatchState
    records: int = 0
    applied: int = 0
    unchanged: int = 0
    superseded: int = 0
    dead_lettered: int = 0
    ignored: int = 0
    documents_written: int = 0
    documents_deleted: int = 0
    documents_expired: int = 0
    chunks_opened: int = 0
    chunks_closed: int = 0
    chunks_reused: int = 0
    texts_embedded: int = 0
    published_at_ms: int = 0
    subscribers: tuple[str, ...] = field(default=())  # to be told
    detail: str = ""  # for REJECTED: why


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedSource:
    """What a source's entity starts from, out of the database."""

    last_batch: int  # newest number in the ledger
    max_records: int  # a batch
    max_bytes: int  # a batch
    max_in_flight: int  # batches side by side
    epoch: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RewoundSource:
    """Where the source stands after a rewind."""

    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RewindRequest:
    """Move the consumer back to the position row; with `halt`, stop the source until a person resumes it."""

    source: str
    reason: str
    halt: bool


def batch_workflow_id(source: str, batch: int) -> str:
    """Workflow id of a batch; one run a number, whatever is repeated."""
    return f"batch:{source}:{batch}"
