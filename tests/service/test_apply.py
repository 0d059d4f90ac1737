"""`freshet apply` on real PostgreSQL, Kafka and Temporal.

What is planned is what is done, once, and never against another.
"""

import asyncio
import itertools
import json
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.service import RPCError

from corpus.database import connect
from corpus.errors import ConfigurationError, DependencyError, LockWaitError
from corpus.locks import lock_waits
from corpus.source import source_workflow_id
from corpus.sql import query
from freshness.schedules import schedule_id
from freshness.schedules import write as write_schedule
from ingest.kafka import Cluster
from ingest.source_state import SourceState
from ingest.workflows import SourceWorkflow
from tests.support.polling import until
from tests.support.team_env import add_batch, add_document
from workers.apply.change import Action, Change, StalePlanError
from workers.apply.endpoints import Endpoints
from workers.apply.kind import Kind, Services
from workers.apply.namespaces import Namespaces
from workers.apply.plan import KINDS, execute, plan
from workers.apply.schedules import Schedules
from workers.apply.subscriptions import subscriptions
from workers.config.file import Config, parse

pytestmark = [pytest.mark.service, pytest.mark.timeout(180)]
_NUMBERS = itertools.count(1)


class World:
    """The services of one test, with names that no other test uses."""

    def __init__(self, database_url: str, bootstrap: str, address: str, namespace: str) -> None:
        number = f"{os.getpid()}-{next(_NUMBERS)}"
        self.database_url, self.bootstrap = database_url, bootstrap
        self.address, self.namespace = address, namespace
        self.topic, self.team = f"apply-{number}", f"apply-team-{number}"
        self.kinds: list[Kind[Any]] = [
            Endpoints(f"apply-corpus-{number}") if isinstance(kind, Endpoints) else kind
            for kind in KINDS
        ]

    def config(self, *sources: str, extra: str = "", team: tuple[str, ...] = ()) -> Config:
        """Sources of one topic each; `extra` are lines of the first; `team` is notified of these sources."""
        lines: list[str] = []
        for name in sources:
            lines += [f"[source.{name}]", f'topics = ["{self.topic}-{name}"]', "partitions = 1"]
            lines += [extra] if name == sources[0] else []
        if team:
            lines += [
                "[subscriber.team]",
                f"sources = {json.dumps(team)}",
                f'endpoint = "{self.team}"',
                f'namespace = "{self.team}"',
                'task_queue = "q"',
            ]
        return parse("\n".join(lines))

    @asynccontextmanager
    async def services(self) -> AsyncGenerator[Services]:
        client = await Client.connect(self.address, namespace=self.namespace)
        with connect(self.database_url) as connection:
            yield Services(
                connection=connection, cluster=Cluster(self.bootstrap, {}), client=client
            )

    async def plan(self, config: Config, *, prune: bool = False) -> list[Change[Any]]:
        async with self.services() as services:
            return await plan(services, config, prune=prune, kinds=self.kinds)

    async def execute(self, changes: list[Change[Any]]) -> list[Change[Any]]:
        async with self.services() as services:
            return await execute(services, changes, kinds=self.kinds)

    async def apply(self, config: Config, *, prune: bool = False) -> dict[str, Action]:
        """Plan and carry out; returns what was done beside what is unchanged."""
        changes = await self.plan(config, prune=prune)
        assert await self.execute(changes) == changes
        needed = [change for change in changes if change.action is not Action.UNCHANGED]
        return {f"{change.kind} {change.name}": change.action for change in needed}


@pytest.fixture
async def world(database_url: str, kafka_bootstrap: str, temporal_env: Any) -> World:
    namespace = await temporal_env.namespace()
    return World(database_url, kafka_bootstrap, temporal_env.address, namespace)


async def test_from_nothing_to_nothing(world: World) -> None:
    """Create, unchanged, change, unlisted, retire, delete, end; each as the plan said."""
    first = world.config("a", "b", team=("a", "b"))
    created = await world.apply(first)
    assert set(created.values()) == {Action.CREATE}
    kinds = [name.split()[0] for name in created]
    assert kinds == [
        *["space", "topic", "topic", "source", "source", "namespace", "schedule", "schedule"],
        *["purge", "purge"],
        *["endpoint", "endpoint", "subscription", "subscription"],
    ]
    assert await world.apply(first) == {}
    slower = '[source.a.freshness]\ncheck_every = "2h"'
    assert await world.apply(world.config("a", "b", extra=slower, team=("a", "b"))) == {
        "source a": Action.CHANGE,
        f"schedule {schedule_id('a')}": Action.CHANGE,
    }
    only = world.config("a", extra=slower, team=("a",))
    assert await world.apply(only) == {
        "source b": Action.UNLISTED,
        "subscription team:b": Action.UNLISTED,
    }
    assert await world.apply(only, prune=True) == {
        "source b": Action.RETIRE,
        f"schedule {schedule_id('b')}": Action.DELETE,
        "subscription team:b": Action.END,
    }
    assert await world.apply(only, prune=True) == {}
    back = await world.apply(world.config("a", "b", extra=slower, team=("a", "b")))
    assert back == {
        "source b": Action.CHANGE,
        f"schedule {schedule_id('b')}": Action.CREATE,
        "subscription team:b": Action.CREATE,
    }


async def test_a_plan_changes_nothing(world: World) -> None:
    config = world.config("a", team=("a",))
    assert await world.plan(config) == await world.plan(config)
    async with world.services() as services:
        assert services.cluster.topics([f"{world.topic}-a"]) == {}
        assert subscriptions(services.connection) == []
        assert await Namespaces().current(services, [world.team]) == {}
        with pytest.raises(RPCError):
            await services.client.get_schedule_handle(schedule_id("a")).describe()


async def test_a_plan_that_is_carried_out_twice_changes_nothing_more(world: World) -> None:
    changes = await world.plan(world.config("a", team=("a",)))
    await world.execute(changes)
    before = await state_of(world)
    assert await world.execute(changes) == changes
    assert await state_of(world) == before


async def test_another_apply_in_between_is_not_overwritten(world: World) -> None:
    """Two files change one source: the plan that is carried out late refuses, and names the source."""
    await world.apply(world.config("a"))
    late = await world.plan(world.config("a", extra="[source.a.limits]\nmax_records = 10"))
    await world.apply(world.config("a", extra="[source.a.limits]\nmax_records = 20"))
    before = await state_of(world)
    with pytest.raises(StalePlanError, match=r"^change source a: .*run `freshet apply` again"):
        await world.execute(late)
    assert await state_of(world) == before


async def test_a_late_plan_deletes_no_schedule_of_a_source_that_came_back(world: World) -> None:
    await world.apply(world.config("a", "b"))
    await world.apply(world.config("a"), prune=True)
    async with world.services() as services:
        # A schedule that was left behind: an earlier run ended before it could delete it.
        await write_schedule(services.client, world.config("b").sources[0])
        late = await world.plan(world.config("a"), prune=True)
        assert [change.action for change in late if change.is_needed] == [Action.DELETE]
        await world.apply(world.config("a", "b"))
        with pytest.raises(StalePlanError, match=r"^delete schedule freshet/b/freshness: "):
            await world.execute(late)
        assert await Schedules().current(services, [schedule_id("b")])


async def test_a_retired_source_is_checked_until_its_documents_have_ended(world: World) -> None:
    await world.apply(world.config("a", "b"))
    with connect(world.database_url) as connection:
        add_batch(connection, "b", 1)
        add_document(connection, "b", "notice", 1, 1, expires_at="2100-01-01")
        retired = await world.apply(world.config("a"), prune=True)
        assert retired == {"source b": Action.RETIRE}
        assert await world.apply(world.config("a"), prune=True) == {}
        connection.execute("UPDATE freshet.document SET visible_to = now(), end_reason = 'expired'")
    ended = await world.apply(world.config("a"), prune=True)
    assert ended == {f"schedule {schedule_id('b')}": Action.DELETE}


async def test_two_at_the_same_time_do_it_once(world: World) -> None:
    changes = await world.plan(world.config("a", "b", team=("a", "b")))

    def in_a_thread() -> list[Change[Any]]:
        return asyncio.run(world.execute(changes))

    results = await asyncio.gather(*(asyncio.to_thread(in_a_thread) for _ in range(4)))
    assert results == [changes] * 4
    revisions = [row["revision"] for row in (await state_of(world))["sources"]]
    assert revisions == [1, 1]
    assert await world.apply(world.config("a", "b", team=("a", "b"))) == {}


async def test_each_source_changes_by_itself(world: World) -> None:
    """What fails is named, and what was changed before it stays and is reported."""
    await world.apply(world.config("a", "b"))
    changes = await world.plan(
        world.config("a", "b", extra="[source.a.limits]\nmax_records = 10"), prune=True
    )
    gone = [replace(change, name="gone") for change in changes if change.name == "b"]
    bad = [replace(change, action=Action.CHANGE) for change in gone]
    before = await state_of(world)
    sources = [change for change in changes if change.name == "a"]
    stale = [replace(change, desired=sources[0].desired) for change in bad]
    with pytest.raises(StalePlanError, match="source gone"):
        await world.execute([*sources, *stale])
    after = await state_of(world)
    revisions = [row["revision"] for row in after["sources"]]
    assert revisions == [2, 1]
    assert after | {"sources": 0} == before | {"sources": 0}


async def test_a_source_that_is_being_published_holds_up_no_other(world: World) -> None:
    """A publish holds its source's row for as long as it takes; the others are changed, and can publish."""
    await world.apply(world.config("a", "b", "c"))
    changed = [
        replace(source, limits=replace(source.limits, max_records=7))
        for source in world.config("a", "b", "c").sources
    ]
    changes = await world.plan(replace(world.config("a", "b", "c"), sources=tuple(changed)))
    with (
        connect(world.database_url, autocommit=False) as publishing,
        connect(world.database_url) as other,
    ):
        publishing.execute(query("lock_source"), {"source": "b"})

        def apply() -> None:
            asyncio.run(world.execute(changes))

        applying = asyncio.create_task(asyncio.to_thread(apply))
        waiting = await until(lambda: lock_waits(other), what="apply waits for source b")
        assert waiting[0].wanted == "row of source b"
        other.execute("SET lock_timeout = '1s'")
        for name in ("a", "c"):
            other.execute(query("lock_source"), {"source": name})
        with pytest.raises(LockWaitError, match=r"^change source b: .*`freshet doctor`"):
            await applying
        publishing.rollback()
    revisions = [row["revision"] for row in (await state_of(world))["sources"]]
    assert revisions == [2, 1, 2]
    await world.execute(changes)
    revisions = [row["revision"] for row in (await state_of(world))["sources"]]
    assert revisions == [2, 2, 2]


async def test_an_operators_pause_of_a_schedule_is_kept(world: World) -> None:
    await world.apply(world.config("a"))
    async with world.services() as services:
        handle = services.client.get_schedule_handle(schedule_id("a"))
        await handle.pause(note="an operator's")
        await world.apply(world.config("a", extra='[source.a.freshness]\ncheck_every = "2h"'))
        described = (await handle.describe()).schedule
        assert described.spec.intervals[0].every == timedelta(hours=2)
        assert described.policy.catchup_window == timedelta(minutes=10)
        assert (described.state.paused, described.state.note) == (True, "an operator's")


async def test_a_schedule_that_is_not_ours_is_left_alone(world: World) -> None:
    await world.apply(world.config("a"))
    async with world.services() as services:
        ours = await services.client.get_schedule_handle(schedule_id("a")).describe()
        await services.client.create_schedule("theirs", ours.schedule)

        async def listed() -> bool:
            found = [each.id async for each in await services.client.list_schedules()]
            return "theirs" in found

        await until(listed)
        deleted = await world.apply(world.config(), prune=True)
        assert deleted == {
            "source a": Action.RETIRE,
            f"schedule {schedule_id('a')}": Action.DELETE,
        }


async def test_a_change_reaches_the_entity_that_runs(world: World) -> None:
    await world.apply(world.config("a"))
    async with world.services() as services:
        handle = await services.client.start_workflow(
            SourceWorkflow.run,
            SourceState(source="a"),
            id=source_workflow_id("a"),
            task_queue="nobody",
        )
        await world.apply(world.config("a", extra="[source.a.limits]\nmax_records = 10"))
        history = await handle.fetch_history()
        signals = [
            event.workflow_execution_signaled_event_attributes.signal_name
            for event in history.events
        ]
        assert signals.count("reload") == 1


async def test_a_delivery_that_temporal_lost_is_started_again(world: World) -> None:
    config = world.config("a", team=("a",))
    await world.apply(config)
    async with world.services() as services:
        await services.client.get_workflow_handle("delivery:team:a").terminate()
        changes = [change for change in await world.plan(config) if change.is_needed]
        assert [(change.name, change.fields) for change in changes] == [
            ("team:a", (("delivery", "not running", "running"),))
        ]
        await world.apply(config)
        assert [change for change in await world.plan(config) if change.is_needed] == []


async def test_a_subscription_moves_to_another_endpoint(world: World) -> None:
    config = world.config("a", team=("a",))
    await world.apply(config)
    other = replace(
        config, subscribers=(replace(config.subscribers[0], endpoint=f"{world.team}-2"),)
    )
    assert await world.apply(other) == {
        f"endpoint {world.team}-2": Action.CREATE,
        "subscription team:a": Action.CHANGE,
    }
    moved = replace(config, subscribers=(replace(other.subscribers[0], task_queue="other"),))
    assert await world.apply(moved) == {f"endpoint {world.team}-2": Action.CHANGE}


async def test_one_endpoint_has_one_target(world: World) -> None:
    config = world.config("a", team=("a",))
    clash = replace(config.subscribers[0], subscriber="other", task_queue="other")
    with pytest.raises(ConfigurationError, match="also used with another target"):
        await world.plan(replace(config, subscribers=(*config.subscribers, clash)))


async def test_kafka_that_is_away_stops_the_plan_before_anything_is_changed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.kafka._ANSWER_SECONDS", 1)
    before = await state_of(world)
    world.bootstrap = "127.0.0.1:1"
    with pytest.raises(DependencyError, match="Kafka"):
        await world.apply(world.config("a"))
    assert await state_of(world) == before


async def state_of(world: World) -> dict[str, Any]:
    """Rows that `apply` writes, without times."""
    async with world.services() as services:
        execute_query = services.connection.execute
        names = ("source", "spec", "revision", "state")
        rows = execute_query(
            "SELECT source, spec, revision, state FROM freshet.source ORDER BY source"
        ).fetchall()
        spaces = execute_query("SELECT fingerprint FROM freshet.embedding_space").fetchall()
        return {
            "sources": [dict(zip(names, row, strict=True)) for row in rows],
            "spaces": spaces,
            "subscriptions": [
                (row["subscriber"], row["source"], row["endpoint"], row["state"])
                for row in subscriptions(services.connection)
            ],
        }
