"""Where batches are slow, small orders of a source wait for one batch together."""

import pytest

from corpus.batch import Expire, Ingest
from ingest.source_state import FIRST_BATCH_BYTES, SLOW_BATCH_SECONDS
from tests.support.entity_stories import load, play, start_batches
from tests.support.entity_world import World


async def publish_slowly(world: World) -> None:
    """One batch, which takes longer than a batch of a service that keeps up."""
    await start_batches(world, 1)
    world.module.pass_time(SLOW_BATCH_SECONDS + 1.0)
    world.end_child(0, fails=False)
    await world.settle()


def test_small_orders_wait_together_where_batches_are_slow() -> None:
    async def story(world: World) -> None:
        await load(world)
        await publish_slowly(world)
        await start_batches(world, 1)  # nothing runs, so it does not wait
        for _ in range(3):
            world.stage(0, 2)
        await world.settle()
        assert len(world.running()) == 1
        world.end_child(0, fails=False)
        await world.settle()
        [child] = world.running()
        assert isinstance(child.batch.order, Ingest)
        assert len(child.batch.order.refs) == 3

    play(story)


def test_what_is_worth_a_batch_does_not_wait_where_batches_are_slow() -> None:
    async def story(world: World) -> None:
        await load(world)
        await publish_slowly(world)
        await start_batches(world, 1)
        world.stage(0, 2, staged_bytes=FIRST_BATCH_BYTES)
        world.expire(1)
        await world.settle()
        orders = [type(child.batch.order) for child in world.running()]
        assert orders == [Ingest, Expire, Ingest]

    play(story)


@pytest.mark.parametrize("records", [12, 1], ids=["a full batch", "less"])
def test_records_without_bytes_that_fill_a_batch_do_not_wait(records: int) -> None:
    async def story(world: World) -> None:
        await load(world)
        await publish_slowly(world)
        await start_batches(world, 1)
        world.stage(0, records, staged_bytes=0)
        await world.settle()
        assert len(world.running()) == 1 + (records == 12)

    play(story)


def test_small_orders_run_side_by_side_again_where_batches_are_quick() -> None:
    async def story(world: World) -> None:
        await load(world)
        await publish_slowly(world)
        await start_batches(world, 1)
        world.end_child(0, fails=False)
        await world.settle()
        await start_batches(world, 2)

    play(story)
