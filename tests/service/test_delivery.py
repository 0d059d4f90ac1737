"""Promise 7: every published batch is delivered in order and at least once.

No batch is delivered before it is visible, and a dead team delays no other.
"""

import json
from contextlib import asynccontextmanager
from datetime import timedelta

import nexusrpc
import pytest
from nexusrpc.handler import service_handler, sync_operation
from temporalio.client import WorkflowExecutionStatus
from temporalio.worker import Worker

from corpus.deliver import attempts
from corpus.deliver import workflows as delivery_workflows
from corpus.deliver.activities import resume_delivery, wake_delivery
from corpus.deliver.subscription import delivery_workflow_id
from corpus.deliver.workflows import DeliveryWorkflow
from corpus.service import BatchNotice, BatchSubscriberService, NoticeAck
from tests.support.polling import until
from tests.support.team_env import (
    add_batch,
    add_document,
    connection_to,
    delivery,
    make_env,
    make_source,
    notices,
)
from workers.apply.endpoints import Endpoint, ensure_endpoint

pytestmark = [pytest.mark.service, pytest.mark.timeout(180)]


@service_handler(service=BatchSubscriberService)
class Recorder:
    """A team in this process: keeps the notices it gets, declines the batches in `decline`."""

    def __init__(self):
        self.seen: list[BatchNotice] = []
        self.decline: set[int] = set()

    @sync_operation
    async def batch_published(self, _context, notice: BatchNotice) -> NoticeAck:
        if notice.batch in self.decline:
            raise nexusrpc.OperationError(
                "we do not want it", state=nexusrpc.OperationErrorState.FAILED
            )
        self.seen.append(notice)
        return NoticeAck(notice_id=notice.notice_id)

    def batches(self) -> list[int]:
        return [notice.batch for notice in self.seen]


@asynccontextmanager
async def listening(client, queue="team-search"):
    recorder = Recorder()
    async with Worker(client, task_queue=queue, nexus_service_handlers=[recorder]):
        yield recorder


async def workflow_of(env, subscriber="team", source="peps"):
    return env.client.get_workflow_handle_for(
        DeliveryWorkflow.run, delivery_workflow_id(subscriber, source)
    )


async def test_a_notice_is_a_manifest(env, db):
    make_source(db)
    add_batch(
        db,
        "peps",
        1,
        records=3,
        applied=3,
        documents_written=2,
        documents_deleted=1,
    )
    for number in (1, 2):
        add_document(db, "peps", f"pep-{number}", number, 1)
    add_document(
        db, "peps", "pep-3", 7, 1, kind="tombstone", visible_to="now", end_reason="deleted"
    )
    db.execute("INSERT INTO freshet.batch_range VALUES ('peps', 1, 'topic', 0, 0, 10, 13, 3)")
    assert await env.reconcile(env.subscriber("peps"), teams=()) == [
        "namespace unchanged", "namespace unchanged", "endpoint create", "endpoint create", "subscription create",
    ]  # fmt: skip
    assert set(await env.reconcile(env.subscriber("peps"), teams=())) == {
        "namespace unchanged",
        "endpoint unchanged",
        "subscription unchanged",
    }
    async with env.light_worker(), listening(env.team) as team:
        await until(
            lambda: delivery(db)["delivery"] == "idle" and delivery(db)["cursor_batch"] == 1
        )
    (notice,) = team.seen
    assert notice.notice_id == "peps:1"
    assert (notice.previous_batch, notice.documents_written, notice.documents_deleted) == (0, 2, 1)
    assert [(change.document_id, change.version, change.change) for change in notice.changes] == [
        ("pep-1", 1, "written"), ("pep-2", 2, "written"), ("pep-3", 7, "deleted"),
    ]  # fmt: skip
    assert notice.changes_left_out == 0
    assert [(found.topic, found.first_offset, found.next_offset) for found in notice.ranges] == [
        ("topic", 10, 13)
    ]
    assert db.execute("SELECT batch FROM freshet.delivered_notice").fetchall() == [(1,)]


async def test_a_large_batch_makes_a_small_notice(env, db):
    make_source(db)
    add_batch(db, "peps", 1, documents_written=500)
    for number in range(500):
        add_document(db, "peps", f"{number}".rjust(1_000, "x"), 1, 1)
    await env.reconcile(env.subscriber("peps"))
    async with env.light_worker(), listening(env.team) as team:
        await until(lambda: team.seen)
    assert (len(team.seen[0].changes), team.seen[0].changes_left_out) == (50, 450)
    assert len(str(team.seen[0])) < 100_000


async def test_no_notice_comes_before_its_batch_is_visible(env, db):
    make_source(db)
    await env.reconcile(env.subscriber("peps"))
    async with env.light_worker(), listening(env.team) as team:
        with connection_to(env) as publisher, publisher.transaction():
            add_batch(publisher, "peps", 1)  # not committed
            handle = await workflow_of(env)
            checks = await until(lambda: _checks(handle))
            await wake_delivery(env.client, "team", "peps", 1)
            await until(lambda: _checks(handle, more_than=checks), what="woken, checked, no batch")
            assert team.seen == []
        await wake_delivery(env.client, "team", "peps", 1)
        await until(lambda: team.seen)
        with connection_to(env) as reader:
            assert reader.execute("SELECT 1 FROM freshet.batch WHERE batch = 1").fetchone()


async def _checks(handle, more_than=0):
    """How often the delivery read the ledger, once it waits again."""
    checks = [
        event
        async for event in handle.fetch_history_events()
        if event.HasField("activity_task_completed_event_attributes")
    ]
    waits = (await handle.query(DeliveryWorkflow.status)).waiting_for == "a batch"
    return len(checks) if waits and len(checks) > more_than else 0


async def test_a_lost_wake_up_strands_nothing(env, db, monkeypatch):
    monkeypatch.setattr(delivery_workflows, "RECHECK_INTERVAL", timedelta(seconds=0.5))
    make_source(db)
    await env.reconcile(env.subscriber("peps"))
    async with env.light_worker(sandbox=False), listening(env.team) as team:
        await until(lambda: delivery(db)["delivery"] == "idle")
        add_batch(db, "peps", 1)  # without a wake-up
        await until(lambda: team.batches() == [1])


async def test_a_team_that_declines_parks_visibly_and_resumes_where_it_stood(env, db, monkeypatch):
    monkeypatch.setattr(attempts, "MIN_RETRY_INTERVAL", timedelta(milliseconds=50))
    make_source(db)
    for batch in (1, 2, 3):
        add_batch(db, "peps", batch)
    await env.reconcile(env.subscriber("peps"))
    async with env.light_worker(sandbox=False), listening(env.team) as team:
        team.decline = {2}
        handle = await workflow_of(env)

        async def parked():
            return (
                delivery(db)["delivery"] == "parked"
                and (await handle.query(DeliveryWorkflow.status)).waiting_for == "resume"
            )

        await until(parked)
        row = delivery(db)
        assert "peps:2 declined 3 times" in row["last_error"]
        assert "we do not want it" in row["last_error"]
        assert (row["cursor_batch"], team.batches()) == (1, [1])
        await wake_delivery(
            env.client, "team", "peps", 3
        )  # a further batch does not start it again
        team.decline = set()
        await resume_delivery(env.client, "team", "peps")
        await until(lambda: delivery(db)["cursor_batch"] == 3)
        assert team.batches() == [1, 2, 3]
        await until(lambda: delivery(db)["last_error"] is None)


async def test_a_missing_endpoint_parks_instead_of_wedging(env, db, monkeypatch):
    monkeypatch.setattr(attempts, "MIN_RETRY_INTERVAL", timedelta(milliseconds=200))
    make_source(db)
    add_batch(db, "peps", 1)
    db.execute(
        "INSERT INTO freshet.subscription (subscriber, source, endpoint) VALUES ('team', 'peps', %s)",
        (env.endpoint,),
    )
    await wake_delivery(env.client, "team", "peps", 1)
    async with env.light_worker(sandbox=False), listening(env.team) as team:
        await until(lambda: delivery(db)["delivery"] == "parked")
        assert f"there is no Nexus endpoint '{env.endpoint}'" in delivery(db)["last_error"]
        await ensure_endpoint(env.client, env.endpoint, Endpoint(env.team.namespace, "team-search"))
        await until(lambda: team.batches() == [1])
        await until(lambda: delivery(db)["delivery"] == "idle")


async def test_a_dead_subscriber_delays_no_other(env, db):
    make_source(db)
    dead = env.subscriber(
        "peps", subscriber="dead", endpoint=f"{env.endpoint}-dead", task_queue="nobody"
    )
    await env.reconcile(env.subscriber("peps"), dead)
    async with env.light_worker(), listening(env.team) as team:
        for batch in range(1, 11):
            await env.publish(db, "peps", batch)
        await until(lambda: delivery(db)["cursor_batch"] == 10)
        assert team.batches() == [*range(1, 11)]
        assert delivery(db, subscriber="dead")["cursor_batch"] == 0
        assert delivery(db, subscriber="dead")["delivery"] == "delivering"


async def test_a_team_that_was_down_long_is_called_again(env, db, monkeypatch):
    """The delivery calls again, and shows what delays it.

    One operation's own retries back off up to an hour.
    """
    monkeypatch.setattr(attempts, "CALL_TIMEOUT", timedelta(seconds=2))
    make_source(db)
    add_batch(db, "peps", 1)
    await env.reconcile(env.subscriber("peps"))
    async with env.light_worker(sandbox=False):
        await until(lambda: delivery(db)["last_error"])
        row = delivery(db)
        assert (row["delivery"], row["cursor_batch"]) == ("delivering", 0)
        assert row["last_error"].startswith("no answer to peps:1, called ")
        async with listening(env.team) as team:
            await until(lambda: delivery(db)["delivery"] == "idle")
        assert (set(team.batches()), delivery(db)["last_error"]) == ({1}, None)


async def test_a_subscription_that_ends_keeps_its_cursor(env, db):
    make_source(db)
    add_batch(db, "peps", 1)
    await env.reconcile(env.subscriber("peps"))
    async with env.light_worker(), listening(env.team) as team:
        await until(lambda: delivery(db)["cursor_batch"] == 1)
        assert "subscription end" in await env.reconcile()
        handle = await workflow_of(env)
        await until(lambda: _is_over(handle))
        add_batch(db, "peps", 2)
        assert "subscription create" in await env.reconcile(env.subscriber("peps"))
        await until(lambda: delivery(db)["cursor_batch"] == 2)
        assert team.batches() == [1, 2]


async def _is_over(handle):
    return (await handle.describe()).status is WorkflowExecutionStatus.COMPLETED


async def test_a_new_subscriber_may_start_with_the_next_batch(env, db):
    make_source(db)
    add_batch(db, "peps", 1)
    await env.reconcile(env.subscriber("peps", from_start=False))
    async with env.light_worker(), listening(env.team) as team:
        await env.publish(db, "peps", 2)
        await until(lambda: team.batches() == [2])


async def test_continue_as_new_loses_nothing(database_url, temporal_short_history):
    env = await make_env(database_url, temporal_short_history)
    with connection_to(env) as db:
        make_source(db)
        await env.reconcile(env.subscriber("peps"))
        async with env.light_worker(), listening(env.team) as team:
            for batch in range(1, 31):
                await env.publish(db, "peps", batch)
            await until(lambda: delivery(db)["cursor_batch"] == 30, seconds=60)
            assert team.batches() == [*range(1, 31)]
        handle = await workflow_of(env)
        runs = [run async for run in env.client.list_workflows(f"WorkflowId = '{handle.id}'")]
        assert len(runs) >= 2


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_kill_9_of_team_and_delivery_loses_nothing(env, db, tmp_path):
    """Both processes are killed in turns while batches are published; the team's log has every batch once, in order."""
    make_source(db)
    await env.reconcile(env.subscriber("peps"))
    log, total = tmp_path / "notices.jsonl", 60
    team_command = ("-m", "examples.team.worker", "--log", str(log))
    start = {
        "team": lambda: env.spawn(*team_command, client=env.team, ready=tmp_path / "team"),
        "delivery": lambda: env.spawn(
            "-m", "tests.support.light_process", client=env.client, ready=tmp_path / "delivery"
        ),
    }
    processes = {name: begin() for name, begin in start.items()}
    try:
        for batch in range(1, total + 1):
            await env.publish(db, "peps", batch)
            if batch % 15 == 0:
                name = "team" if batch % 30 else "delivery"
                await until((tmp_path / name).exists)
                await until(lambda least=batch - 14: len(notices(log)) >= least, seconds=60)
                processes[name].kill()
                processes[name].wait()
                processes[name] = start[name]()
        await until(lambda: delivery(db)["cursor_batch"] == total, seconds=90)
        await until(lambda: len(notices(log)) >= total)
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
    logged = notices(log)
    assert [notice["batch"] for notice in logged] == [*range(1, total + 1)]
    assert [notice["previous_batch"] for notice in logged] == [*range(total)]
    assert db.execute(
        "SELECT count(*), max(delivered) FROM freshet.delivered_notice, freshet.delivery"
    ).fetchone() == (total, total)
    assert json.loads(log.read_text().splitlines()[0])["notice_id"] == "peps:1"
