"""The moment at which the fault driver hits a role: within a transaction that has written something."""

import subprocess
from types import SimpleNamespace
from typing import Any

import psutil

from corpus.database import connect
from tests.bench.faults import moments as moments_module
from tests.bench.faults.moments import Moments
from tests.support.polling import wait_until


def test_a_role_is_stopped_within_its_transaction_and_not_outside(
    database_url: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr(moments_module, "WAIT_SECONDS", 0.3)
    stack: Any = SimpleNamespace(connect=lambda: connect(database_url))
    moments = Moments(stack)
    child = subprocess.Popen(["sleep", "600"])
    process = psutil.Process(child.pid)
    try:
        with connect(database_url, application="freshet-storer") as connection:
            connection.execute("SELECT 1")
            assert not moments.wait("storer", stop=child.pid)
            assert process.status() != psutil.STATUS_STOPPED
            with connection.transaction():
                connection.execute("CREATE TABLE written (n int)")
                assert moments.wait("storer")
                assert not moments.wait("embedder", stop=child.pid)
                assert moments.wait("storer", stop=child.pid)
                wait_until(lambda: process.status() == psutil.STATUS_STOPPED, 5)
    finally:
        child.kill()
        child.wait()
