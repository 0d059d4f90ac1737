"""A batch: the unit of work, of publishing and of rollback.

States, one line per chain of transitions::

    STAGED ──prepare──► PREPARED ──embed──► EMBEDDED ──publish──► PUBLISHED
    EMBEDDED ──the corpus changed: prepare again──► STAGED
    STAGED, PREPARED, EMBEDDED ──give up──► REJECTED

Publishing is one transaction, so no state lies between EMBEDDED and PUBLISHED. An order that has no texts (an expiry)
passes through PREPARED and EMBEDDED with nothing to do. HELD (a gate waits for a person) and WITHDRAWN (an operator
took a published batch back) are named in the ledger's schema; no code reaches them yet.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

OUTCOMES_KEPT_DAYS = 30
"""How long the database keeps what became of each record; as long as the longest wait for one."""


class BatchKind(StrEnum):
    """The kind of a batch's order, as the ledger names it."""

    INGEST = "ingest"  # events from Kafka
    EXPIRY = "expiry"  # documents that were not seen for too long
    ERASURE = "erasure"  # documents that must be forgotten
    REEMBED = "reembed"  # same texts, new embedding space
    CORRECTION = "correction"  # a version that was a mistake
    BACKFILL = "backfill"  # events that are read again; no position moves


class BatchState(StrEnum):
    """How far a batch has come."""

    STAGED = "staged"  # its events are in the staging store
    PREPARED = "prepared"  # cleaned, split, compared with the corpus
    EMBEDDED = "embedded"  # every text has its vector
    PUBLISHED = "published"  # readers see it
    REJECTED = "rejected"  # given up after a permanent error; readers see nothing of it


_NEXT: dict[BatchState, frozenset[BatchState]] = {
    BatchState.STAGED: frozenset({BatchState.PREPARED, BatchState.REJECTED}),
    BatchState.PREPARED: frozenset({BatchState.EMBEDDED, BatchState.REJECTED}),
    BatchState.EMBEDDED: frozenset(
        {BatchState.PUBLISHED, BatchState.STAGED, BatchState.REJECTED},
    ),
    BatchState.PUBLISHED: frozenset(),
    BatchState.REJECTED: frozenset(),
}


def next_state(current: BatchState, wanted: BatchState) -> BatchState:
    """Return `wanted` if the diagram has that transition. Every state of a batch is set through this function.

    Raises:
        ValueError: the diagram has no such transition.
    """
    allowed = _NEXT[current]
    if wanted not in allowed:
        following = sorted(allowed)
        names = ", ".join(following) or "no other state"
        raise ValueError(
            f"a batch cannot go from {current} to {wanted}; from {current} it goes to {names}"
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
    next_offset: int  # exclusive; holes left by compaction are inside the range
    records: int
    staged_bytes: int  # size of the decoded contents, for limits; not the file's size
    url: str  # name in the staging store, relative to its root
    sha256: str  # of the file, hex; the reader verifies it
    staged_at_ms: int  # epoch milliseconds
    # `source.epoch` when the consumer read the events; references of older epochs are dropped after a rewind.
    epoch: int = 0
    traceparent: str = ""  # of the span that staged them; empty: no trace is made
    # Number of the backfill that reads them again; 0: the consumer read them.
    backfill: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedFile:
    """Pointer to a file in the staging store."""

    url: str  # relative to the store's root
    sha256: str  # hex
    rows: int
    file_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingest:
    """Order: publish staged events."""

    refs: tuple[BatchRef, ...]  # at least one

    def __post_init__(self) -> None:
        if not self.refs:
            raise ValueError(
                "an order to ingest needs at least one reference to staged events"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Expire:
    """Order: withdraw what is overdue.

    The rule is evaluated again in the publishing transaction, by the database's clock and by the source's rule of that
    moment.
    """

    request_id: str  # an order with the same id is accepted once
    rule: str  # for people and the ledger: "expire_after=30d"
    # Age since last observed or verified; None: only the `expires_at` of the events themselves.
    expire_after_seconds: int | None
    max_ratio: float = 1.0  # of the visible documents; above it the order is refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Correct:
    """Order: give a document another version in place of one that was a mistake.

    Nothing is changed where the document has another version by then, so a repeated order is harmless.
    """

    document_id: str
    old_version: int
    new_version: int  # lower
    reason: str  # for people and the ledger
    requested_by: str  # user and machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Erase:
    """Order: forget documents.

    Which ones, and why, is in the database (`freshet.erasure`) until they are erased: no history holds their ids. An
    erasure that was carried out is not carried out again, so a repeated order is harmless.
    """

    erasure: str  # a UUID


# What a batch does. `Reembed` and `Restore` will join; `assert_never` shows every place that must follow.
Order = Ingest | Expire | Correct | Erase


def staged_refs(order: Order) -> tuple[BatchRef, ...]:
    """Return the references whose staged events an order uses up."""
    match order:
        case Ingest():
            return order.refs
        case Expire() | Correct() | Erase():
            return ()
        case _:
            assert_never(order)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchInput:
    """Input of a BatchWorkflow: which batch, and its order.

    Build one with `BatchInput.of`, read its order with `order`. On the wire every kind of order has a field of its own
    (`refs`, and one per other kind), as it had before orders were types. Workflow histories keep that shape, and during
    an upgrade an old storer reads what a new entity writes and the other way round. Only this class uses these fields.

    Raises:
        ValueError: the fields do not hold exactly one order.
    """

    source: str
    batch: int  # counts up by one per source
    refs: tuple[BatchRef, ...]  # of Ingest; else empty
    first_in_line: bool  # no earlier batch of the source is in flight: publish without waiting for permission
    spec_revision: int = 0  # 0: the current one
    expire_documents: Expire | None = None  # Expire itself; else None
    correct_document: Correct | None = None  # Correct itself; else None
    erase_documents: Erase | None = None  # Erase itself; else None

    def __post_init__(self) -> None:
        others = (self.expire_documents, self.correct_document, self.erase_documents)
        orders = int(bool(self.refs)) + sum(order is not None for order in others)
        if orders != 1:
            raise ValueError(
                f"batch {self.batch} of source {self.source!r} holds {orders} orders instead of one"
            )

    @classmethod
    def of(
        cls, order: Order, *, source: str, batch: int, first_in_line: bool
    ) -> "BatchInput":
        """Return the input for a batch that carries out `order`."""
        refs: tuple[BatchRef, ...] = ()
        expire, correct, erase = None, None, None
        match order:
            case Ingest():
                refs = order.refs
            case Expire():
                expire = order
            case Correct():
                correct = order
            case Erase():
                erase = order
            case _:
                assert_never(order)
        return cls(
            source=source,
            batch=batch,
            refs=refs,
            first_in_line=first_in_line,
            expire_documents=expire,
            correct_document=correct,
            erase_documents=erase,
        )

    @property
    def order(self) -> Order:
        """What the batch does."""
        if self.expire_documents is not None:
            return self.expire_documents
        if self.correct_document is not None:
            return self.correct_document
        if self.erase_documents is not None:
            return self.erase_documents
        return Ingest(refs=self.refs)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareRequest:
    """Input of the prepare step."""

    source: str
    batch: int
    refs: tuple[BatchRef, ...]
    progress: StagedFile | None = None
    """What the attempts before have prepared; workflows leave it empty."""
    bad_ends: int = 0
    """Attempts before that ended in an unknown error or with their process; workflows leave it empty."""

    @property
    def again(self) -> bool:
        """Whether a backfill reads the records: all references of a batch are of one, or none is."""
        return self.refs[0].backfill > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedFrom:
    """First offset of one partition that was prepared; earlier ones are applied or belong to another batch."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedBatch:
    """Result of the prepare step: pointers and counts."""

    source: str
    batch: int
    events: StagedFile  # one row per record read, with its outcome so far
    documents: StagedFile  # one row per document that may be written
    chunks: StagedFile  # one row per chunk of those documents
    texts: StagedFile  # one row per text that the embedding space has not seen; may be empty
    model: str  # as configured
    prefix: str  # put before every text
    space_id: int
    space_fingerprint: str
    pipeline: str  # fingerprint of the preparation
    context: str = "none"  # what is put above every text
    weight: float = 1.0  # of the source's share of the model
    # One per partition; publishing begins there or not at all.
    starts: tuple[PreparedFrom, ...] = ()
    prepared_ms: int = 0  # time taken
    # Highest version that the source had accepted (-1: none), and with this batch; None: of a preparer of a version
    # before 2026-11-26.
    highest_known: int | None = None
    highest_accepted: int | None = None
    # Events that are dead letters, since their versions are higher.
    versions_beyond: int = 0


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
    context: str = "none"  # that the texts have above them
    weight: float = 1.0  # of the source's share of the model
    part: int = 0  # of an embedder that helps another one: which one of `parts`
    parts: int = 1
    bad_ends: int = 0
    """Attempts before that ended in an unknown error or with their process; workflows leave it empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedBatch:
    """Result of the embed step."""

    embedded: int  # texts that this attempt sent through the model
    found: int  # texts that had a vector, from another batch, embedder or attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishRequest:
    """Input of the publish step."""

    batch: BatchInput
    prepared: PreparedBatch | None  # None for orders that have nothing to prepare
    workflow_id: str
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchReport:
    """Outcome of a batch: the ledger's row, in short."""

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
    deletes_without_document: int = 0  # of what was never there; a key may be wrong
    chunks_opened: int = 0
    chunks_closed: int = 0
    chunks_reused: int = 0
    texts_embedded: int = 0
    published_at_ms: int = 0
    # Whose deliveries the batch itself wakes: storers of versions before 2026-11-26 name them.
    subscribers: tuple[str, ...] = ()
    notified: int = 0  # subscribers; the source's entity wakes their deliveries
    detail: str = ""  # for REJECTED: why


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedSource:
    """What a source's entity reads from the database when it starts."""

    last_batch: int  # newest number in the ledger
    max_records: int  # per batch
    max_bytes: int  # per batch
    max_in_flight: int  # batches that run side by side
    epoch: int = 0
    state: str = ""  # a SourceStatus; "": a storer of a version before 2026-11-26
    reason: str = ""  # why it is paused or halted
    due: int = 0  # subscribers that have a batch to be notified of


@dataclass(frozen=True, slots=True, kw_only=True)
class RewoundSource:
    """Result of a rewind."""

    epoch: int  # of the source, after it
    # Whether the source is halted now; None: a storer of a version before 2026-11-26, which halts where it should.
    halted: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RewindRequest:
    """Input of the rewind: move the consumer back to the position row; with `halt`, also stop the source."""

    source: str
    reason: str
    halt: bool
    # In which the batch failed. Where the source is in another epoch, a person or another attempt has moved it since,
    # and nothing is changed. None: an entity of a version before 2026-11-26.
    epoch: int | None = None


def batch_workflow_id(source: str, batch: int) -> str:
    """Return the workflow id of a batch; a repeated start of the same number uses the same id."""
    return f"batch:{source}:{batch}"
