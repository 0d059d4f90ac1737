"""SourceWorkflow follows the source's row, whatever overtakes what; without a server."""

from dataclasses import replace

import pytest

from ingest.batch_failure import MAX_REWINDS
from tests.support.entity_stories import load, play
from tests.support.entity_world import World
from tests.support.orders import make_ref


async def fail_until_the_halt(world: World) -> None:
    """The source fails at one place; the rewind that halts it waits for its answer."""
    await load(world)
    world.state.rewinds = MAX_REWINDS
    world.stage(0, 5)
    await world.settle()
    world.start(0)
    await world.settle()
    world.end_child(0, fails=True)
    await world.settle()
    assert [name for name, _, _ in world.activities] == ["rewind_source"]


async def answer_everything(world: World) -> None:
    for _ in range(10):
        world.answer()
        await world.settle()
    assert world.activities == []


@pytest.mark.parametrize("names_state", [True, False], ids=["storer", "storer before"])
def test_a_resume_that_overtakes_the_halt_counts(names_state: bool) -> None:
    """The row is halted a moment before the entity knows; an operator who watches it resumes then."""

    async def story(world: World) -> None:
        world.names_state = names_state
        await fail_until_the_halt(world)
        _name, request, answer = world.activities.pop()
        halted = world._rewind_source(request)  # written, and not answered yet
        assert world.halted
        world.resume()
        await world.settle()
        answer.set_result(halted)
        await world.settle()
        await answer_everything(world)
        assert (world.halted, world.state.halted) == (False, "")
        assert world.state.epoch == world.epoch
        world.stage(0, 5)
        await world.settle()
        assert len(world.running()) == 1

    play(story)


def test_a_forged_reference_stops_nothing_and_is_counted() -> None:
    """Anyone who may signal the workflow can send one, also while a batch of genuine ones runs."""
    forged = {
        "another source": make_ref(0, 5, source="other"),
        "another file": replace(make_ref(0, 5), url="events/s/t/0/../../../../etc/passwd"),
        "a longer range": replace(make_ref(0, 5), next_offset=9),
        "another epoch": replace(make_ref(0, 5, epoch=99), url="s3://other/file"),
        "an endless name": replace(make_ref(0, 5), topic_id="x" * 1_000_000),
    }

    async def story(world: World) -> None:
        await load(world)
        world.stage(0, 5)
        await world.settle()
        for ref in forged.values():
            world.entity.batch_staged(ref)
            await world.settle()
        assert world.state.forged == len(forged)
        assert world.state.forged_reason == "the id of its topic or of its cluster is too long"
        assert (len(world.running()), world.state.halted, world.activities) == (1, "", [])
        assert (world.state.pending, world.state.undecided) == ([], [])
        world.start(0)
        await world.settle()
        world.end_child(0, fails=False)
        await world.settle()
        assert world.positions[0] == 5

    play(story)


def test_a_failure_from_before_a_resume_halts_nothing() -> None:
    """The operator resumes between the failure and the rewind: that halt is void before it is written."""

    async def story(world: World) -> None:
        await fail_until_the_halt(world)
        world.resume()
        await world.settle()
        epoch = world.epoch
        await answer_everything(world)
        assert (world.halted, world.state.halted) == (False, "")
        assert world.epoch == epoch, "consumers seek already"

    play(story)


def test_a_resume_that_is_late_does_not_start_a_source_that_halted_since() -> None:
    async def story(world: World) -> None:
        await fail_until_the_halt(world)
        await answer_everything(world)
        assert world.halted
        world.entity.resume()  # of an earlier resume; its signal was on the way
        await world.settle()
        await answer_everything(world)
        assert world.halted
        assert world.state.halted
        world.expire(1)
        await world.settle()
        assert world.running() == []

    play(story)


def test_a_resume_while_the_row_is_being_read_makes_it_read_the_row_again() -> None:
    async def story(world: World) -> None:
        await fail_until_the_halt(world)
        world.answer()  # the rewind
        await world.settle()
        name, request, answer = world.activities.pop()
        assert name == "load_source"
        before = world._load_source(request)
        world.resume()
        await world.settle()
        answer.set_result(before)
        await world.settle()
        await answer_everything(world)
        assert (world.halted, world.state.halted) == (False, "")

    play(story)


def test_a_halted_source_that_is_retired_and_configured_again_runs() -> None:
    async def story(world: World) -> None:
        await fail_until_the_halt(world)
        await answer_everything(world)
        assert world.state.halted
        world.configure_again()
        await world.settle()
        await answer_everything(world)
        assert world.state.halted == ""
        await world.drain()

    world = play(story)
    assert world.positions == world.end


def test_records_of_a_resume_that_the_entity_never_heard_of_are_published() -> None:
    async def story(world: World) -> None:
        await fail_until_the_halt(world)
        await answer_everything(world)
        world.resume_in_database()  # its signal is lost
        world.stage(0, 5)
        await world.settle()
        await answer_everything(world)
        assert world.state.halted == ""
        assert len(world.running()) == 1

    play(story)


def test_after_a_restore_of_an_older_epoch_records_are_published() -> None:
    async def story(world: World) -> None:
        world.epoch = 3
        world.back_up_database()
        world.epoch = 5
        world.read_epoch = dict.fromkeys(world.read_epoch, 5)
        await load(world)
        assert world.state.epoch == 5
        world.restore_database()
        world.stage(0, 5)
        world.stage(1, 5)
        await world.settle()
        await answer_everything(world)
        assert (world.state.epoch, world.state.outdated) == (3, 0)
        assert len(world.running()) == 1
        await world._finish_everything()
        assert world.positions == {0: 5, 1: 5}

    play(story)


def test_a_straggler_of_an_older_epoch_is_dropped_and_counted() -> None:
    async def story(world: World) -> None:
        await load(world)
        world.resume_in_database()
        world.entity.reload()
        await world.settle()
        await answer_everything(world)
        world.stage(0, 5, notices_rewind=False)
        await world.settle()
        await answer_everything(world)
        assert (world.state.outdated, world.running()) == (1, [])

    play(story)
