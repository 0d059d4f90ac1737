"""Entity, row and consumer agree on whether a source is halted, by epoch; a lost entity leaves no batch behind."""

from typing import Any

import pytest
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from corpus import task_queues
from corpus.batch import LoadedSource, RewindRequest, RewoundSource
from corpus.source import SourceSpec, source_workflow_id
from corpus.sql import query
from ingest import operate
from ingest.hand_over import hand_over
from tests.support.orders import make_ref
from tests.support.polling import until
from tests.support.team_env import all_workers, connection_to, delivery, make_source
from workers.roles import orchestrator

pytestmark = [pytest.mark.service, pytest.mark.timeout(120)]

ENTITY = source_workflow_id("peps")
SPEC = SourceSpec(source="peps", topics=("t",))


@pytest.fixture
def db(env):
    with connection_to(env) as connection:
        make_source(connection)
        yield connection


@activity.defn(name="corpus.prepare")
async def cannot_prepare(_request: dict[str, Any]) -> None:
    raise ApplicationError("cannot be", type="DatabaseRefusalError", non_retryable=True)


async def stage(env, first: int, after: int, epoch: int = 0) -> None:
    ref = make_ref(first, after, source="peps", epoch=epoch)
    await hand_over(env.client, ref, SPEC)


async def status(env) -> dict[str, Any]:
    return await env.client.get_workflow_handle(ENTITY).query("status")


def row(db) -> dict[str, Any]:
    cursor = db.execute("SELECT state, epoch FROM freshet.source")
    state, epoch = cursor.fetchone()
    return {"state": state, "epoch": epoch}


async def running(env, kind: str = "BatchWorkflow") -> list[str]:
    listing = f"WorkflowType = '{kind}' AND ExecutionStatus = 'Running'"
    return [run.id async for run in env.client.list_workflows(listing)]


async def agrees(env, db, state: str) -> bool:
    """Whether the entity has read the row as it is now."""
    known, current = await status(env), row(db)
    halted = "halted" if known["halted"] else known["row_state"]
    return known["loaded"] and (halted, known["epoch"]) == (state, current["epoch"])


async def test_an_operator_who_resumes_at_once_is_heard(env, db):
    """The halt is in the database a moment before the entity knows that it was written."""
    client = env.client

    @activity.defn(name="corpus.load_source")
    async def load(_source: str) -> LoadedSource:
        return LoadedSource(
            last_batch=0, max_records=10, max_bytes=1000, max_in_flight=3, epoch=row(db)["epoch"]
        )

    @activity.defn(name="corpus.rewind_source")
    async def rewind(request: RewindRequest) -> RewoundSource:
        arguments = {"source": request.source, "reason": request.reason, "halt": request.halt}
        rewound = db.execute(query("rewind_source"), arguments).fetchone()
        if request.halt:  # the operator, by the same two steps as `freshet source resume`
            operate.resume(db, request.source)
            await client.get_workflow_handle(ENTITY).signal("resume")
        return RewoundSource(epoch=rewound[0])

    state = {"source": "peps", "loaded": True, "rewinds": 3}
    async with (
        env.light_worker(workflows=orchestrator.WORKFLOWS),
        Worker(client, task_queue=task_queues.PREPARE, activities=[cannot_prepare]),
        Worker(client, task_queue=task_queues.STORE, activities=[load, rewind]),
    ):
        await client.start_workflow(
            "SourceWorkflow", state, id=ENTITY, task_queue=task_queues.WORKFLOWS
        )
        await stage(env, 0, 1)
        await until(lambda: row(db) == {"state": "active", "epoch": 2})
        await until(lambda: _is_at(env, epoch=2))
        assert (await status(env))["halted"] == ""


async def _is_at(env, epoch: int) -> bool:
    known = await status(env)
    return known["loaded"] and known["epoch"] == epoch


async def test_a_halted_source_that_is_retired_and_configured_again_runs(env, db, tmp_path):
    async with (
        all_workers(env, tmp_path),
        Worker(env.client, task_queue=task_queues.PREPARE, activities=[cannot_prepare]),
    ):
        await env.client.start_workflow(
            "SourceWorkflow",
            {"source": "peps", "loaded": True, "rewinds": 3},
            id=ENTITY,
            task_queue=task_queues.WORKFLOWS,
        )
        await stage(env, 0, 1)
        await until(lambda: agrees(env, db, "halted"))
        assert row(db) == {"state": "halted", "epoch": 1}
        entity = env.client.get_workflow_handle(ENTITY)
        db.execute(query("retire_source"), {"source": "peps"})
        await entity.signal("reload")
        await until(lambda: agrees(env, db, "retired"))
        spec = db.execute("SELECT spec::text FROM freshet.source").fetchone()[0]
        db.execute(query("change_source"), {"source": "peps", "spec": spec})
        await entity.signal("reload")
        await until(lambda: agrees(env, db, "active"))
        assert row(db) == {"state": "active", "epoch": 2}
        # It acts again: what is read now fails once more, and is read again.
        await stage(env, 0, 1, epoch=2)
        await until(lambda: row(db)["epoch"] == 3)
        assert row(db)["state"] == "active"


async def test_a_halt_never_brings_back_a_retired_source(env, db, tmp_path):
    async with (
        all_workers(env, tmp_path),
        Worker(env.client, task_queue=task_queues.PREPARE, activities=[cannot_prepare]),
    ):
        db.execute(query("retire_source"), {"source": "peps"})
        await env.client.start_workflow(
            "SourceWorkflow",
            {"source": "peps", "loaded": True, "rewinds": 3},
            id=ENTITY,
            task_queue=task_queues.WORKFLOWS,
        )
        await stage(env, 0, 1)
        await until(lambda: agrees(env, db, "retired"))
        assert row(db) == {"state": "retired", "epoch": 1}


async def test_batches_of_a_terminated_entity_end(env, db, tmp_path):
    """Those behind the first one wait for a permission that no other entity gives."""
    with connection_to(env):
        async with all_workers(env, tmp_path):  # nothing prepares
            state = {"source": "peps", "loaded": True, "max_records": 1}
            await env.client.start_workflow(
                "SourceWorkflow", state, id=ENTITY, task_queue=task_queues.WORKFLOWS
            )
            for first in range(3):
                await stage(env, first, first + 1)
            await until(lambda: _count_is(env, 3))
            await env.client.get_workflow_handle(ENTITY).terminate()
            await until(lambda: _count_is(env, 0))


async def _count_is(env, wanted: int) -> bool:
    return len(await running(env)) == wanted


async def test_a_delivery_without_progress_says_so(env, db):
    """Its endpoint was deleted between the check and the call: the workflow task fails until it exists again."""
    await env.reconcile(env.subscriber("peps"))
    db.execute(
        "UPDATE freshet.delivery SET state = 'delivering', updated_at = now() - interval '6 minutes'"
    )
    error = delivery(db)["last_error"]
    assert error.startswith("no progress since ")
    assert f"Nexus endpoint {env.endpoint} exists" in error
