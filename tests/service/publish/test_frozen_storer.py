"""A storer that stands still (SIGSTOP, a paused machine, a lost host) in the middle of a publish.

Its session is alive for PostgreSQL. It holds up its source for as long as the limits of the session allow, and when it
wakes, it publishes nothing.
"""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from corpus import locks
from corpus.batch import BatchInput, Ingest, PublishRequest
from corpus.clean.cleaner import Cleaner
from corpus.database import SessionLimits, connect, open_pool
from corpus.errors import LockWaitError
from corpus.locks import held_up, lock_waits, still_sessions
from corpus.publish.publisher import Publisher
from tests.support.pipeline import Pipeline, make_event
from tests.support.polling import wait_until

pytestmark = [pytest.mark.service, pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[3]
STORER = """
import os, pickle, signal, sys
from pathlib import Path
from corpus.database import SessionLimits, open_pool
from corpus.publish import copy_in, publisher
from corpus.staging.store import StagingStore

def freeze(*arguments):
    os.kill(os.getpid(), signal.SIGSTOP)

def freeze_in_copy(frame, columns):
    for row in original(frame, columns):
        yield row
        freeze()

original, where, url, staging, request = copy_in.rows_of, *sys.argv[1:]
if where == "between statements":
    publisher.copy_in = freeze
else:
    copy_in.rows_of = freeze_in_copy
with open_pool(url, size=2, application="freshet-storer", limits=SessionLimits(idle=6)) as pool:
    step = publisher.Publisher(store=StagingStore(staging), pool=pool)
    step.publish(pickle.loads(Path(request).read_bytes()))
"""


def is_frozen(process: subprocess.Popen[bytes]) -> bool:
    stat = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8")
    return stat.rpartition(")")[2].split()[0] == "T"


@contextmanager
def frozen_storer(
    pipeline: Pipeline, request: PublishRequest, folder: Path, where: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that stands still inside the transaction that publishes the request."""
    path = folder / "request"
    path.write_bytes(pickle.dumps(request))
    command = [sys.executable, "-c", STORER, where, pipeline.database_url, pipeline.store.url, path]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        wait_until(lambda: is_frozen(process), 30, "the storer stands still")
        yield process
    finally:
        process.kill()
        process.communicate()


def prepared_request(pipeline: Pipeline) -> PublishRequest:
    pipeline.ingest(make_event("a", 1, "one"))
    ref = pipeline.stage(pipeline.records([make_event("b", 1, "two")]))
    number = pipeline.number()
    prepared = pipeline.prepare([ref], number)
    pipeline.embed(prepared)
    batch = BatchInput.of(Ingest(refs=(ref,)), source="s", batch=number, first_in_line=True)
    return PublishRequest(batch=batch, prepared=prepared, workflow_id="batch:s:2", run_id="r2")


@pytest.mark.parametrize("where", ["between statements", "in a COPY"])
def test_a_frozen_storer_loses_its_source_within_seconds_and_publishes_nothing(
    pipeline: Pipeline, tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_LONG_COPY_SECONDS", 2)
    monkeypatch.setattr(locks, "_STUCK_SECONDS", 0.5)
    request = prepared_request(pipeline)
    with (
        frozen_storer(pipeline, request, tmp_path, where) as storer,
        open_pool(pipeline.database_url, size=1, limits=SessionLimits(lock=1)) as pool,
    ):
        again = Publisher(store=pipeline.store, pool=pool)
        # The second attempt waits for a bounded time, leaves its slot, and says who holds the source.
        holder = (
            rf"source 's' waits .*freshet-storer@.*:{storer.pid} \(server process \d+\) holds it"
        )
        with pytest.raises(LockWaitError, match=holder):
            again.publish(request)

        def publishes() -> bool:
            try:
                return again.publish(request).published_at_ms > 0
            except LockWaitError:
                return False

        wait_until(publishes, 20, "another attempt publishes")
        storer.send_signal(signal.SIGCONT)
        output, _ = storer.communicate(timeout=20)
    assert storer.returncode == 1
    assert b"corpus.errors.DependencyError" in output
    assert set(pipeline.visible()) == {"a", "b"}
    ledger = pipeline.connection.execute("SELECT batch, run_id FROM freshet.batch WHERE batch = 2")
    assert ledger.fetchall() == [(2, "r2")]


def test_what_a_frozen_storer_holds_up_is_a_state_with_a_name(
    pipeline: Pipeline, tmp_path: Path, cleaner: Cleaner
) -> None:
    request = prepared_request(pipeline)
    other = Pipeline(pipeline.database_url, tmp_path / "other", source="other", cleaner=cleaner)
    with (
        other,
        frozen_storer(pipeline, request, tmp_path, "between statements") as storer,
        connect(pipeline.database_url) as looking,
    ):
        # No other source waits.
        other.ingest(make_event("x", 1, "ex"))
        assert set(other.visible()) == {"x"}
        still = wait_until(lambda: still_sessions(looking), 10)
        assert still[0].sources == ["s"]
        (line,) = held_up(looking)["s"]
        assert f":{storer.pid} " in line
        assert "stands still in a transaction since 20" in line
        assert line.endswith("holds the publishing of s")


def test_a_wait_says_who_waits_for_what_and_who_holds_it(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("a", 1, "one"))
    with (
        connect(pipeline.database_url, application="holder", autocommit=False) as holding,
        connect(pipeline.database_url, application="waiter", limits=SessionLimits(lock=60)) as late,
        connect(pipeline.database_url) as looking,
    ):
        assert lock_waits(looking) == []
        assert held_up(looking) == {}
        for lock, statement in WAITS.items():
            holding.execute(statement)
            late_pid = late.info.backend_pid
            late.pgconn.send_query(statement.encode())
            (wait,) = wait_until(lambda: lock_waits(looking), 10, lock)
            assert (wait.wanted, wait.source) == (lock, "s" if "source s" in lock else None)
            assert (wait.waiting_pid, wait.holding_pid) == (late_pid, holding.info.backend_pid)
            assert wait.waiting.startswith("waiter@")
            assert wait.holding.startswith("holder@")
            assert wait.holding_state == "idle in transaction"
            assert wait.describe().startswith("waiter@")
            assert f"waits for {lock} since 20" in wait.describe()
            assert ("s" in held_up(looking)) == (wait.source == "s")
            holding.rollback()
            finish(late)
            late.execute("SELECT pg_advisory_unlock_all()")


WAITS = {
    "publishing of source s": (
        "SELECT pg_advisory_xact_lock(hashtext('freshet.publish'), hashtext('s'))"
    ),
    "row of source s": "UPDATE freshet.source SET updated_at = now() WHERE source = 's'",
    "row of source_position": (
        "UPDATE freshet.source_position SET updated_at = now() WHERE source = 's'"
    ),
    "migrations": "SELECT pg_advisory_xact_lock(28836227677971828)",
    "configuration (`freshet apply`)": "SELECT pg_advisory_xact_lock(7382074285560524912)",
    "advisory lock 0/7": "SELECT pg_advisory_xact_lock(7)",
}


def finish(connection: Any) -> None:
    """Read the results of what was sent."""
    while connection.pgconn.get_result() is not None:
        pass
