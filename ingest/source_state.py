"""The whole state of a source's entity workflow, and the pure rules that change it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from corpus.batch import BatchRef, ExpiryOrder
from corpus.source import SourceSpec

# Size of the first batches: small, so that something is searchable soon; it then follows what embedding costs.
FIRST_BUDGET_BYTES = 500_000
MIN_BUDGET_BYTES = 125_000
# A batch that sent fewer texts through the model than this was cheap, so the next may be larger; above, smaller.
CHEAP_TEXTS = 250
COSTLY_TEXTS = 1_000
# References of one batch: some 450 bytes each, and the server takes 2 MB for a workflow's input.
MAX_REFERENCES = 1_000
# Failures at one place after which a source halts and asks a person instead of reading again.
MAX_REWINDS = 3


class Acceptance(StrEnum):
    """What became of a reference that was signalled."""

    ACCEPTED = "accepted"
    REPEATED = "repeated"  # the same range already waits or is worked on
    OUTDATED = "outdated"  # read before the last rewind


@dataclass(kw_only=True)
class SourceState:
    """All that the entity knows; it is the argument of the next run."""

    source: str
    max_records: int = 5_000  # a batch
    max_bytes: int = 8_000_000  # a batch
    max_in_flight: int = 3  # batches side by side
    loaded: bool = False  # whether the ledger's last batch was read
    next_batch: int = 1
    budget_bytes: int = FIRST_BUDGET_BYTES
    epoch: int = 0  # references of an older epoch are dropped
    paused: bool = False
    halted: str = ""  # why
    rewinds: int = 0  # since everything that failed was last published
    stuck: dict[str, int] = field(
        default_factory=dict
    )  # "topic/partition" -> oldest offset of a batch that failed
    pending: list[BatchRef] = field(default_factory=list)
    in_flight: list[BatchRef] = field(default_factory=list)  # belongs to batches that run now
    expiries: list[ExpiryOrder] = field(default_factory=list)
    ends: dict[str, int] = field(
        default_factory=dict
    )  # "topic/topic id/partition" -> furthest offset of what waits or runs
    expiry_requests: list[str] = field(
        default_factory=list
    )  # newest ids, so that a repeated order is no second batch
    repeated: int = 0  # references dropped as repeats
    published: int = 0  # batches, in all runs


def initial_state(spec: SourceSpec) -> SourceState:
    """State of an entity that has never run."""
    return SourceState(
        source=spec.source,
        max_records=spec.limits.max_records,
        max_bytes=spec.limits.max_bytes,
        max_in_flight=spec.limits.max_in_flight,
    )


def accept(state: SourceState, ref: BatchRef) -> Acceptance:
    """Take in a reference.

    Only what already waits here is dropped. Whether something *was* applied is decided by the position row in the publishing
    transaction alone: the row may have moved back (failover, rewind), and an entity that remembers more than the database
    would then drop what must be read again.
    """
    if ref.epoch < state.epoch:
        return Acceptance.OUTDATED
    # Nearly every reference goes on where the last one ended: thousands may come at once, and looking through all for each would
    # keep the workflow task too long.
    if ref.next_offset <= state.ends.get(_place(ref), 0) and _is_known(state, ref):
        state.repeated += 1
        return Acceptance.REPEATED
    _note_end(state, ref)
    state.pending.append(ref)
    return Acceptance.ACCEPTED


def _is_known(state: SourceState, ref: BatchRef) -> bool:
    """Whether what waits and runs covers all of it: a consumer that started again cuts the same records in other places."""
    place = _place(ref)
    ranges = (
        (known.first_offset, known.next_offset)
        for known in (*state.in_flight, *state.pending)
        if place == _place(known)
    )
    covered = ref.first_offset
    for first, after in sorted(ranges):
        if first > covered:
            break
        covered = max(covered, after)
    return covered >= ref.next_offset


def _place(ref: BatchRef) -> str:
    return f"{ref.topic}/{ref.topic_id}/{ref.partition}"


def _note_end(state: SourceState, ref: BatchRef) -> None:
    place = _place(ref)
    state.ends[place] = max(ref.next_offset, state.ends.get(place, 0))


def forget_waiting(state: SourceState, *, epoch: int) -> None:
    """Drop what was read before the rewind to `epoch`; it lies in Kafka behind the position row."""
    state.epoch = max(state.epoch, epoch)
    state.pending = [ref for ref in state.pending if ref.epoch >= state.epoch]
    state.in_flight, state.ends = [], {}
    for ref in state.pending:
        _note_end(state, ref)


def failed(state: SourceState, refs: Sequence[BatchRef]) -> bool:
    """Note where a batch failed; returns whether the source has tried often enough."""
    for ref in refs:
        place = f"{ref.topic}/{ref.partition}"
        state.stuck[place] = min(ref.first_offset, state.stuck.get(place, ref.first_offset))
    state.rewinds += 1
    return state.rewinds > MAX_REWINDS


def succeeded(state: SourceState, refs: Sequence[BatchRef]) -> None:
    """What is published is not stuck; what other partitions publish meanwhile says nothing about one that is."""
    for ref in refs:
        place = f"{ref.topic}/{ref.partition}"
        if ref.next_offset > state.stuck.get(place, ref.next_offset):
            del state.stuck[place]
    if not state.stuck:
        state.rewinds = 0


def accept_expiry(state: SourceState, order: ExpiryOrder) -> Acceptance:
    """Take in an expiry order, once an id; a newer one says all that one that waits does."""
    if order.request_id in state.expiry_requests:
        return Acceptance.REPEATED
    state.expiry_requests = [*state.expiry_requests[-49:], order.request_id]
    state.expiries = [order]
    return Acceptance.ACCEPTED


def take_batch(state: SourceState) -> tuple[BatchRef, ...]:
    """Take waiting references for one batch, oldest first, within the limits; at least one if any waits."""
    taken: list[BatchRef] = []
    records = size = 0
    for ref in state.pending:
        records += ref.records
        size += ref.staged_bytes
        full = (
            len(taken) == MAX_REFERENCES
            or records > state.max_records
            or size > min(state.budget_bytes, state.max_bytes)
        )
        if taken and full:
            break
        taken.append(ref)
    del state.pending[: len(taken)]
    state.in_flight.extend(taken)
    return tuple(taken)


def learn_from(state: SourceState, *, texts_embedded: int) -> None:
    """Let the size of the next batches follow what the last one cost: a batch should be seconds of embedding, not minutes."""
    if texts_embedded < CHEAP_TEXTS:
        state.budget_bytes = min(state.budget_bytes * 2, max(state.max_bytes, FIRST_BUDGET_BYTES))
    elif texts_embedded > COSTLY_TEXTS:
        state.budget_bytes = max(state.budget_bytes // 2, MIN_BUDGET_BYTES)
