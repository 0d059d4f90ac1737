"""Temporal is away while freshness checks are due: they are made up for when it is back, one at a time."""

import asyncio
import itertools
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from temporalio.client import WorkflowExecution

from compose.local.machine.ports import free_port
from compose.local.parts.temporal import Temporal
from compose.local.run import running, start
from corpus.database import Connection, connect
from freshness import schedules
from tests.support.fix_temporal import TemporalEnv
from tests.support.polling import until
from tests.support.team_env import fill, make_env, make_source

pytestmark = pytest.mark.timeout(120)
EVERY_SECONDS = 2
AWAY_SECONDS = 3 * EVERY_SECONDS


class Outage:
    """A server that is killed and started again."""

    def __init__(self, server: Temporal, pid: int) -> None:
        self.server = server
        self._pid = pid
        self._started: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        os.kill(self._pid, signal.SIGKILL)

    def end(self) -> None:
        self._started = start(self.server)

    def close(self) -> None:
        """End the server that was started again."""
        if self._started is not None:
            self._started.kill()
            self._started.wait()


@pytest.fixture
def outage(tmp_path: Path) -> Iterator[Outage]:
    """A server that runs."""
    home = tmp_path / "temporal-home"
    home.mkdir()
    server = Temporal(home=home, port=free_port(), ui_port=0, headless=True)
    with running(server) as process:
        made = Outage(server, process.pid)
        yield made
        made.close()


async def test_checks_that_an_outage_prevented_are_made_up_for_one_at_a_time(
    outage: Outage, database_url: str
) -> None:
    env = await make_env(database_url, TemporalEnv(outage.server.address))
    with connect(database_url) as db:
        spec = make_source(db, warn_after_seconds=60, check_every_seconds=EVERY_SECONDS)
        fill(db)
        async with env.light_worker():
            await schedules.write(env.client, spec)
            await until(lambda: reports(db) >= 2)
            outage.begin()
            await until(lambda: silent_for(db) > AWAY_SECONDS)
            before = reports(db)
            await asyncio.to_thread(outage.end)
            await until(lambda: reports(db) >= before + 3, seconds=60)
            checks = [run async for run in env.client.list_workflows()]
            name = schedules.schedule_id("peps")
            described = await env.client.get_schedule_handle(name).describe()
    assert described.info.num_actions_missed_catchup_window == 0
    check_that_none_overlap(checks)


def reports(db: Connection) -> int:
    [row] = db.execute("SELECT count(*) FROM freshet.freshness_report").fetchall()
    return row[0]


def silent_for(db: Connection) -> float:
    """Seconds since the newest report."""
    [row] = db.execute(
        "SELECT extract(epoch FROM clock_timestamp() - max(snapshotted_at)) FROM freshet.freshness_report"
    ).fetchall()
    return float(row[0])


def check_that_none_overlap(checks: Sequence[WorkflowExecution]) -> None:
    ended = sorted((run.start_time, run.close_time) for run in checks if run.close_time is not None)
    assert len(ended) >= 4
    for (_, closed), (started, _) in itertools.pairwise(ended):
        assert closed <= started
