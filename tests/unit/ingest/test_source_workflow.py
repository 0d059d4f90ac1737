"""The decisions of SourceWorkflow, without a server."""

import asyncio
from collections.abc import Awaitable, Callable
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.entity_world import World

Story = Callable[[World], Awaitable[None]]

partitions = st.integers(0, 1)
numbers = st.integers(0, 5)
STEPS = st.one_of(
    st.tuples(st.just("stage"), partitions, st.integers(1, 6)),
    st.tuples(st.just("stage"), partitions, st.integers(1, 6)),
    st.tuples(st.just("stage before it notices the rewind"), partitions, st.integers(1, 6)),
    st.tuples(st.just("repeat"), numbers, st.just(0)),
    st.tuples(st.just("restart consumer"), partitions, st.just(0)),
    st.tuples(st.just("expire"), numbers, st.just(0)),
    st.tuples(st.just("start"), numbers, st.just(0)),
    st.tuples(st.just("end"), numbers, st.just(0)),
    st.tuples(st.just("end"), numbers, st.just(0)),
    st.tuples(st.just("fail"), numbers, st.just(0)),
    st.tuples(st.just("answer"), st.just(0), st.just(0)),
    st.tuples(st.just("answer"), st.just(0), st.just(0)),
    st.tuples(st.just("refuse"), st.just(0), st.just(0)),
    st.tuples(
        st.sampled_from(["pause", "resume", "resume in database", "reload", "suggest"]),
        st.just(0),
        st.just(0),
    ),
)


def perform(world: World, step: str, number: int, records: int) -> None:
    actions: dict[str, Callable[[], None]] = {
        "stage": lambda: world.stage(number, records),
        "stage before it notices the rewind": lambda: world.stage(
            number, records, notices_rewind=False
        ),
        "repeat": lambda: world.repeat(number),
        "restart consumer": lambda: world.restart_consumer(number),
        "expire": lambda: world.expire(number),
        "start": lambda: world.start(number),
        "end": lambda: world.end_child(number, fails=False),
        "fail": lambda: world.end_child(number, fails=True),
        "answer": world.answer,
        "refuse": lambda: world.answer(refuses=True),
        "pause": lambda: world.entity.pause(),
        "resume": world.resume,
        "resume in database": world.resume_in_database,
        "reload": lambda: world.entity.reload(),
        "suggest": lambda: setattr(world.module, "continue_as_new_suggested", True),
    }
    actions[step]()


def play(story: Story) -> World:
    """Run a story with an entity, and end the entity."""

    async def run() -> World:
        world = World()
        with patch("ingest.workflows.workflow", world.module):
            try:
                await world.settle()
                await story(world)
            finally:
                world.task.cancel()
                await asyncio.gather(world.task, return_exceptions=True)
        return world

    return asyncio.run(run())


@settings(max_examples=200, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_nothing_is_lost_nothing_is_published_twice_and_batches_are_in_order(
    steps: list[tuple[str, int, int]],
) -> None:
    """The order of batches is checked by the model whenever one may publish, and when it does."""

    async def story(world: World) -> None:
        for step, number, records in steps:
            perform(world, step, number, records)
            await world.settle()
        await world.drain()

    world = play(story)
    assert world.positions == world.end
    assert world.gaps == []
    executed = world.expired + world.refused
    assert len(executed) == len(set(executed))
    # An order may be replaced by a newer one; the newest is carried out.
    requests = list(dict.fromkeys(number for step, number, _ in steps if step == "expire"))
    assert not requests or f"r{requests[-1]}" in executed
