"""The decisions of SourceWorkflow, without a server."""

import pytest
from temporalio.exceptions import CancelledError

from corpus.batch import Correct, Expire, Ingest
from ingest.batch_failure import MAX_REWINDS
from ingest.source_state import (
    COSTLY_TEXTS,
    FIRST_BUDGET_BYTES,
)
from ingest.workflows import MAX_EVENTS
from tests.support.entity_stories import load, play, start_batches
from tests.support.entity_world import MAX_IN_FLIGHT, World
from tests.support.fake_temporal import child_error
from tests.support.orders import make_correction

# ── starting batches ────────────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_starts_before_the_source_is_loaded() -> None:
    async def story(world: World) -> None:
        world.stage(0, 5)
        world.expire(1)
        await world.settle()
        assert world.children == []
        await load(world)
        assert [type(child.batch.order) for child in world.children] == [Expire, Ingest]
        assert [child.batch.first_in_line for child in world.children] == [True, False]

    play(story)


def test_batch_numbers_continue_after_the_ledgers_last_one() -> None:
    async def story(world: World) -> None:
        world.last_batch = 41
        world.stage(0, 5)
        await load(world)
        assert [child.number for child in world.children] == [42]

    play(story)


def test_only_so_many_batches_run_side_by_side() -> None:
    async def story(world: World) -> None:
        await load(world)
        await start_batches(world, MAX_IN_FLIGHT)
        world.stage(0, 12)
        world.expire(1)
        await world.settle()
        assert len(world.children) == MAX_IN_FLIGHT
        world.end_child(0, fails=False)
        await world.settle()
        assert len(world.children) == MAX_IN_FLIGHT + 1
        assert isinstance(world.children[-1].batch.order, Expire)

    play(story)


def test_references_that_wait_are_joined_into_one_batch() -> None:
    async def story(world: World) -> None:
        for _ in range(4):
            world.stage(0, 3)
        await load(world)
        [child] = world.children
        assert isinstance(child.batch.order, Ingest)
        assert len(child.batch.order.refs) == 4

    play(story)


def test_a_paused_source_starts_nothing_and_ends_what_runs() -> None:
    async def story(world: World) -> None:
        await load(world)
        await start_batches(world, 1)
        world.entity.pause()
        world.stage(0, 5)
        await world.settle()
        assert len(world.children) == 1
        world.end_child(0, fails=False)
        await world.settle()
        assert world.published == [1]
        assert len(world.children) == 1
        world.entity.resume()
        await world.settle()
        world.answer()  # limits as configured now
        await world.settle()
        assert len(world.children) == 2
        assert world.module.attributes["FreshetState"] == ["active", "paused", "active"]

    play(story)


# ── publishing in order ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_batch_may_publish_when_those_before_it_have_ended() -> None:
    async def story(world: World) -> None:
        await load(world)
        await start_batches(world, 3)
        assert [child.may_publish for child in world.children] == [True, False, False]
        world.end_child(0, fails=False)
        await world.settle()
        assert [child.may_publish for child in world.children] == [True, True, False]

    play(story)


def test_a_batch_that_is_still_being_started_is_let_through_afterwards() -> None:
    async def story(world: World) -> None:
        await load(world)
        await start_batches(world, 1)
        world.stage(0, 12)
        await world.settle()
        world.end_child(0, fails=False)  # before the second one is started
        await world.settle()
        second = world.children[1]
        assert not second.may_publish
        world.start(0)
        await world.settle()
        assert second.may_publish

    play(story)


def test_a_batch_that_ended_before_it_may_publish_stops_nothing() -> None:
    async def story(world: World) -> None:
        await load(world)
        await start_batches(world, 2)
        first, second = world.children
        # A person cancels the second; both end before the entity acts again.
        second.result.set_exception(child_error(CancelledError()))
        world.publish(first)
        await world.settle()
        await world.drain()

    world = play(story)
    assert world.positions == world.end


# ── failures ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_failed_batch_ends_those_behind_it_and_none_before_it() -> None:
    async def story(world: World) -> None:
        await load(world)
        await start_batches(world, 3)
        first, second, third = world.children
        world.end_child(1, fails=True)
        await world.settle()
        assert (first.cancelled, third.cancelled) == (False, True)
        assert second.result.done()
        assert world.activities == []  # the rewind waits for the first
        world.end_child(1, fails=False)  # the third one, cancelled
        await world.settle()
        assert world.activities == []
        world.end_child(0, fails=False)
        await world.settle()
        [(name, request, _)] = world.activities
        assert name == "rewind_source"
        assert request.reason == "batch 2: StagedFileError: batch 2"
        assert not request.halt
        assert world.published == [1]

    play(story)


def test_the_oldest_of_several_failed_batches_is_the_reason() -> None:
    async def story(world: World) -> None:
        await load(world)
        await start_batches(world, 3)
        world.end_child(2, fails=True)
        await world.settle()
        world.end_child(0, fails=True)
        await world.settle()
        world.end_child(0, fails=False)  # the second one, cancelled
        await world.settle()
        [(_, request, _)] = world.activities
        assert request.reason.startswith("batch 1:")
        assert world.state.stuck == {"t/0": 0}

    play(story)


def test_a_batch_that_is_started_behind_a_failure_is_cancelled() -> None:
    async def story(world: World) -> None:
        await load(world)
        await start_batches(world, 1)
        world.stage(0, 12)
        await world.settle()
        world.end_child(0, fails=True)
        await world.settle()
        world.start(0)
        await world.settle()
        assert world.children[1].cancelled
        assert not world.children[1].may_publish

    play(story)


def test_a_source_that_fails_at_one_place_halts_and_is_resumed_by_a_person() -> None:
    async def fail_once(world: World) -> None:
        world.stage(0, 5)
        await world.settle()
        world.start(0)
        await world.settle()
        world.end_child(0, fails=True)
        for _ in range(3):  # rewind, load
            await world.settle()
            world.answer()
        await world.settle()

    async def story(world: World) -> None:
        await load(world)
        for _ in range(MAX_REWINDS + 1):
            await fail_once(world)
        assert world.rewinds == [False] * MAX_REWINDS + [True]
        assert world.state.halted.startswith("batch 4: StagedFileError")
        assert world.module.attributes["FreshetState"][-1] == "halted"
        pauses = [pause.total_seconds() for pause in world.module.pauses]
        assert pauses == [2, 4, 8]
        started = len(world.children)
        world.expire(1)
        await world.settle()
        await load(world)  # the row is halted, too
        assert len(world.children) == started
        world.resume()
        await world.settle()
        await load(world)
        assert len(world.children) == started + 1
        assert world.module.attributes["FreshetState"][-1] == "active"
        assert (world.state.rewinds, world.state.stuck) == (0, {})

    play(story)


def test_a_success_ends_the_count_of_failures() -> None:
    async def story(world: World) -> None:
        await load(world)
        await start_batches(world, 1)
        world.end_child(0, fails=True)
        await world.settle()
        assert world.activities[0][0] == "rewind_source"
        await load(world)
        assert world.state.rewinds == 1
        await world.drain()
        assert (world.state.rewinds, world.state.stuck) == (0, {})

    play(story)


def test_the_configuration_is_read_again_when_it_changed() -> None:
    async def story(world: World) -> None:
        await load(world)
        world.state.rewinds = 2
        world.entity.reload()
        await world.settle()
        assert [name for name, _, _ in world.activities] == ["load_source"]
        assert world.state.rewinds == 0
        await load(world)
        assert world.state.loaded

    play(story)


def test_the_next_batches_are_as_large_as_the_last_one_was_cheap() -> None:
    async def story(world: World) -> None:
        await load(world)
        await start_batches(world, 1)
        world.texts_embedded = COSTLY_TEXTS + 1
        world.end_child(0, fails=False)
        await world.settle()
        assert world.state.budget_bytes == FIRST_BUDGET_BYTES // 2

    play(story)


def test_a_correction_is_a_batch_like_any_other_and_waits_again_when_it_is_cancelled() -> None:
    async def story(world: World) -> None:
        await load(world)
        await start_batches(world, 1)
        world.entity.correct(make_correction())
        await world.settle()
        world.start(0)
        await world.settle()
        orders = [type(child.batch.order) for child in world.children]
        assert orders == [Ingest, Correct]
        world.end_child(0, fails=True)
        await world.settle()
        world.children[1].fail(CancelledError())
        await world.settle()
        assert world.state.corrections == [make_correction()]

    play(story)


def test_a_refused_expiry_stops_no_event() -> None:
    async def story(world: World) -> None:
        await load(world)
        world.expire(1)
        world.stage(0, 12)
        await world.settle()
        world.start(0)
        world.start(0)
        await world.settle()
        world.end_child(0, fails=True)
        await world.settle()
        assert world.refused == ["r1"]
        assert world.activities == []  # no rewind
        world.end_child(0, fails=False)
        await world.settle()
        assert world.published == [2]

    play(story)


@pytest.mark.parametrize("loaded", [False, True], ids=["load", "rewind"])
def test_a_database_that_refuses_for_good_halts_the_source(loaded: bool) -> None:
    async def story(world: World) -> None:
        if loaded:
            await load(world)
            await start_batches(world, 1)
            world.end_child(0, fails=True)
            await world.settle()
        world.answer(refuses=True)
        await world.settle()
        assert world.state.halted == "ConfigurationError: the source is not configured"
        assert world.module.attributes["FreshetState"][-1] == "halted"
        assert world.activities == []  # it waits for a person
        await world.drain()

    world = play(story)
    assert world.positions == world.end


# ── continuing as new ───────────────────────────────────────────────────────────────────────────────────────────────


def test_it_continues_as_new_when_nothing_runs_and_with_everything_that_waits() -> None:
    async def story(world: World) -> None:
        await load(world)
        await start_batches(world, 1)
        world.suggest_continue_as_new()
        world.stage(0, 5)
        world.stage(1, 7)
        await world.settle()
        assert world.runs == 1
        assert len(world.children) == 1  # it starts no more
        world.end_child(0, fails=False)
        await world.settle()
        assert world.runs == 2
        assert world.state.published == 1
        assert len(world.children) == 2
        await world.drain()

    world = play(story)
    assert world.positions == {0: 17, 1: 7}


def test_it_continues_as_new_before_its_history_takes_long_to_read() -> None:
    async def story(world: World) -> None:
        await load(world)
        for events, runs in [(MAX_EVENTS - 1, 1), (MAX_EVENTS, 2)]:
            world.module.events = events
            await world.settle()
            assert world.runs == runs

    play(story)


def test_a_failure_is_dealt_with_before_it_continues_as_new() -> None:
    async def story(world: World) -> None:
        await load(world)
        await start_batches(world, 1)
        world.suggest_continue_as_new()
        world.end_child(0, fails=True)
        await world.settle()
        assert world.runs == 1
        world.answer()
        await world.settle()
        assert world.rewinds == [False]
        assert world.runs == 2
        assert world.state.rewinds == 1
        await world.drain()

    world = play(story)
    assert world.positions == world.end
