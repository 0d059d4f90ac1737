"""Record histories: `python -m tests.replay.record` runs the scenarios on servers of its own and writes `histories/*.json`.

`python -m tests.replay.record --address HOST:PORT --namespace N --label WORD` takes them from a running server instead: the
longest run of each workflow type. Old files are kept: they are what code in production has done.
"""

import argparse
import asyncio
import json
import os
import re
import socket
import tempfile
from pathlib import Path
from typing import Any

import nexusrpc
from nexusrpc.handler import service_handler, sync_operation
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from compose.local.machine.ports import free_port
from compose.local.parts.postgres import Postgres
from compose.local.parts.temporal import Temporal
from compose.local.run import running
from corpus.answer.workflows import AwaitFreshWorkflow, AwaitInput
from corpus.database import connect, migrate, open_pool
from corpus.deliver.subscription import delivery_workflow_id
from corpus.errors import PermanentError
from corpus.service import AwaitFreshRequest, BatchNotice, BatchSubscriberService, NoticeAck
from freshness.activities import FreshnessActivities
from tests.support.fix_temporal import TemporalEnv
from tests.support.known import WORKFLOWS
from tests.support.polling import until
from tests.support.team_env import (
    Env,
    add_batch,
    add_document,
    all_workers,
    check,
    delivery,
    fill,
    make_env,
    make_source,
)
from workers.roles import orchestrator as deliveries

HISTORIES = Path(__file__).parent / "histories"
_MAX_EVENTS = 1_000


async def save(handle: WorkflowHandle[Any, Any], name: str) -> None:
    """Write one history, without the names of the machines that made it."""
    history = json.loads((await handle.fetch_history()).to_json())
    text = re.sub(
        r"\d+@" + re.escape(socket.gethostname()), "recorded", json.dumps(history, indent=1)
    )
    await asyncio.to_thread((HISTORIES / f"{name}.json").write_text, text + "\n", encoding="utf-8")


@service_handler(service=BatchSubscriberService)
class Team:
    """Declines batch 2 as long as it is told to."""

    declines = True

    @sync_operation
    async def batch_published(self, _context: Any, notice: BatchNotice) -> NoticeAck:
        """Acknowledge, or not."""
        if notice.batch == 2 and self.declines:
            raise nexusrpc.OperationError("no", state=nexusrpc.OperationErrorState.FAILED)
        return NoticeAck(notice_id=notice.notice_id)


async def record_checks(env: Env, folder: Path) -> None:
    """A check that passes, one that expires (with entity and batch), one that fails."""
    with connect(env.database_url) as db:
        make_source(db, expire_after_seconds=3_600)
        fill(db)
        add_document(db, "peps", "stale", 1, 1, observed_at="2020-01-01")
        async with all_workers(env, folder):
            for name in ("expiry", "pass"):
                report = await check(env)
                await save(
                    env.client.get_workflow_handle("freshness/peps", run_id=report.run_id),
                    f"FreshnessWorkflow.{name}",
                )
            await save(env.client.get_workflow_handle("batch:peps:2"), "BatchWorkflow.expiry")
            await save(env.client.get_workflow_handle("source:peps"), "SourceWorkflow.expiry")
        await _record_failed_check(env)


async def _record_failed_check(env: Env) -> None:
    def fails(source: str) -> Any:
        raise PermanentError(source)

    with open_pool(env.database_url, size=1) as pool:
        real = {activity.__name__: activity for activity in deliveries.activities(pool)}
        shell = FreshnessActivities(
            measure=fails, expired_after=None, record=None, initial_state=None
        )  # type: ignore[arg-type]
        async with env.light_worker(activities=[shell.measure, real["record"]]):
            report = await check(env)
        await save(
            env.client.get_workflow_handle("freshness/peps", run_id=report.run_id),
            "FreshnessWorkflow.runtime_error",
        )


async def record_notices(env: Env) -> None:
    """A delivery that waits, tells, is declined, parks, resumes, continues as new; waits that end in both ways."""
    team = Team()
    with connect(env.database_url) as db:
        make_source(db)
        await env.reconcile(env.subscriber("peps"))
        handle = env.client.get_workflow_handle(delivery_workflow_id("team", "peps"))
        async with (
            env.light_worker(),
            Worker(env.team, task_queue="team-search", nexus_service_handlers=[team]),
        ):
            waiting = await _wait(env, batch=1, timeout_seconds=60)
            ended = await _wait(env, batch=99, timeout_seconds=1)
            await until(lambda: _events(waiting, 15))
            for batch in (1, 2):
                await env.publish(db, "peps", batch)
            await until(
                lambda: delivery(db)["last_error"] and "3 times" in delivery(db)["last_error"],
                seconds=60,
            )
            team.declines = False
            await handle.signal("resume")
            for batch in range(3, 20):
                await env.publish(db, "peps", batch)
            await until(lambda: delivery(db)["cursor_batch"] == 19)
            await save(await _first_run(env, handle.id), "DeliveryWorkflow.declined")
            await save(handle, "DeliveryWorkflow.continued")
            for name, wait in {"reached": waiting, "timeout": ended}.items():
                await wait.result()
                await save(wait, f"AwaitFreshWorkflow.{name}")
        add_batch(db, "peps", 20)


async def _wait(env: Env, **wanted: int) -> WorkflowHandle[Any, Any]:
    request = AwaitFreshRequest(source="peps", **wanted)  # type: ignore[arg-type]
    return await env.client.start_workflow(
        AwaitFreshWorkflow.run,
        AwaitInput(request=request),
        id=f"await-{len(wanted)}-{wanted['batch']}",
        task_queue="freshet",
    )


async def _events(handle: WorkflowHandle[Any, Any], least: int) -> bool:
    return (await handle.describe()).history_length >= least


async def _first_run(env: Env, workflow_id: str) -> WorkflowHandle[Any, Any]:
    runs = [run async for run in env.client.list_workflows(f"WorkflowId = '{workflow_id}'")]
    first = min(runs, key=lambda run: run.start_time)
    return env.client.get_workflow_handle(workflow_id, run_id=first.run_id)


async def take(address: str, namespace: str, label: str) -> None:
    """The longest run of each type that a server has."""
    client = await Client.connect(address, namespace=namespace)
    for known in WORKFLOWS:
        name = known.__name__
        runs = [run async for run in client.list_workflows(f"WorkflowType = '{name}'", limit=1_000)]
        fitting = [
            (run.history_length or 0, run.id, run.run_id)
            for run in runs
            if (run.history_length or 0) <= _MAX_EVENTS
        ]
        if fitting:
            _, workflow_id, run_id = max(fitting)
            await save(client.get_workflow_handle(workflow_id, run_id=run_id), f"{name}.{label}")


def run_scenarios(home: Path) -> None:
    """Servers, scenarios, files."""
    postgres = Postgres(home=home, port=free_port(), fsync=False)
    with running(postgres):
        migrate(postgres.url)
        for name, dynamic in (
            ("checks", ()),
            ("notices", ("limit.historyCount.suggestContinueAsNew=60",)),
        ):
            folder = home / name
            folder.mkdir()
            server = Temporal(
                home=folder, port=free_port(), ui_port=0, headless=True, dynamic=dynamic
            )
            postgres.create_database(name, template="freshet")
            with running(server):
                asyncio.run(_scenario(name, postgres.url_of(name), server.address, folder))


async def _scenario(name: str, database_url: str, address: str, folder: Path) -> None:
    env = await make_env(database_url, TemporalEnv(address))
    await (record_checks(env, folder) if name == "checks" else record_notices(env))


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address")
    parser.add_argument("--namespace", default="freshet")
    parser.add_argument("--label", default="recorded")
    arguments = parser.parse_args()
    HISTORIES.mkdir(exist_ok=True)
    if arguments.address:
        asyncio.run(take(arguments.address, arguments.namespace, arguments.label))
        return
    with tempfile.TemporaryDirectory(prefix="freshet-record-") as home:
        run_scenarios(Path(home))


if __name__ == "__main__":
    main()
    os._exit(0)
