"""Record histories: `python -m tests.replay.record` runs scenarios on servers of its own.

It writes `histories/{workflow}.{scenario}.{label}.json`; `--label WORD` defaults to the date. With
`--address HOST:PORT --namespace N` it takes the longest run of each workflow type from a running server instead.
A label is used once: old files are kept, since they show what code in production has done.
"""

import argparse
import asyncio
import datetime
import json
import os
import re
import socket
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nexusrpc
from nexusrpc.handler import service_handler, sync_operation
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError
from temporalio.worker import Worker

from compose.local.machine.ports import free_port
from compose.local.parts.postgres import Postgres
from compose.local.parts.temporal import Temporal
from compose.local.run import running
from corpus import task_queues
from corpus.activities import PrepareActivities
from corpus.answer.workflows import AwaitFreshWorkflow, AwaitInput
from corpus.database import connect, migrate, open_pool
from corpus.deliver.subscription import delivery_workflow_id
from corpus.errors import PermanentError, StagedFileError
from corpus.service import AwaitFreshRequest, BatchNotice, BatchSubscriberService, NoticeAck
from corpus.source import SourceSpec
from freshness.activities import FreshnessActivities
from freshness.report import FreshnessReport
from ingest.hand_over import hand_over
from ingest.workflows import SourceWorkflow
from tests.replay.record_audits import record_audits
from tests.replay.record_backfills import record_backfills
from tests.replay.record_erasures import record_erasures
from tests.replay.record_helped import record_helped
from tests.replay.record_purges import record_purges
from tests.replay.record_revalidations import record_revalidations
from tests.replay.record_slow import record_slow
from tests.support.fix_temporal import TemporalEnv
from tests.support.known import WORKFLOWS
from tests.support.orders import make_expiry, make_ref
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
_ROOT = Path(__file__).resolve().parents[2]
_MAX_EVENTS = 1_000


class Recorder:
    """Writes histories under one label."""

    def __init__(self, label: str) -> None:
        self._label = label

    async def save(self, handle: WorkflowHandle[Any, Any], name: str) -> None:
        """Write one history, without the name of the machine that ran it and where the code was.

        Raises:
            FileExistsError: a history was recorded under this name and label before.
        """
        history = json.loads((await handle.fetch_history()).to_json())
        identity = r"\d+@" + re.escape(socket.gethostname())
        text = re.sub(identity, "recorded", json.dumps(history, indent=1))
        text = text.replace(f"{_ROOT}/", "")
        path = HISTORIES / f"{name}.{self._label}.json"
        await asyncio.to_thread(_write_new, path, text + "\n")


def _write_new(path: Path, text: str) -> None:
    with path.open("x", encoding="utf-8") as file:
        file.write(text)


@service_handler(service=BatchSubscriberService)
class Team:
    """A team's worker that declines batch 2 while `declines` is true."""

    declines = True

    @sync_operation
    async def batch_published(self, _context: Any, notice: BatchNotice) -> NoticeAck:
        """Acknowledge, or not."""
        if notice.batch == 2 and self.declines:
            raise nexusrpc.OperationError("no", state=nexusrpc.OperationErrorState.FAILED)
        return NoticeAck(notice_id=notice.notice_id)


async def record_checks(env: Env, folder: Path, recorder: Recorder) -> None:
    """A check that passes, one that expires (with entity and batch), one that fails."""
    with connect(env.database_url) as db:
        make_source(db, expire_after_seconds=3_600)
        fill(db)
        add_document(db, "peps", "stale", 1, 1, observed_at="2020-01-01")
        async with all_workers(env, folder):
            for name in ("expiry", "pass"):
                report = await check(env)
                await recorder.save(_check_run(env, report), f"FreshnessWorkflow.{name}")
            await recorder.save(_workflow(env, "batch:peps:2"), "BatchWorkflow.expiry")
            await recorder.save(_workflow(env, "source:peps"), "SourceWorkflow.expiry")
        await _record_failed_check(env, recorder)


async def _record_failed_check(env: Env, recorder: Recorder) -> None:
    def fails(source: str) -> Any:
        raise PermanentError(source)

    with open_pool(env.database_url, size=1) as pool:
        real = {activity.__name__: activity for activity in deliveries.activities(pool)}
        shell = FreshnessActivities(
            measure=fails, expired_after=None, record=None, initial_state=None
        )  # type: ignore[arg-type]
        async with env.light_worker(activities=[shell.measure, real["record"]]):
            report = await check(env)
        await recorder.save(_check_run(env, report), "FreshnessWorkflow.runtime_error")


def _workflow(env: Env, workflow_id: str) -> WorkflowHandle[Any, Any]:
    return env.client.get_workflow_handle(workflow_id)


def _check_run(env: Env, report: FreshnessReport) -> WorkflowHandle[Any, Any]:
    return env.client.get_workflow_handle("freshness/peps", run_id=report.run_id)


async def record_rewind(env: Env, folder: Path, recorder: Recorder) -> None:
    """A batch that fails, an expiry behind it that is cancelled and waits again, a consumer that reads again."""
    expiry_runs = threading.Event()

    def fails(_request: Any) -> Any:
        assert expiry_runs.wait(30)
        raise StagedFileError("the staged file is missing")

    with connect(env.database_url) as db, ThreadPoolExecutor(1) as threads:
        make_source(db)
        async with (
            all_workers(env, folder),
            Worker(
                env.client,
                task_queue=task_queues.PREPARE,
                activities=[PrepareActivities(fails).prepare],
                activity_executor=threads,
            ),
        ):
            await _stage(env, 0)
            await until(lambda: _runs(env, "batch:peps:1"))
            entity = _workflow(env, "source:peps")
            await entity.signal(SourceWorkflow.expire, make_expiry())
            await until(lambda: _runs(env, "batch:peps:2"))
            expiry_runs.set()
            await until(lambda: _ended(env, "batch:peps:3"))
            # `freshet source resume` raises the epoch; the consumer reads again before the entity hears of it.
            await entity.signal(SourceWorkflow.pause)
            await _stage(env, 1)
            db.execute(b"UPDATE freshet.source SET epoch = 2, state = 'paused'")
            await _stage(env, 2)
            await until(lambda: _waits(env, epoch=2))
            await recorder.save(_workflow(env, "batch:peps:1"), "BatchWorkflow.failed")
            await recorder.save(_workflow(env, "batch:peps:2"), "BatchWorkflow.cancelled")
            await recorder.save(entity, "SourceWorkflow.rewind")


async def _stage(env: Env, epoch: int) -> None:
    ref = make_ref(0, 10, source="peps", epoch=epoch)
    await hand_over(env.client, ref, SourceSpec(source="peps", topics=("t",)))


async def _runs(env: Env, workflow_id: str) -> bool:
    try:
        await _workflow(env, workflow_id).describe()
    except RPCError:
        return False
    return True


async def _ended(env: Env, workflow_id: str) -> bool:
    if not await _runs(env, workflow_id):
        return False
    described = await _workflow(env, workflow_id).describe()
    return described.status is WorkflowExecutionStatus.COMPLETED


async def _waits(env: Env, *, epoch: int) -> bool:
    state = await _workflow(env, "source:peps").query(SourceWorkflow.status)
    return [ref.epoch for ref in state.pending] == [epoch]


async def record_notices(env: Env, _folder: Path, recorder: Recorder) -> None:
    """A delivery that waits, delivers, is declined, parks, resumes, continues as new; waits that end in both ways."""
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
            await recorder.save(await _first_run(env, handle.id), "DeliveryWorkflow.declined")
            await recorder.save(handle, "DeliveryWorkflow.continued")
            for name, wait in {"reached": waiting, "timeout": ended}.items():
                await wait.result()
                await recorder.save(wait, f"AwaitFreshWorkflow.{name}")
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


async def take(address: str, namespace: str, recorder: Recorder) -> None:
    """Save the longest run of each type that a server has."""
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
            handle = client.get_workflow_handle(workflow_id, run_id=run_id)
            await recorder.save(handle, name)


# Each has a database and a server of its own.
_SCENARIOS = {
    "checks": record_checks,
    "rewind": record_rewind,
    "notices": record_notices,
    "audits": record_audits,
    "purges": record_purges,
    "backfills": record_backfills,
    "revalidations": record_revalidations,
    "erasures": record_erasures,
    "helped": record_helped,
    "slow": record_slow,
}
_SERVER_SETTINGS = {"notices": ("limit.historyCount.suggestContinueAsNew=60",)}


def run_scenarios(home: Path, recorder: Recorder) -> None:
    """Start servers, run the scenarios, write the files."""
    postgres = Postgres(home=home, port=free_port(), fsync=False)
    with running(postgres):
        migrate(postgres.url)
        for name in _SCENARIOS:
            folder = home / name
            folder.mkdir()
            server = Temporal(
                home=folder,
                port=free_port(),
                ui_port=0,
                headless=True,
                dynamic=_SERVER_SETTINGS.get(name, ()),
            )
            postgres.create_database(name, template="freshet")
            with running(server):
                url = postgres.url_of(name)
                asyncio.run(_scenario(name, url, server.address, folder, recorder))


async def _scenario(
    name: str, database_url: str, address: str, folder: Path, recorder: Recorder
) -> None:
    env = await make_env(database_url, TemporalEnv(address))
    await _SCENARIOS[name](env, folder, recorder)


def main() -> None:
    """Record from a server, or run the scenarios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address")
    parser.add_argument("--namespace", default="freshet")
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    parser.add_argument("--label", default=today, help="a word that no history has yet")
    arguments = parser.parse_args()
    recorder = Recorder(arguments.label)
    if arguments.address:
        asyncio.run(take(arguments.address, arguments.namespace, recorder))
        return
    with tempfile.TemporaryDirectory(prefix="freshet-record-") as home:
        run_scenarios(Path(home), recorder)


if __name__ == "__main__":
    main()
    os._exit(0)
