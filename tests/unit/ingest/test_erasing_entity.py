"""What the entity does with orders to erase, without a server: they wait for no person and for no other order."""

from collections.abc import Callable

import pytest
from temporalio.exceptions import CancelledError

from corpus.batch import Erase, Ingest
from ingest.source_state import SourceState, accept_document_order, has_order, take_order
from tests.support.entity_stories import play
from tests.support.entity_world import MAX_IN_FLIGHT, World
from tests.support.orders import make_correction, make_erasure, make_expiry, make_ref


def orders_of(world: World) -> list[object]:
    return [child.batch.order for child in world.children]


async def load(world: World) -> None:
    world.answer()
    await world.settle()


def pause(world: World) -> None:
    world.entity.pause()


def halt(world: World) -> None:
    world.halted = True  # in the database, too
    world.state.halted = "a person must look"


@pytest.mark.parametrize("stop", [pause, halt], ids=["paused", "halted"])
def test_a_source_that_waits_for_a_person_still_forgets(stop: Callable[[World], None]) -> None:
    async def story(world: World) -> None:
        await load(world)
        stop(world)
        world.stage(0, 12)
        world.entity.erase(make_erasure())
        await world.settle()
        assert orders_of(world) == [make_erasure()]
        world.start(0)
        await world.settle()
        world.end_child(0, fails=False)
        await world.settle()
        assert (world.published, world.state.erasures) == ([1], [])
        assert orders_of(world) == [make_erasure()], "nothing else has begun"

    play(story)


def test_an_erasure_goes_before_all_that_waits() -> None:
    state = SourceState(source="s", loaded=True, max_records=100, max_bytes=10_000)
    state.pending.append(make_ref(0, 10))
    state.expiries.append(make_expiry())
    accept_document_order(state, make_correction())
    for number in (1, 2):
        accept_document_order(state, make_erasure(number))
    taken = [take_order(state) for _ in range(5)]
    assert taken[:2] == [make_erasure(1), make_erasure(2)]
    assert not has_order(state)


def test_the_same_order_waits_once_and_may_come_again_afterwards() -> None:
    async def story(world: World) -> None:
        for _ in range(3):
            world.entity.erase(make_erasure())
        assert world.state.erasures == [make_erasure()]
        await load(world)
        assert orders_of(world) == [make_erasure()]
        world.entity.erase(make_erasure())  # it runs, and the command was repeated
        await world.settle()
        assert orders_of(world) == [make_erasure(), make_erasure()]

    play(story)


def test_an_erasure_waits_for_a_place_beside_running_batches() -> None:
    async def story(world: World) -> None:
        await load(world)
        for _ in range(MAX_IN_FLIGHT):
            world.stage(0, 12)
            await world.settle()
            world.start(0)
            await world.settle()
        world.stage(0, 12)
        world.entity.erase(make_erasure())
        await world.settle()
        assert make_erasure() not in orders_of(world)
        world.end_child(0, fails=False)
        await world.settle()
        assert [type(order) for order in orders_of(world)[MAX_IN_FLIGHT:]] == [Erase]

    play(story)


def test_an_erasure_behind_a_batch_that_fails_is_carried_out_afterwards() -> None:
    async def story(world: World) -> None:
        await load(world)
        world.stage(0, 12)
        await world.settle()
        world.start(0)
        await world.settle()
        world.entity.erase(make_erasure())
        await world.settle()
        world.start(0)
        await world.settle()
        assert [type(order) for order in orders_of(world)] == [Ingest, Erase]
        world.end_child(0, fails=True)
        await world.settle()
        world.children[1].fail(CancelledError())
        await world.settle()
        assert world.state.erasures == [make_erasure()]
        await world.drain()
        assert orders_of(world).count(make_erasure()) == 2
        assert world.state.erasures == []

    play(story)


def test_a_refused_erasure_stops_no_event() -> None:
    async def story(world: World) -> None:
        await load(world)
        world.entity.erase(make_erasure())
        world.stage(0, 12)
        await world.settle()
        world.start(0)
        world.start(0)
        await world.settle()
        world.end_child(0, fails=True)
        await world.settle()
        assert world.activities == []  # no rewind
        world.end_child(0, fails=False)
        await world.settle()
        assert world.published == [2]

    play(story)


def test_what_waits_to_be_erased_goes_into_the_next_run() -> None:
    async def story(world: World) -> None:
        world.suggest_continue_as_new()
        for number in (1, 2):
            world.entity.erase(make_erasure(number))
        await load(world)
        assert world.runs == 2
        assert orders_of(world) == [make_erasure(1), make_erasure(2)]

    play(story)


def test_no_state_of_the_entity_holds_an_id() -> None:
    """An order carries a number only; which documents, the database says."""
    assert list(Erase.__dataclass_fields__) == ["erasure"]
