"""The group and its topics change under running consumers: members come and go, partitions are added."""

import asyncio
import itertools
import json
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewPartitions

from corpus.source import SourceSpec
from tests.support.consuming import Bench, bench
from tests.support.fix_temporal import TemporalEnv
from tests.support.fleet import Fleet, check_that_ranges_meet, fleet
from tests.support.pipeline import make_event
from tests.support.polling import until

pytestmark = pytest.mark.timeout(180)
_GROUPS = itertools.count(1)
SEED = 4
EVENTS = 120


@pytest.fixture
def stand(database_url: str, kafka_bootstrap: str, tmp_path: Path) -> Iterator[Bench]:
    with bench(database_url, kafka_bootstrap, tmp_path, f"members-{next(_GROUPS)}") as made:
        yield made


@pytest.fixture
async def live(
    temporal_env: TemporalEnv, database_url: str, kafka_bootstrap: str, tmp_path: Path
) -> AsyncIterator[Fleet]:
    client = await temporal_env.client()
    async with fleet(client, database_url, kafka_bootstrap, tmp_path) as running:
        yield running


async def test_members_that_come_and_go_in_the_middle_of_batches_lose_nothing(
    stand: Bench, make_topic: Callable[..., str]
) -> None:
    """Each change of the group revokes partitions whose micro-batches are in flight."""
    print("seed", SEED)
    rng = random.Random(SEED)
    topic = make_topic(partitions=6)
    stand.add_source("s", topic, max_records=10)
    async with stand.consumer(slowly(stand, rng)):
        for number in range(4):
            await others_come_and_go(stand, topic, rng, first=number * EVENTS)
        await until(lambda: stand.ledger.records() == 4 * EVENTS, seconds=60)
        positions = "SELECT sum(next_offset) FROM freshet.source_position"
        await until(lambda: stand.execute(positions) == [(4 * EVENTS,)])
    ranges = stand.ledger.ranges().values()
    assert all(len(covered) == 1 and covered[0][0] == 0 for covered in ranges)


async def others_come_and_go(stand: Bench, topic: str, rng: random.Random, *, first: int) -> None:
    """One or two more consumers, for as long as the last of them needs to hand something over."""
    async with AsyncExitStack() as others:
        for _ in range(rng.randint(0, 1)):
            await others.enter_async_context(stand.consumer(slowly(stand, rng)))
        last = await others.enter_async_context(stand.consumer(slowly(stand, rng)))
        stand.produce(topic, EVENTS // 2, first=first)
        await until(lambda: last._poller.assignment.partitions)
        stand.produce(topic, EVENTS // 2, first=first + EVENTS // 2)
        await until(lambda: last.handed_over_records)


def slowly(stand: Bench, rng: random.Random) -> Callable[..., Any]:
    """A hand-over that is often in flight when the group changes."""

    async def hand_over(*given: Any) -> None:
        await asyncio.sleep(rng.uniform(0, 0.2))
        await stand.ledger.hand_over(*given)

    return hand_over


async def test_partitions_that_are_added_are_read_from_their_beginning(
    live: Fleet, make_topic: Callable[..., str]
) -> None:
    """Also by a consumer that runs; the new partitions belong to the same source without an apply."""
    topic = make_topic(partitions=1)
    live.add_source(SourceSpec(source="s", topics=(topic,)))
    live.produce(topic, [make_event("before", 1, "one partition")])
    await live.drained()
    admin: Any = AdminClient({"bootstrap.servers": live.bootstrap})
    admin.create_partitions([NewPartitions(topic, 4)])[topic].result(30)
    producer = Producer({"bootstrap.servers": live.bootstrap})  # one that knows them
    for partition in range(4):
        value = json.dumps(make_event(f"in-{partition}", 1, "Sluice."))
        producer.produce(topic, value, key=f"in-{partition}", partition=partition)
    assert producer.flush(30) == 0
    await live.drained()
    wanted = {"before": 1} | {f"in-{partition}": 1 for partition in range(4)}
    await until(lambda: live.visible("s") == wanted, seconds=60)
    check_that_ranges_meet(live.ranges("s"))
