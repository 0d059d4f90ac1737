"""Parts of a backfill in a source's entity: new records come first, nothing stops for a part, none is lost."""

from dataclasses import replace

import pytest
from temporalio.exceptions import CancelledError

from corpus.batch import BatchRef, Ingest
from corpus.source import SourceSpec
from corpus.staging.bound import problem_of
from corpus.staging.layout import events_name, parse_name
from ingest.batch_failure import record_failure, record_success
from ingest.source_state import (
    LIVE_BATCHES_PER_BACKFILL,
    Acceptance,
    SourceState,
    accept,
    give_back,
    has_order,
    initial_state,
    release,
    take_order,
)
from tests.support.entity_stories import play
from tests.support.entity_world import World
from tests.support.orders import DIGEST, make_ref


@pytest.fixture
def state() -> SourceState:
    return initial_state(SourceSpec(source="s", topics=("t",)))


def part(first: int, end: int, backfill: int = 1) -> BatchRef:
    url = events_name("s", "t", 0, first, end, DIGEST, backfill)
    return replace(make_ref(first, end), backfill=backfill, url=url)


def taken(state: SourceState) -> tuple[BatchRef, ...]:
    order = take_order(state)
    assert isinstance(order, Ingest)
    return order.refs


def test_a_part_waits_for_new_records_but_not_for_ever(state: SourceState) -> None:
    accept(state, part(0, 10))
    for number in range(10):
        accept(state, make_ref(100 + number, 101 + number, staged_bytes=state.max_bytes))
    orders = [taken(state) for _ in range(11)]
    assert [bool(refs[0].backfill) for refs in orders].index(True) == LIVE_BATCHES_PER_BACKFILL
    accept(state, part(10, 20))
    assert taken(state) == (part(10, 20),)  # at once, where nothing else waits


def test_a_part_that_comes_twice_is_one(state: SourceState) -> None:
    assert accept(state, part(0, 10)) is Acceptance.ACCEPTED
    assert accept(state, part(0, 10)) is Acceptance.REPEATED
    refs = taken(state)
    assert accept(state, part(0, 10)) is Acceptance.REPEATED
    release(state, refs)
    assert (state.backfills, state.backfilling) == ([], [])
    assert not has_order(state)


def test_a_part_says_nothing_of_positions(state: SourceState) -> None:
    """It covers no new reference of the same offsets, and mends nothing that is stuck."""
    state.epoch = 5
    assert accept(state, part(0, 10)) is Acceptance.ACCEPTED
    refs = taken(state)
    live = make_ref(0, 10, epoch=5)
    assert accept(state, live) is Acceptance.ACCEPTED
    record_failure(state, [live])
    record_success(state, refs)
    assert state.stuck


def test_a_paused_or_halted_source_takes_no_part(state: SourceState) -> None:
    accept(state, part(0, 10))
    state.paused = True
    assert not has_order(state)
    state.paused, state.halted = False, "why"
    assert not has_order(state)


def test_a_cancelled_part_waits_again(state: SourceState) -> None:
    accept(state, part(0, 10))
    accept(state, part(10, 20))
    order = take_order(state)
    give_back(state, order)
    release(state, order.refs if isinstance(order, Ingest) else ())
    assert state.backfills == [part(0, 10), part(10, 20)]


def test_a_part_that_fails_stops_nothing_and_is_named() -> None:
    async def story(world: World) -> None:
        world.answer()
        await world.settle()
        world.entity.batch_staged(part(0, 10))
        await world.settle()
        world.start(0)
        await world.settle()
        world.children[0].fail(CancelledError("the model is gone"))
        await world.settle()
        assert world.activities == []  # no rewind
        assert "the model is gone" in world.state.backfill_refused
        assert world.state.backfilling == []
        # It is handed over again by its workflow.
        world.entity.batch_staged(part(0, 10))
        await world.settle()
        assert world.state.backfill_refused == ""
        assert len(world.children) == 2
        world.start(0)
        await world.settle()
        world.children[1].fail(CancelledError("the model is gone"))
        await world.settle()

    play(story)


def test_names_of_parts_are_bound_to_their_backfill() -> None:
    assert problem_of(part(0, 10), "s") == ""
    forged = replace(part(0, 10), backfill=2)
    assert "its file is" in problem_of(forged, "s")
    assert "its file is" in problem_of(replace(make_ref(0, 10), backfill=1), "s")
    name = parse_name(part(0, 10).url)
    assert name is not None
    assert getattr(name, "backfill", None) == 1
