"""Stories of a source's entity (`tests.support.entity_world`): how one is played, and how many begin."""

import asyncio
from collections.abc import Awaitable, Callable
from unittest.mock import patch

from tests.support.entity_world import World


def play(story: Callable[[World], Awaitable[None]]) -> World:
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


async def load(world: World) -> None:
    """The entity's first activity."""
    world.answer()
    await world.settle()


async def start_batches(world: World, count: int) -> None:
    """Full references, one per batch; all of them are started."""
    for _ in range(count):
        world.stage(0, 12)
        await world.settle()
        world.start(0)
        await world.settle()
    assert len(world.running()) == count
