"""The whole state of a source's entity workflow, and the pure rules that change it.

Nothing in here calls Temporal, so every rule can be tested without a server.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from corpus.batch import BatchRef, Correct, Erase, Expire, Ingest, Order
from corpus.source import SourceSpec, SourceStatus

# The first batch of a source that was not behind is small, so that something is searchable soon, and each may be this
# many times as large as the one before it. So a long backlog has batches of the full size from the fourth on.
FIRST_BATCH_BYTES = 32_000
BATCH_GROWTH = 4
# The full size of a batch, before it is known what embedding costs; it then follows that.
FIRST_BUDGET_BYTES = 500_000
MIN_BUDGET_BYTES = 125_000
# A batch that embedded fewer texts than this was cheap, so the next may be larger; above the other limit, smaller.
CHEAP_TEXTS = 250
COSTLY_TEXTS = 1_000
# Batches that take longer than this are slow: the service is behind, or their texts are many. Then an order of less
# than `FIRST_BATCH_BYTES` is not worth a batch beside those that run.
SLOW_BATCH_SECONDS = 3.0
# References of one batch: some 450 bytes each, and the server takes 2 MB for a workflow's input.
MAX_REFERENCES = 1_000
# Batches of new records that a waiting part of a backfill lets pass before it.
LIVE_BATCHES_PER_BACKFILL = 4
# Ids of expiry orders that are remembered to recognise a repeated signal.
_MAX_EXPIRY_REQUESTS = 50


class Acceptance(StrEnum):
    """What became of a signalled order."""

    ACCEPTED = "accepted"
    REPEATED = "repeated"  # the same range already waits or is in flight; the same expiry was accepted
    OUTDATED = "outdated"  # read before the last rewind


class Patch(StrEnum):
    """Ids of `workflow.patched`: histories of runs that started before a change lack them and replay the old way."""

    NEWER_EPOCH_OUTDATES = "newer-epoch-outdates-what-waits"
    CANCELLED_EXPIRY_WAITS = "cancelled-expiry-waits-again"
    ROW_DECIDES = "row-decides-epoch-and-halt"
    EXPIRY_READS_ROW = "expiry-while-halted-reads-row"
    REFUSED_REWIND = "refused-rewind-drops-what-waits"
    ORPHAN_IS_CANCELLED = "orphan-of-same-number-is-cancelled"
    FORGED_IS_DROPPED = "forged-reference-is-dropped"
    SHORT_RUNS = "runs-of-a-thousand-events"
    BATCHES_GROW = "batches-grow-while-behind"
    SMALL_ORDERS_WAIT = "small-orders-wait-behind-slow-batches"


@dataclass(kw_only=True)
class SourceState:
    """Everything that the entity knows: argument of the next run and answer to the query `status`.

    Field names are on the wire, in the histories of running workflows too; a new field needs a default.

    Attributes:
        furthest: partition key -> furthest offset of the references that wait or are in flight. Derived from `pending`
            and `in_flight` and therefore no field: it is not on the wire. It may be too high, never too low.
    """

    source: str
    max_records: int = 5_000  # per batch
    max_bytes: int = 8_000_000  # per batch
    max_in_flight: int = 3  # batches that run side by side
    loaded: bool = False  # whether limits and last batch were read from the database
    next_batch: int = 1
    budget_bytes: int = FIRST_BUDGET_BYTES
    epoch: int = 0  # references of an older epoch are dropped
    paused: bool = False
    halted: str = ""  # the reason; empty: not halted
    rewinds: int = 0  # since everything that failed was last published
    # "topic/partition" -> lowest offset of a failed batch that was not published since
    stuck: dict[str, int] = field(default_factory=dict[str, int])
    pending: list[BatchRef] = field(default_factory=list[BatchRef])
    in_flight: list[BatchRef] = field(
        default_factory=list[BatchRef]
    )  # of batches that run now
    expiries: list[Expire] = field(default_factory=list[Expire])  # at most one waits
    expiry_requests: list[str] = field(default_factory=list[str])  # newest ids
    corrections: list[Correct] = field(default_factory=list[Correct])  # oldest first
    repeated: int = 0  # references dropped as repeats
    published: int = 0  # batches, over all runs
    # `source.state` when the row was last read; "": not read yet, or by a storer of a version before 2026-11-26
    row_state: str = ""
    # References of another epoch than `epoch`: they wait until the row was read, which decides.
    undecided: list[BatchRef] = field(default_factory=list[BatchRef])
    outdated: int = 0  # references dropped: read in an older epoch than the row has
    early: int = 0  # references dropped: read in a newer epoch; the database went back
    to_wake: int = 0  # newest batch whose wake-ups were not all accepted; 0: none
    wake_every: bool = False  # wake also deliveries that were woken before
    wake_ups_refused: int = 0  # over all runs
    forged: int = 0  # references dropped: no consumer of this source made them
    forged_reason: str = ""  # of the newest of them
    erasures: list[Erase] = field(default_factory=list[Erase])  # oldest first
    # Parts of a backfill that wait, and those of batches that run.
    backfills: list[BatchRef] = field(default_factory=list[BatchRef])
    backfilling: list[BatchRef] = field(default_factory=list[BatchRef])
    let_pass: int = 0  # batches of new records since a part of a backfill was taken
    backfill_refused: str = ""  # why the batch of the newest part failed
    # Of the newest batch of new records; 0: since then there was a moment in which none waited or was in flight.
    taken_bytes: int = 0
    batch_seconds: float = 0.0  # of the newest batch that was published, from its start

    def __post_init__(self) -> None:
        self.furthest: dict[str, int] = {}
        index_references(self)


def initial_state(spec: SourceSpec) -> SourceState:
    """Return the state of an entity that has never run."""
    return SourceState(
        source=spec.source,
        max_records=spec.limits.max_records,
        max_bytes=spec.limits.max_bytes,
        max_in_flight=spec.limits.max_in_flight,
    )


def status_name(state: SourceState, *, failing: bool) -> str:
    """Return the value of the search attribute FreshetState; `failing`: a batch failed and the rewind is not done."""
    if state.halted:
        return "halted"
    if state.paused:
        return "paused"
    if failing:
        return "rewinding"
    return state.row_state or SourceStatus.ACTIVE.value


# ── orders come in ──────────────────────────────────────────────────────────────────────────────────────────────────


def accept(state: SourceState, ref: BatchRef) -> Acceptance:
    """Accept a reference, unless it is outdated or already waits.

    1. A reference of an older epoch was read before the last rewind; its records are read again. (The entity lets one
       of another epoch wait until it has read the row: `keep_undecided`.)
    2. A range that is covered by what waits and what is in flight is a repeat.
    3. Everything else waits. Only the position row in the publishing transaction decides whether it was applied before:
       the row may have moved back (failover, rewind), and an entity that remembers more than the database would then
       drop what must be read again.
    """
    if ref.backfill:
        return _accept_backfill(state, ref)
    # 1.
    if ref.epoch < state.epoch:
        state.outdated += 1
        return Acceptance.OUTDATED
    # 2. Nearly every reference continues where the last one ended, and thousands may arrive at once: to search all for
    # each of them would take the workflow task too long.
    may_be_covered = ref.next_offset <= state.furthest.get(_partition_key(ref), 0)
    if may_be_covered and _is_covered(state, ref):
        state.repeated += 1
        return Acceptance.REPEATED
    # 3.
    state.pending.append(ref)
    _index_ref(state, ref)
    return Acceptance.ACCEPTED


def _is_covered(state: SourceState, ref: BatchRef) -> bool:
    """Whether what waits and what is in flight holds the whole range; a restarted consumer ends ranges elsewhere."""
    key = _partition_key(ref)
    known = [*state.in_flight, *state.pending]
    same_partition = [other for other in known if _partition_key(other) == key]
    covered = ref.first_offset
    for other in sorted(same_partition, key=lambda other: other.first_offset):
        if other.first_offset > covered:
            break
        covered = max(covered, other.next_offset)
    return covered >= ref.next_offset


def _partition_key(ref: BatchRef) -> str:
    """A topic that was recreated has another id, so its offsets are not compared with those of the old one."""
    return f"{ref.topic}/{ref.topic_id}/{ref.partition}"


def index_references(state: SourceState) -> None:
    """Derive `furthest` from what waits and what is in flight."""
    state.furthest.clear()
    for ref in (*state.in_flight, *state.pending):
        _index_ref(state, ref)


def _index_ref(state: SourceState, ref: BatchRef) -> None:
    key = _partition_key(ref)
    state.furthest[key] = max(ref.next_offset, state.furthest.get(key, 0))


def _accept_backfill(state: SourceState, ref: BatchRef) -> Acceptance:
    """Accept a part of a backfill, unless it waits or is in flight; its epoch says nothing, since no position moves."""
    if ref in state.backfills or ref in state.backfilling:
        return Acceptance.REPEATED
    state.backfills.append(ref)
    state.backfill_refused = ""
    return Acceptance.ACCEPTED


def accept_expiry(state: SourceState, order: Expire) -> Acceptance:
    """Accept an expiry order, once per id; a newer one replaces one that waits: it covers the same documents."""
    if order.request_id in state.expiry_requests:
        return Acceptance.REPEATED
    requests = [*state.expiry_requests, order.request_id]
    state.expiry_requests = requests[-_MAX_EXPIRY_REQUESTS:]
    state.expiries = [order]
    return Acceptance.ACCEPTED


def accept_document_order(state: SourceState, order: Correct | Erase) -> None:
    """Accept a correction or an erasure, unless the same one waits."""
    match order:
        case Correct() if order not in state.corrections:
            state.corrections.append(order)
        case Erase() if order not in state.erasures:
            state.erasures.append(order)
        case _:
            pass


def give_back(state: SourceState, order: Order) -> None:
    """Let an order wait again whose batch was cancelled; Kafka holds the records of an order to ingest."""
    match order:
        case Expire():
            _give_back_expiry(state, order)
        case Correct():
            state.corrections.insert(0, order)
        case Erase():
            state.erasures.insert(0, order)
        case Ingest():
            state.backfills[:0] = [ref for ref in order.refs if ref.backfill]


def _give_back_expiry(state: SourceState, order: Expire) -> None:
    """Let it wait, unless a newer one waits."""
    accepted = {
        request_id: number for number, request_id in enumerate(state.expiry_requests)
    }
    waiting = [*state.expiries, order]
    state.expiries = [
        max(waiting, key=lambda order: accepted.get(order.request_id, -1))
    ]


# ── orders go out ───────────────────────────────────────────────────────────────────────────────────────────────────


def has_order(state: SourceState) -> bool:
    """Whether an order waits and the source may act on it. What must be forgotten does not wait for a person."""
    if state.erasures:
        return True
    waiting = bool(
        state.pending or state.expiries or state.corrections or state.backfills
    )
    return waiting and not state.paused and not state.halted


def is_worth_a_batch(state: SourceState) -> bool:
    """Whether what waits is worth a batch beside one that runs.

    Batches of a source are published in order: another one in line makes nothing searchable sooner than those before
    it, it only prepares and embeds meanwhile. What it costs beside its records is the same for one record and for a
    hundred, so where batches are slow, small orders wait for the next one together. With three in flight per source,
    small batches of many sources keep one another waiting three times as long.
    """
    if state.erasures or state.expiries or state.corrections:
        return True
    if state.batch_seconds < SLOW_BATCH_SECONDS or _is_turn_of_backfill(state):
        return True
    # Records without a value, as of deletes, have no bytes, and a source may have smaller limits.
    pending = state.pending
    return (
        len(pending) >= MAX_REFERENCES
        or sum(ref.records for ref in pending) >= state.max_records
        or bytes_of(pending) >= min(FIRST_BATCH_BYTES, state.max_bytes)
    )


def largest_batch(previous: int) -> int:
    """Bytes that a batch may have while its source is behind, by those of the one before it; 0: there is none."""
    return max(FIRST_BATCH_BYTES, BATCH_GROWTH * previous)


def take_order(state: SourceState, *, grows: bool = True) -> Order:
    """Take the order of the next batch: an erasure, or else an expiry: readers must no longer see what it withdraws.

    Then corrections, so that the events behind them count.

    Args:
        state: of the entity.
        grows: whether the first batches of a backlog are small; not so in runs of the versions before.

    Raises:
        ValueError: no order waits.
    """
    if state.erasures:
        return state.erasures.pop(0)
    if state.expiries:
        return state.expiries.pop(0)
    if state.corrections:
        return state.corrections.pop(0)
    if _is_turn_of_backfill(state):
        return Ingest(refs=_take_backfill(state))
    max_bytes = min(state.budget_bytes, state.max_bytes)
    if grows:
        max_bytes = min(max_bytes, largest_batch(state.taken_bytes))
    return Ingest(refs=_take_refs(state, max_bytes))


def _is_turn_of_backfill(state: SourceState) -> bool:
    """New records come first, but a stream that never ends does not keep a backfill out for ever."""
    if not state.backfills:
        return False
    return not state.pending or state.let_pass >= LIVE_BATCHES_PER_BACKFILL


def _take_backfill(state: SourceState) -> tuple[BatchRef, ...]:
    ref = state.backfills.pop(0)
    state.backfilling.append(ref)
    state.let_pass = 0
    return (ref,)


def _take_refs(state: SourceState, max_bytes: int) -> tuple[BatchRef, ...]:
    """Take waiting references for one batch, oldest first, within the limits; at least one if any waits."""
    taken: list[BatchRef] = []
    records = 0
    size = 0
    for ref in state.pending[:MAX_REFERENCES]:
        records += ref.records
        size += ref.staged_bytes
        too_large = records > state.max_records or size > max_bytes
        if taken and too_large:
            break
        taken.append(ref)
    del state.pending[: len(taken)]
    state.let_pass = state.let_pass + 1 if state.backfills else 0
    state.in_flight.extend(taken)
    state.taken_bytes = bytes_of(taken)
    return tuple(taken)


def bytes_of(refs: Sequence[BatchRef]) -> int:
    """Bytes of the values that references stand for."""
    return sum(ref.staged_bytes for ref in refs)


# ── batches end ─────────────────────────────────────────────────────────────────────────────────────────────────────


def release(state: SourceState, refs: Sequence[BatchRef]) -> None:
    """Forget references whose batch has ended, in whatever way."""
    done = set(refs)
    state.in_flight = [ref for ref in state.in_flight if ref not in done]
    state.backfilling = [ref for ref in state.backfilling if ref not in done]
    if not state.in_flight and not state.pending:
        state.taken_bytes = 0


def adapt_budget(
    state: SourceState, refs: Sequence[BatchRef], texts_embedded: int, *, grows: bool
) -> None:
    """Adapt the size of the next batches to the cost of the last one: seconds of embedding, not minutes.

    Args:
        state: of the entity.
        refs: of the batch; one much smaller than it might be was cheap for that reason.
        texts_embedded: by the batch.
        grows: as in `take_order`; in runs of the versions before, any batch that was cheap counts.
    """
    says_little = grows and bytes_of(refs) < state.budget_bytes // 2
    if texts_embedded < CHEAP_TEXTS and not says_little:
        largest = max(state.max_bytes, FIRST_BUDGET_BYTES)
        state.budget_bytes = min(state.budget_bytes * 2, largest)
    elif texts_embedded > COSTLY_TEXTS:
        state.budget_bytes = max(state.budget_bytes // 2, MIN_BUDGET_BYTES)
