"""The contract with other teams, both directions: types and docstrings, no behaviour.

`CorpusService` is what Freshet answers; `BatchSubscriberService` is what an application team implements in its own
namespace to be told. Importing this needs temporalio's `nexusrpc` and nothing else. Fields are only ever added, with
defaults; a change of meaning is a new service name. Times are epoch milliseconds, UTC.
"""

from dataclasses import dataclass
from enum import StrEnum

import nexusrpc

CORPUS_ENDPOINT = "freshet-corpus"
"""Nexus endpoint under which Freshet answers, unless the operator named it otherwise."""

MAX_HITS = 100
"""Most hits of one search."""

MAX_CHANGES = 50
"""Most changes named in one notice; `changes_left_out` counts the others."""

MAX_RANGES = 100
"""Most offset ranges named in one notice or answer."""


# ── search ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """A question to the corpus."""

    query: str  # 1 .. 10,000 characters
    k: int = 10  # 1 .. MAX_HITS
    mode: str = "hybrid"  # "vector", "text" or "hybrid"
    sources: tuple[str, ...] = ()  # empty: every source
    metadata: str = ""  # a JSON object that the document's metadata must contain; empty: no filter
    as_of_ms: int | None = None  # None: now


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchHit:
    """A chunk that was found, with where it comes from."""

    source: str
    document_id: str
    version: int
    text: str
    score: float  # comparable within one answer only
    position: int = 0  # of the chunk in its document, from 0
    start: int = 0  # character offset in the cleaned document
    heading: str | None = None
    title: str | None = None
    uri: str | None = None
    metadata: str = "{}"  # a JSON object
    chunk_id: int = 0
    batch: int = 0  # that brought this document version
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    event_at_ms: int | None = None  # the source's own time of the change
    observed_at_ms: int | None = None  # last time the source sent the document
    verified_at_ms: int | None = None  # last time it was asked for at its origin
    fresh_until_ms: int | None = None  # when it will be withdrawn unless seen again; None: never


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResponse:
    """What was found, best first. Fewer than `k` only where no more is visible."""

    hits: tuple[SearchHit, ...]


# ── describe ────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeRequest:
    """Which source."""

    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDescription:
    """How a source stands."""

    source: str
    state: str  # "active", "paused", "halted", "retired"
    state_reason: str | None = None
    documents: int = 0  # visible now
    last_batch: int = 0
    last_published_at_ms: int | None = None
    newest_event_at_ms: int | None = None  # record time of the newest event that is in the corpus
    freshness: str | None = (
        None  # of the last check: "pass", "warn", "error", "runtime error"; None: not checked yet
    )
    checked_at_ms: int | None = None


# ── await ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class Why(StrEnum):
    """Why a wait ended."""

    RETRIEVABLE = "retrievable"  # it is there
    UNCHANGED = "unchanged"  # the corpus already had exactly that
    DELETED = "deleted"  # the event is a delete, or the document was deleted
    SUPERSEDED = "superseded"  # a greater version is there; detail says which
    EXPIRED = "expired"  # withdrawn as stale
    ERASED = "erased"  # forgotten on request
    DEAD_LETTERED = "dead_lettered"  # could not be used; detail says why
    NO_CHANGE = "no_change"  # handled without effect: superseded, ignored or unchanged; detail counts its batch
    NOT_PUBLISHED = "not_published"  # the batch was rejected, held or withdrawn
    SOURCE_UNKNOWN = "source_unknown"
    SOURCE_HALTED = "source_halted"  # somebody must act first; detail says on what
    SOURCE_RETIRED = "source_retired"
    TIMEOUT = "timeout"  # not yet; detail says what is missing


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitFreshRequest:
    """Wait until something is retrievable. Exactly one of the four ways to name it."""

    source: str
    topic: str | None = None  # 1: a Kafka record: topic, partition and offset
    partition: int | None = None
    offset: int | None = None
    document_id: str | None = None  # 2: a document at a version
    version: int | None = None
    batch: int | None = None  # 3: a batch
    time_ms: int | None = (
        None  # 4: a moment: an event with this record time, or a later one, is in the corpus
    )
    timeout_seconds: int = 3_600  # 0: look once; at most 30 days


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitFreshResponse:
    """The end of the wait."""

    reached: bool  # true for RETRIEVABLE and UNCHANGED only
    why: Why
    detail: str = ""  # one line for people
    batch: int | None = None  # where it was decided
    published_at_ms: int | None = None


@nexusrpc.service(name="freshet.corpus.v1")
class CorpusService:
    """What Freshet answers to other teams. Handlers are idempotent; bad input is BAD_REQUEST with a reason."""

    search: nexusrpc.Operation[SearchRequest, SearchResponse]
    """Retrieve chunks. Answers within ten seconds or fails; never returns an expired document unless asked as of before."""

    describe_source: nexusrpc.Operation[DescribeRequest, SourceDescription]
    """How a source stands. NOT_FOUND for one that does not exist."""

    await_fresh: nexusrpc.Operation[AwaitFreshRequest, AwaitFreshResponse]
    """Complete when something is retrievable, or say why it never will be. Durable: survives restarts of either side."""


# ── notices ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetRange:
    """Kafka offsets that a batch covers."""

    topic: str
    partition: int
    first_offset: int  # inclusive
    next_offset: int  # exclusive


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What happened to one document."""

    document_id: str
    version: int
    change: str  # "written", "deleted", "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchNotice:
    """A batch is visible. A manifest: ids and counts, never a document's text."""

    notice_id: str  # "{source}:{batch}"; the same on every repeat
    source: str
    batch: int
    kind: str  # "ingest", "expiry", "erasure", "reembed"
    published_at_ms: int
    previous_batch: int  # 0: the first; lets a receiver see that it missed nothing
    documents_written: int = 0
    documents_deleted: int = 0
    documents_expired: int = 0
    chunks_opened: int = 0
    chunks_closed: int = 0
    reason: str | None = None  # for expiry and erasure: the rule
    ranges: tuple[OffsetRange, ...] = ()  # at most MAX_RANGES
    changes: tuple[Change, ...] = ()  # at most MAX_CHANGES
    changes_left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeAck:
    """The team has it, durably."""

    notice_id: str
    duplicate: bool = False


@nexusrpc.service(name="freshet.subscriber.v1")
class BatchSubscriberService:
    """What an application team implements to be told.

    Notices come in order a source, at least once, never before the batch is visible. The handler must be idempotent on
    `notice_id`, answer within ten seconds, and answer only when it holds the notice durably (hand it to a workflow).
    """

    batch_published: nexusrpc.Operation[BatchNotice, NoticeAck]
    """Raise an unavailable or internal HandlerError to be asked again; an OperationError(FAILED) declines: after a few
    of those the delivery is parked, visibly, until an operator resumes it; nothing is skipped."""
