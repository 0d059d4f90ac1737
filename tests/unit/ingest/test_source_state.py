"""The entity's rules, without Temporal."""

import dataclasses

import pytest

from corpus.batch import BatchRef, Expire, Ingest
from corpus.source import BatchLimits, SourceSpec
from ingest.batch_failure import MAX_REWINDS, forget_failures, record_failure, record_success
from ingest.source_state import (
    CHEAP_TEXTS,
    COSTLY_TEXTS,
    FIRST_BATCH_BYTES,
    FIRST_BUDGET_BYTES,
    MAX_REFERENCES,
    MIN_BUDGET_BYTES,
    Acceptance,
    SourceState,
    accept,
    accept_document_order,
    accept_expiry,
    adapt_budget,
    bytes_of,
    give_back,
    has_order,
    initial_state,
    release,
    status_name,
    take_order,
)
from tests.support.orders import make_correction, make_expiry, make_ref


@pytest.fixture
def state() -> SourceState:
    return initial_state(SourceSpec(source="s", topics=("t",)))


def taken_refs(state: SourceState) -> tuple[BatchRef, ...]:
    """The references of the next order, which must be an ingest."""
    order = take_order(state)
    assert isinstance(order, Ingest)
    return order.refs


def first_offsets(state: SourceState) -> list[int]:
    return [ref.first_offset for ref in taken_refs(state)]


# ── orders come in ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_state_has_the_limits_of_the_source() -> None:
    limits = BatchLimits(max_records=7, max_bytes=8, max_in_flight=9)
    state = initial_state(SourceSpec(source="s", topics=("t",), limits=limits))
    assert (state.max_records, state.max_bytes, state.max_in_flight) == (7, 8, 9)
    assert not state.loaded
    assert not has_order(state)


def test_a_repeated_signal_is_dropped(state: SourceState) -> None:
    assert accept(state, make_ref(0, 10)) is Acceptance.ACCEPTED
    assert accept(state, make_ref(0, 10)) is Acceptance.REPEATED
    assert accept(state, make_ref(2, 8)) is Acceptance.REPEATED
    assert accept(state, make_ref(0, 10, partition=1)) is Acceptance.ACCEPTED
    assert state.repeated == 2


def test_a_range_in_flight_is_not_taken_twice(state: SourceState) -> None:
    accept(state, make_ref(0, 10))
    assert first_offsets(state) == [0]
    assert accept(state, make_ref(0, 10)) is Acceptance.REPEATED


def test_what_was_applied_is_taken_again_since_the_database_decides(state: SourceState) -> None:
    accept(state, make_ref(0, 10))
    release(state, taken_refs(state))
    assert accept(state, make_ref(0, 10)) is Acceptance.ACCEPTED


def test_a_repeat_that_ends_elsewhere_is_dropped(state: SourceState) -> None:
    """A consumer that restarted while no worker ran reads from the position row once more."""
    for first, after in ((0, 10), (10, 20), (20, 30)):
        accept(state, make_ref(first, after))
    take_order(state)
    for first, after in ((0, 7), (7, 14), (14, 30)):
        assert accept(state, make_ref(first, after)) is Acceptance.REPEATED
    assert accept(state, make_ref(25, 35)) is Acceptance.ACCEPTED
    assert accept(state, make_ref(40, 45)) is Acceptance.ACCEPTED
    # 35 to 39 are missing.
    assert accept(state, make_ref(30, 42)) is Acceptance.ACCEPTED


def test_what_is_read_again_from_further_back_is_no_repeat(state: SourceState) -> None:
    """After a failover the position row is further back than the entity has seen."""
    accept(state, make_ref(10, 20))
    release(state, taken_refs(state))
    assert accept(state, make_ref(5, 15)) is Acceptance.ACCEPTED
    assert accept(state, make_ref(5, 15)) is Acceptance.REPEATED


def test_offsets_of_a_recreated_topic_are_no_repeat(state: SourceState) -> None:
    accept(state, make_ref(0, 10, topic_id="old"))
    assert accept(state, make_ref(0, 10, topic_id="new")) is Acceptance.ACCEPTED


def test_an_expiry_order_is_accepted_once(state: SourceState) -> None:
    order = make_expiry()
    assert accept_expiry(state, order) is Acceptance.ACCEPTED
    assert accept_expiry(state, order) is Acceptance.REPEATED
    assert state.expiries == [order]
    take_order(state)
    assert accept_expiry(state, order) is Acceptance.REPEATED
    assert state.expiries == []


def test_a_newer_order_to_expire_replaces_one_that_waits(state: SourceState) -> None:
    for name in ("r1", "r2"):
        accept_expiry(state, make_expiry(name))
    assert [order.request_id for order in state.expiries] == ["r2"]


def test_a_cancelled_expiry_waits_again_unless_a_newer_one_does(state: SourceState) -> None:
    orders = [make_expiry(name) for name in ("r0", "r1", "r2")]
    for order in orders:
        accept_expiry(state, order)
    take_order(state)
    for returned, waits in ((1, 1), (0, 1), (2, 2), (1, 2)):
        give_back(state, orders[returned])
        assert state.expiries == [orders[waits]]


def test_the_ids_of_expiry_orders_do_not_grow_without_bound(state: SourceState) -> None:
    for number in range(200):
        accept_expiry(state, make_expiry(f"r{number}"))
    assert len(state.expiry_requests) == 50
    assert state.expiry_requests[-1] == "r199"


# ── orders go out ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_corrections_go_after_an_expiry_and_before_events(state: SourceState) -> None:
    first, second = make_correction("a"), make_correction("b")
    accept(state, make_ref(0, 10))
    for order in (first, second, first):
        accept_document_order(state, order)
    accept_expiry(state, make_expiry())
    assert take_order(state) == make_expiry()
    assert take_order(state) == first
    give_back(state, first)
    assert [take_order(state), take_order(state)] == [first, second]
    assert isinstance(take_order(state), Ingest)


def test_an_order_to_expire_goes_before_events(state: SourceState) -> None:
    accept(state, make_ref(0, 10))
    accept_expiry(state, make_expiry())
    assert isinstance(take_order(state), Expire)
    assert first_offsets(state) == [0]
    assert not has_order(state)
    with pytest.raises(ValueError, match="at least one reference"):
        take_order(state)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"paused": True}, False),
        ({"halted": "a gap"}, False),
        ({"pending": []}, False),
        ({"pending": [], "expiries": [make_expiry()]}, True),
        ({"paused": True, "expiries": [make_expiry()]}, False),
    ],
    ids=["waits", "paused", "halted", "nothing", "expiry", "paused expiry"],
)
def test_when_an_order_may_go_out(
    state: SourceState, changes: dict[str, object], expected: bool
) -> None:
    accept(state, make_ref(0, 10))
    assert has_order(dataclasses.replace(state, **changes)) is expected


def test_batches_keep_to_the_limits_but_never_starve_a_large_reference(state: SourceState) -> None:
    state.max_records = 15
    state.budget_bytes = 1_000
    for first in (0, 10, 20):
        accept(state, make_ref(first, first + 10))
    assert first_offsets(state) == [0]
    accept(state, make_ref(30, 40, staged_bytes=10_000))
    assert first_offsets(state) == [10]
    assert first_offsets(state) == [20]
    assert first_offsets(state) == [30]
    assert not has_order(state)


@pytest.mark.parametrize(("max_bytes", "taken"), [(300, 3), (299, 2), (1, 1)])
def test_a_batch_may_be_exactly_as_large_as_its_limit(
    state: SourceState, max_bytes: int, taken: int
) -> None:
    state.max_bytes = max_bytes
    for first in range(5):
        accept(state, make_ref(first, first + 1))
    assert len(taken_refs(state)) == taken


def test_a_batch_takes_at_most_max_references(state: SourceState) -> None:
    """Each is part of a workflow's input, which the server limits to 2 MB."""
    state.max_records = state.budget_bytes = state.max_bytes = 10**9
    for first in range(MAX_REFERENCES + 5):
        accept(state, make_ref(first, first + 1, staged_bytes=1))
    assert len(taken_refs(state)) == MAX_REFERENCES
    assert len(taken_refs(state)) == 5


# ── batches end ─────────────────────────────────────────────────────────────────────────────────────────────────────


def batches_of_backlog(state: SourceState, refs: int, staged_bytes: int) -> list[int]:
    """Bytes of the batches that a backlog of references of one size is taken in, three at a time."""
    first = state.published * 1_000_000
    for number in range(refs):
        accept(state, make_ref(first + number, first + number + 1, staged_bytes=staged_bytes))
    sizes: list[int] = []
    running: list[tuple[BatchRef, ...]] = []
    while has_order(state):
        running.append(taken_refs(state))
        sizes.append(bytes_of(running[-1]))
        if len(running) == state.max_in_flight or not has_order(state):
            release(state, running.pop(0))
    for refs_of_batch in running:
        release(state, refs_of_batch)
    state.published += 1
    return sizes


@pytest.mark.parametrize("max_in_flight", [1, 3])
def test_batches_grow_while_a_source_is_behind(state: SourceState, max_in_flight: int) -> None:
    """Also for a source that begins to be behind later, whose budget has grown meanwhile."""
    state.max_in_flight = max_in_flight
    state.budget_bytes = state.max_bytes = 2_048_000
    for _ in range(2):
        assert batches_of_backlog(state, 400, 16_000) == [
            *(FIRST_BATCH_BYTES, 128_000, 512_000),
            *(2_048_000, 2_048_000, 1_632_000),
        ]
        assert state.taken_bytes == 0


def test_a_storm_behind_a_trickle_begins_with_a_small_batch(state: SourceState) -> None:
    """One small event and another: something is always in flight, and no batch is large."""
    state.budget_bytes = state.max_bytes
    before = None
    for number in range(50):
        accept(state, make_ref(number, number + 1, staged_bytes=300))
        refs = taken_refs(state)
        if before:
            release(state, before)
        before = refs
    assert batches_of_backlog(state, 100, 16_000)[0] <= FIRST_BATCH_BYTES


def test_a_run_of_before_takes_the_full_size_at_once(state: SourceState) -> None:
    """Else its history could not be replayed."""
    for number in range(100):
        accept(state, make_ref(number, number + 1, staged_bytes=10_000))
    order = take_order(state, grows=False)
    assert isinstance(order, Ingest)
    assert bytes_of(order.refs) == FIRST_BUDGET_BYTES


@pytest.mark.parametrize("grows", [True, False])
def test_the_budget_follows_the_cost(state: SourceState, grows: bool) -> None:
    full = (make_ref(0, 10, staged_bytes=state.max_bytes),)
    adapt_budget(state, full, 0, grows=grows)
    assert state.budget_bytes == 2 * FIRST_BUDGET_BYTES
    for _ in range(20):
        adapt_budget(state, full, 10_000, grows=grows)
    assert state.budget_bytes == MIN_BUDGET_BYTES
    for _ in range(20):
        adapt_budget(state, full, 0, grows=grows)
    assert state.budget_bytes == state.max_bytes


@pytest.mark.parametrize("texts", [CHEAP_TEXTS, COSTLY_TEXTS])
def test_between_cheap_and_costly_the_budget_stays(state: SourceState, texts: int) -> None:
    full = (make_ref(0, 10, staged_bytes=FIRST_BUDGET_BYTES),)
    adapt_budget(state, full, texts, grows=True)
    assert state.budget_bytes == FIRST_BUDGET_BYTES


def test_a_small_batch_says_nothing_of_what_a_large_one_costs(state: SourceState) -> None:
    """After a day of small edits, a batch of 8 MB would take minutes to embed."""
    small = (make_ref(0, 10, staged_bytes=FIRST_BATCH_BYTES),)
    adapt_budget(state, small, 40, grows=True)
    assert state.budget_bytes == FIRST_BUDGET_BYTES
    adapt_budget(state, small, COSTLY_TEXTS + 1, grows=True)
    assert state.budget_bytes == FIRST_BUDGET_BYTES // 2
    adapt_budget(state, small, 40, grows=False)
    assert state.budget_bytes == FIRST_BUDGET_BYTES


def test_a_stuck_partition_counts_on_while_others_are_published(state: SourceState) -> None:
    bad = make_ref(10, 20)
    good = make_ref(0, 10, partition=7)
    must_halt = []
    for _ in range(MAX_REWINDS + 1):
        must_halt.append(record_failure(state, [bad]))
        record_success(state, [good])
    assert must_halt == [False] * MAX_REWINDS + [True]


def test_what_failed_and_is_published_counts_no_more(state: SourceState) -> None:
    record_failure(state, [make_ref(10, 20), make_ref(0, 10, partition=7)])
    record_success(state, [make_ref(5, 10)])  # what is before it
    assert (state.rewinds, state.stuck) == (1, {"t/0": 10, "t/7": 0})
    record_success(state, [make_ref(10, 12)])
    assert (state.rewinds, state.stuck) == (1, {"t/7": 0})
    record_success(state, [make_ref(0, 3, partition=7)])
    assert (state.rewinds, state.stuck) == (0, {})


def test_the_lowest_failed_offset_counts(state: SourceState) -> None:
    record_failure(state, [make_ref(10, 20)])
    record_failure(state, [make_ref(5, 8)])
    record_failure(state, [make_ref(30, 40)])
    assert state.stuck == {"t/0": 5}


def test_a_person_who_acts_sets_the_failures_to_zero(state: SourceState) -> None:
    record_failure(state, [make_ref(10, 20)])
    forget_failures(state)
    assert (state.rewinds, state.stuck) == (0, {})


def test_release_forgets_the_references_of_one_batch_only(state: SourceState) -> None:
    state.max_records = 10
    accept(state, make_ref(0, 10))
    accept(state, make_ref(10, 20))
    first, second = taken_refs(state), taken_refs(state)
    release(state, first)
    assert state.in_flight == list(second)


@pytest.mark.parametrize(
    ("state", "failing", "expected"),
    [
        (SourceState(source="s"), False, "active"),
        (SourceState(source="s"), True, "rewinding"),
        (SourceState(source="s", paused=True), True, "paused"),
        (SourceState(source="s", paused=True, halted="a gap"), True, "halted"),
    ],
    ids=["active", "rewinding", "paused", "halted"],
)
def test_the_status_that_is_listed(state: SourceState, failing: bool, expected: str) -> None:
    assert status_name(state, failing=failing) == expected


def test_the_index_of_offsets_is_derived_and_not_on_the_wire(state: SourceState) -> None:
    accept(state, make_ref(0, 10))
    take_order(state)
    accept(state, make_ref(10, 20))
    copy = dataclasses.replace(state)
    assert copy.furthest == {"t/i/0": 20}
    assert "furthest" not in dataclasses.asdict(state)
    assert accept(copy, make_ref(0, 20)) is Acceptance.REPEATED
