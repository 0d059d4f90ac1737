"""The contract with other teams, in both directions: types and docstrings, no behaviour.

Freshet implements `CorpusService`. An application team implements `BatchSubscriberService` in its own namespace and is
then notified of new batches. This module needs `nexusrpc`, which temporalio installs, and nothing else.

The contract only grows: a new field has a default, and a change of meaning gets a new service name. A field whose name
ends in `_ms` is a time in milliseconds since 1970-01-01 UTC, in `_us` one in microseconds. Batches become visible at
instants in microseconds; where such an instant is given in milliseconds, it is rounded up.
"""

from dataclasses import dataclass
from enum import StrEnum

import nexusrpc

CORPUS_ENDPOINT = "freshet-corpus"
"""Nexus endpoint that is no team's, unless the operator chose another name; each team calls an endpoint of its own."""

MAX_HITS = 100
"""Greatest number of hits of one search."""

MAX_RESPONSE_BYTES = 400_000
"""Greatest size of the hits of one search in JSON; longer texts are cut, and the response says so."""

MAX_CHANGES = 50
"""Greatest number of changes in one notice; `changes_left_out` counts the others."""

MAX_RANGES = 100
"""Greatest number of offset ranges in one notice."""


# ── search ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """A question to the corpus."""

    query: str  # 1 to 10,000 characters
    k: int = 10  # hits wanted, 1 to MAX_HITS
    mode: str = "hybrid"  # "vector", "text" or "hybrid"
    sources: tuple[str, ...] = ()  # empty: every source that the team is granted
    metadata: str = (
        ""  # a JSON object that the document's metadata must contain; empty: no filter
    )
    # Search what was visible at this time; at most one of the three. All None: now.
    as_of_ms: int | None = None
    as_of_us: int | None = None
    as_of_batch: int | None = (
        None  # a batch of the one source that is searched: when it became visible
    )
    # Of the end user on whose behalf the team asks; the team must be able to vouch for each. Empty: only what every
    # reader of the sources may see.
    groups: tuple[str, ...] = ()
    # "model": 30 hits of the mode, or k if that is more, are put in order by the reranking model of the installation,
    # and the k best are returned. It takes tenths of a second and more, and is refused where no model is configured.
    rerank: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentPart:
    """A part of a document that is a document of its own to whoever reads it: what is attached to an e-mail.

    It has the document's id, version and access list, and is there and gone with it.
    """

    number: int  # from 1, in the order of the document
    name: str  # as the mail has it, such as "levels.pdf"; at most 200 characters
    within: str  # subject of the mail; of a mail in a mail, those of all of them, joined by " > "
    media_type: str  # as recognised by its content
    start: int  # of the part in the cleaned document, in characters from 0
    end: int  # exclusive


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchHit:
    """A chunk that matches, and the origin of its document."""

    source: str
    document_id: str
    version: int  # of the document
    text: str  # of the chunk
    score: float  # greater is better; comparable within one response only
    position: int = 0  # of the chunk in its document, from 0
    # Of the chunk in the cleaned document, in characters from 0; a table's header that the text repeats is before it.
    start: int = 0
    heading: str | None = None  # headings above the chunk, joined by " > "
    title: str | None = None
    uri: str | None = None
    metadata: str = "{}"  # of the document; a JSON object
    chunk_id: int = 0
    batch: int = 0  # the batch that published this document version
    topic: str | None = None  # topic, partition and offset of the Kafka record
    partition: int | None = None
    offset: int | None = None
    event_at_ms: int | None = None  # time of the change, as the source states it
    observed_at_ms: int | None = None  # time at which the source last sent the document
    verified_at_ms: int | None = (
        None  # time at which the origin last confirmed the document
    )
    fresh_until_ms: int | None = (
        None  # the document expires then unless seen again; None: never
    )
    cut: bool = False  # `text` is the beginning of the chunk, or `metadata` is left out
    # Of the document version: the text search configuration of PostgreSQL, as "german"; "simple": without a dictionary.
    language: str | None = None
    # The part of the document that the chunk is in. Show its name in place of `title`, which is that of the document;
    # `heading` begins in the part. None: the chunk is in the text of the document itself.
    part: DocumentPart | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResponse:
    """The hits, best first. There are fewer than `k` only where no more match, or `hits_left_out` counts them."""

    hits: tuple[SearchHit, ...]
    cut: bool = False  # something is missing because of MAX_RESPONSE_BYTES
    hits_left_out: int = 0  # hits that did not fit even without their text
    reranked: int = (
        0  # hits that the reranking model put in order; `hits` are the best of them
    )


# ── describe ────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeRequest:
    """The source to describe."""

    source: str
    groups: tuple[
        str, ...
    ] = ()  # as in SearchRequest; `documents` counts what they see


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDescription:
    """State, size and freshness of a source."""

    source: str
    state: str  # "active", "paused", "halted" or "retired"
    state_reason: str | None = None  # why it is paused or halted
    documents: int = 0  # visible now
    last_batch: int = 0  # newest published batch; 0: none
    last_published_at_ms: int | None = None
    newest_event_at_ms: int | None = (
        None  # record time of the newest event in the corpus
    )
    # Status of the last check: "pass", "warn", "error" or "runtime error"; None: not checked yet.
    freshness: str | None = None
    checked_at_ms: int | None = None  # time of that check


# ── await ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class WaitOutcome(StrEnum):
    """How a wait ended."""

    RETRIEVABLE = "retrievable"  # searches return it
    UNCHANGED = (
        "unchanged"  # the corpus already had exactly that content, and has it now
    )
    DELETED = "deleted"  # the event is a delete, or the document was deleted
    SUPERSEDED = "superseded"  # the corpus has a greater version; `detail` names it
    EXPIRED = "expired"  # withdrawn as stale
    ERASED = "erased"  # erased on request
    DEAD_LETTERED = (
        "dead_lettered"  # the event could not be used; `detail` has the reason
    )
    # There is no such record, the source's rules ignore it, or what became of it is not kept; `detail` says which.
    NO_CHANGE = "no_change"
    NOT_PUBLISHED = (
        "not_published"  # the batch was rejected, held, withdrawn or passed over
    )
    SOURCE_UNKNOWN = "source_unknown"  # there is no such source
    SOURCE_HALTED = (
        "source_halted"  # an operator must act first; `detail` has the reason
    )
    SOURCE_RETIRED = "source_retired"  # the source is no longer configured
    TIMEOUT = "timeout"  # not yet; `detail` says what is missing


Why = WaitOutcome
"""The former name, kept for code that imports it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitFreshRequest:
    """What to wait for. Exactly one of the four targets is set."""

    source: str
    # Target 1: a Kafka record. `topic_id`, Kafka's id of the topic, may be left out: then the record is that of the log
    # that the corpus reads. A topic that is recreated has the same offsets again, under another id.
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    # Target 2: a document at a version.
    document_id: str | None = None
    version: int | None = None
    # Target 3: a batch.
    batch: int | None = None
    # Target 4: an event with this record time, or a later one, is in the corpus from every partition of the source. A
    # partition that receives no events holds up this wait; prefer target 1 where the producer knows the record.
    time_ms: int | None = None
    timeout_seconds: int = 3_600  # 0 to 2,592,000 (30 days); 0: check once, do not wait
    topic_id: str | None = None  # belongs to target 1
    groups: tuple[str, ...] = ()  # as in SearchRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitFreshResponse:
    """The result of a wait. It is about the target, and about the time at which it was decided."""

    reached: bool  # true for RETRIEVABLE and UNCHANGED only: searches return it
    why: WaitOutcome
    detail: str = ""  # one line for people
    batch: int | None = (
        None  # the batch of the target or of what decided it, where there is one
    )
    published_at_ms: int | None = None  # time at which that batch became visible
    published_at_us: int | None = None  # the same


@nexusrpc.service(name="freshet.corpus.v1")
class CorpusService:
    """What Freshet answers to other teams.

    Every operation may be repeated without harm. A request that is wrong fails with BAD_REQUEST, and the message says
    which value is wrong.

    A team calls its own endpoint, with a token in the header `freshet-team` (`corpus.access.client.SignedCalls` makes
    it). A call that no team claims fails with UNAUTHENTICATED, a right that the team lacks with UNAUTHORIZED, and a
    call above its quota with RESOURCE_EXHAUSTED and the seconds after which to call again; none is tried again. What is
    not granted does not exist: a source that the team may not read fails as one that there is not.
    """

    search: nexusrpc.Operation[SearchRequest, SearchResponse]
    """Retrieve chunks.

    Responds within ten seconds or fails with UNAVAILABLE, for instance where a batch that is being published may still
    change the answer as of a time. A document that has expired is returned only by a search as of a time at which it
    was visible.
    """

    describe_source: nexusrpc.Operation[DescribeRequest, SourceDescription]
    """Describe a source. Fails with NOT_FOUND where there is no such source."""

    await_fresh: nexusrpc.Operation[AwaitFreshRequest, AwaitFreshResponse]
    """Wait until the target is retrievable, never will be, or the timeout has passed.

    The wait is durable: it survives restarts of either side. Each call is a wait of its own, with its own timeout; to
    cancel it ends no other.
    """


# ── notices ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetRange:
    """Kafka offsets of one partition that a batch covers."""

    topic: str
    partition: int
    first_offset: int  # inclusive
    next_offset: int  # exclusive


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a batch did to one document."""

    document_id: str
    version: int
    change: str  # "written", "deleted" or "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchNotice:
    """A batch has become visible. The notice holds ids and counts, never a document's text."""

    notice_id: str  # "{source}:{batch}"; the same in every repetition
    source: str
    batch: int
    kind: str  # "ingest", "expiry", "erasure", "reembed", "correction" or "backfill"
    published_at_ms: int
    previous_batch: (
        int  # batch of the notice before this one, so that a gap shows; 0: none
    )
    documents_written: int = 0
    documents_deleted: int = 0
    documents_expired: int = 0
    chunks_opened: int = 0
    chunks_closed: int = 0
    reason: str | None = None  # of an expiry or erasure: the rule
    ranges: tuple[OffsetRange, ...] = ()  # at most MAX_RANGES
    changes: tuple[Change, ...] = ()  # at most MAX_CHANGES
    changes_left_out: int = 0  # changes of the batch that `changes` does not list
    published_at_us: int | None = (
        None  # exact; a search with `as_of_us` shows this batch and no later one
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeAck:
    """The team has stored the notice durably."""

    notice_id: str
    duplicate: bool = False  # the team had it already


@nexusrpc.service(name="freshet.subscriber.v1")
class BatchSubscriberService:
    """What an application team implements in order to be notified.

    Notices arrive in order per source, at least once, and never before the batch is visible. The handler must be
    idempotent on `notice_id`, respond within ten seconds, and respond only once it has stored the notice durably (for
    instance by handing it to a workflow).
    """

    batch_published: nexusrpc.Operation[BatchNotice, NoticeAck]
    """Take one notice.

    A HandlerError of type UNAVAILABLE or INTERNAL makes Freshet call again. An OperationError in state FAILED declines
    the notice; after three declines in a row the delivery is parked and its status says so. A parked delivery tries
    again every hour and when an operator resumes it. No notice is skipped.

    Where Freshet makes traces, the call has the header `traceparent` (W3C Trace Context).
    """
