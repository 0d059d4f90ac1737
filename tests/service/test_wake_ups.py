"""Publishing does not depend on notifying: whatever becomes of a wake-up, the source publishes on, nothing is lost."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import WorkflowExecutionStatus
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from corpus import task_queues
from corpus.batch import Expire
from corpus.deliver import activities as delivery_activities
from corpus.deliver import attempts
from corpus.deliver.activities import wake_delivery
from corpus.deliver.subscription import WakeDue, WakeOutcome, delivery_workflow_id
from corpus.deliver.workflows import MAX_SIGNALS, DeliveryWorkflow
from corpus.source import source_workflow_id
from tests.service.test_delivery import listening
from tests.support.polling import until
from tests.support.team_env import (
    Env,
    add_batch,
    all_workers,
    connection_to,
    delivery,
    fill,
    make_env,
    make_source,
)

pytestmark = [pytest.mark.service, pytest.mark.timeout(180)]

ENTITY = source_workflow_id("peps")
DELIVERY = delivery_workflow_id("team", "peps")


@dataclass
class Source:
    """A source whose batches are expiries of one document each."""

    env: Env
    db: Any
    batches: int = 1
    expired: list[str] = field(default_factory=list)

    async def publish(self, count: int = 1) -> None:
        """Publish batches, one after the other; each must be in the ledger within seconds."""
        for _ in range(count):
            self.batches += 1
            name = f"pep-{self.batches}"
            self.db.execute(
                "UPDATE freshet.document SET expires_at = now() WHERE document_id = %s", (name,)
            )
            order = Expire(request_id=name, rule="expires_at", expire_after_seconds=None)
            await self.env.client.start_workflow(
                "SourceWorkflow",
                {"source": "peps"},
                id=ENTITY,
                task_queue=task_queues.WORKFLOWS,
                start_signal="expire",
                start_signal_args=[order],
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            )
            await until(self._newest_is_published, seconds=15, what=f"batch {self.batches}")

    def _newest_is_published(self) -> bool:
        row = self.db.execute("SELECT last_batch FROM freshet.source").fetchone()
        return row[0] >= self.batches

    async def running_batches(self) -> list[str]:
        query = "WorkflowType = 'BatchWorkflow' AND ExecutionStatus = 'Running'"
        return [run.id async for run in self.env.client.list_workflows(query)]


@pytest.fixture(autouse=True)
def parks_soon(monkeypatch):
    monkeypatch.setattr(attempts, "MIN_RETRY_INTERVAL", timedelta(milliseconds=50))


@pytest.fixture
async def source(env, db):
    make_source(db, max_expiry_ratio=1.0)
    fill(db, documents=40)
    return Source(env, db)


async def parked(db) -> bool:
    row = delivery(db)
    return row["delivery"] == "parked" and "declined 3 times" in (row["last_error"] or "")


async def runs_of(env, workflow_id: str) -> int:
    return len([run async for run in env.client.list_workflows(f"WorkflowId = '{workflow_id}'")])


# ── a parked subscriber ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_parked_subscriber_gets_one_wake_up_for_all_batches(env, db, source, tmp_path):
    await env.reconcile(env.subscriber("peps"))
    async with all_workers(env, tmp_path), listening(env.team) as team:
        team.decline.update(range(1, 1000))
        await until(lambda: parked(db), seconds=60)
        assert delivery(db)["wake_ups"] == 0
        entity = env.client.get_workflow_handle(ENTITY)
        await source.publish(2)
        await until(lambda: _nothing_to_wake(entity))
        # One for the batches, and perhaps one when the entity began.
        woken = delivery(db)["wake_ups"]
        assert 1 <= woken <= 2
        await source.publish(3)
        await until(lambda: _nothing_to_wake(entity))
        assert delivery(db)["wake_ups"] == woken
        # Resumed, it reads everything that was published meanwhile.
        team.decline.clear()
        await env.client.get_workflow_handle(DELIVERY).signal("resume")
        await until(lambda: delivery(db)["cursor_batch"] == source.batches)
        assert team.batches() == [*range(1, source.batches + 1)]
        # And it is woken again.
        await source.publish()
        await until(lambda: delivery(db)["cursor_batch"] == source.batches)


async def _nothing_to_wake(entity) -> bool:
    state = await entity.query("status")
    return state["to_wake"] == 0


async def test_wake_ups_of_a_parked_delivery_stop_no_source(env, db, source, tmp_path):
    """More signals than one run takes: sent directly, as a version before sent one per batch and subscriber."""
    await env.reconcile(env.subscriber("peps"))
    async with all_workers(env, tmp_path), listening(env.team) as team:
        team.decline.update(range(1, 1000))
        await until(lambda: parked(db), seconds=60)
        handle = env.client.get_workflow_handle(DELIVERY)
        sent = 0

        async def signal() -> None:
            nonlocal sent
            while sent < 3 * MAX_SIGNALS:
                sent += 1
                await handle.signal("published", sent)

        await asyncio.gather(*(signal() for _ in range(16)))
        await until(lambda: _runs_at_least(env, DELIVERY, 3))
        await wake_delivery(env.client, "team", "peps", 1)
        await source.publish(2)
        await until(lambda: _is_empty(source.running_batches))
        # The pause goes on in the runs that followed: the team is not called once more.
        view = await env.client.get_workflow_handle_for(DeliveryWorkflow.run, DELIVERY).query(
            DeliveryWorkflow.status
        )
        assert (view.waiting_for, view.declined) == ("resume", attempts.DECLINES_BEFORE_PARKING)
        assert await parked(db)
        team.decline.clear()
        await handle.signal("resume")
        await until(lambda: delivery(db)["cursor_batch"] == source.batches)


async def _runs_at_least(env, workflow_id: str, least: int) -> bool:
    return await runs_of(env, workflow_id) >= least


async def _is_empty(listing) -> bool:
    return not await listing()


async def test_a_parked_delivery_with_a_long_history_continues_as_new(
    database_url, temporal_short_history
):
    env = await make_env(database_url, temporal_short_history)
    with connection_to(env) as db:
        make_source(db)
        add_batch(db, "peps", 1)
        await env.reconcile(env.subscriber("peps"))
        async with env.light_worker(), listening(env.team) as team:
            team.decline = {1}
            await until(lambda: parked(db), seconds=60)
            for number in range(120):
                await wake_delivery(env.client, "team", "peps", number)
            await until(lambda: _runs_at_least(env, DELIVERY, 2))
            assert await parked(db)
            await env.client.get_workflow_handle(DELIVERY).signal("published", 1)
            team.decline = set()
            await env.client.get_workflow_handle(DELIVERY).signal("resume")
            await until(lambda: team.batches() == [1])


async def test_woken_without_a_batch_it_continues_as_new(database_url, temporal_short_history):
    env = await make_env(database_url, temporal_short_history)
    with connection_to(env) as db:
        make_source(db)
        await env.reconcile(env.subscriber("peps"))
        async with env.light_worker(), listening(env.team) as team:
            for number in range(80):
                await wake_delivery(env.client, "team", "peps", number)
            await until(lambda: _runs_at_least(env, DELIVERY, 2))
            await env.publish(db, "peps", 1)
            await until(lambda: team.batches() == [1])


# ── wake-ups that fail ──────────────────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def workers_with(env, tmp_path, wake, monkeypatch):
    """All workers; `wake` takes the place of the activity that wakes deliveries."""
    real = delivery_activities.DeliveryActivities.wake_due

    @activity.defn(name="corpus.wake_due_deliveries")
    async def wake_due(self, request: WakeDue) -> WakeOutcome:
        return await wake(lambda: real(self, request))

    monkeypatch.setattr(delivery_activities.DeliveryActivities, "wake_due", wake_due)
    async with all_workers(env, tmp_path), listening(env.team) as team:
        yield team


async def test_a_wake_up_that_hangs_holds_no_batch(env, db, source, tmp_path, monkeypatch):
    await env.reconcile(env.subscriber("peps"))
    began, may_end = asyncio.Event(), asyncio.Event()

    async def hang(real):
        began.set()
        await may_end.wait()
        return await real()

    async with workers_with(env, tmp_path, hang, monkeypatch) as team:
        await until(lambda: team.batches() == [1])
        await source.publish(5)
        assert began.is_set()
        await until(lambda: _is_empty(source.running_batches))
        assert team.batches() == [1]
        may_end.set()
        await until(lambda: team.batches() == [*range(1, 7)])


@pytest.mark.parametrize("attempts_lost", [1, 3])
async def test_a_wake_up_that_is_lost_is_sent_again_without_a_further_batch(
    env, db, source, tmp_path, monkeypatch, attempts_lost
):
    """The process ends between the batch and the signal, once or several times; then Temporal is asked again."""
    await env.reconcile(env.subscriber("peps"))
    lost = 0

    async def lose(real):
        nonlocal lost
        lost += 1
        if lost <= attempts_lost:
            raise ApplicationError("lost", non_retryable=lost % 2 == 1)
        return await real()

    async with workers_with(env, tmp_path, lose, monkeypatch) as team:
        await until(lambda: team.batches() == [1])
        await source.publish()
        await until(lambda: team.batches() == [1, 2])
        assert lost > attempts_lost


async def test_a_signal_that_is_refused_delays_no_other_subscriber(
    env, db, source, tmp_path, monkeypatch
):
    broken = env.subscriber("peps", subscriber="broken", endpoint=f"{env.endpoint}-b")
    await env.reconcile(env.subscriber("peps"), broken)
    real = delivery_activities.wake_delivery
    refuses = True

    async def refuse(client, subscriber, *arguments):
        if subscriber == "broken" and refuses:
            raise RPCError("exceeded workflow execution limit for signal events", None, b"")  # type: ignore[arg-type]
        await real(client, subscriber, *arguments)

    monkeypatch.setattr(RPCError, "status", _Status())
    monkeypatch.setattr(delivery_activities, "wake_delivery", refuse)
    async with all_workers(env, tmp_path), listening(env.team) as team:
        await until(lambda: team.batches().count(1) == 2)  # both call the same handler
        for _ in range(3):
            await source.publish()
            await until(lambda: delivery(db)["cursor_batch"] == source.batches, seconds=10)
        assert delivery(db, subscriber="broken")["cursor_batch"] == 1
        entity = env.client.get_workflow_handle(ENTITY)
        refused = (await entity.query("status"))["wake_ups_refused"]
        assert refused >= 3
        refuses = False
        await until(
            lambda: delivery(db, subscriber="broken")["cursor_batch"] == source.batches, seconds=60
        )


class _Status:
    """Stands for the property of an error that was made without a server."""

    name = "INVALID_ARGUMENT"

    def __get__(self, _instance, _owner):
        return self


# ── deliveries and entities that are lost ───────────────────────────────────────────────────────────────────────────


async def test_a_delivery_that_was_terminated_starts_with_the_next_batch(env, db, source, tmp_path):
    await env.reconcile(env.subscriber("peps"))
    async with all_workers(env, tmp_path), listening(env.team) as team:
        await until(lambda: delivery(db)["delivery"] == "idle")
        await env.client.get_workflow_handle(DELIVERY).terminate()
        await source.publish()
        await until(lambda: team.batches() == [1, 2])


async def test_a_new_entity_wakes_what_its_predecessor_left(env, db, source, tmp_path):
    """The entity was lost before it had woken anybody; the row even says that a wake-up is outstanding."""
    await env.reconcile(env.subscriber("peps"))
    async with all_workers(env, tmp_path), listening(env.team) as team:
        await until(lambda: delivery(db)["delivery"] == "idle")
        add_batch(db, "peps", 2)
        source.batches = 2
        db.execute("UPDATE freshet.delivery SET woken_batch = 2, woken_at = now()")
        await env.client.start_workflow(
            "SourceWorkflow", {"source": "peps"}, id=ENTITY, task_queue=task_queues.WORKFLOWS
        )
        await until(lambda: team.batches() == [1, 2])


async def test_an_idle_delivery_costs_nothing(env, db, source, tmp_path):
    await env.reconcile(env.subscriber("peps"))
    async with all_workers(env, tmp_path), listening(env.team) as team:
        await source.publish()
        await until(lambda: team.batches() == [1, 2])
        await until(lambda: delivery(db)["delivery"] == "idle")
        handle = env.client.get_workflow_handle(DELIVERY)
        # The row says idle before the workflow's next task starts the timer.
        await until(lambda: timers_of(handle))
        assert min(await timers_of(handle)) >= timedelta(hours=12)
        assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING


async def timers_of(handle) -> list[timedelta]:
    """How long each timer in the history of a workflow runs."""
    history = await handle.fetch_history()
    return [
        event.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta()
        for event in history.events
        if event.HasField("timer_started_event_attributes")
    ]
