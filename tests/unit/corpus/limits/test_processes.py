"""Each document has so much time and memory, whatever is done to it, and pays alone."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from corpus.errors import DependencyError
from corpus.limits.fair_queue import QueuedBatch
from corpus.limits.processes import Limit, LimitedProcesses, Overrun
from tests.support import limited_work
from tests.support.limited_work import Call
from tests.support.polling import wait_until

MEMORY_MB = 1_500


@pytest.fixture(scope="module")
def processes() -> Iterator[LimitedProcesses]:
    made = LimitedProcesses(1, memory_mb=MEMORY_MB, preload=[limited_work.__name__])
    outcomes(made, Call(limited_work.pid))
    yield made
    made.close()


def runs(pid: int) -> bool:
    """Whether the process exists and is more than an entry that nobody has collected."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def outcomes(
    processes: LimitedProcesses, *work: Call, seconds: float = 10, source: str = "s"
) -> list[object]:
    return list(processes.run(work, seconds, QueuedBatch(source, 1, len(work))))


def test_quick_documents_share_a_process(processes: LimitedProcesses) -> None:
    pids = outcomes(processes, *[Call(limited_work.pid)] * 100)
    assert len(set(pids)) == 1
    assert pids[0] != os.getpid()


@pytest.mark.parametrize(
    ("function", "seconds", "limit", "detail"),
    [
        (limited_work.hang, 1, Limit.TIME, "1s"),
        (limited_work.eat, 8, Limit.MEMORY, "1,500 MB"),
        (limited_work.die, 8, Limit.PROCESS, "SIGABRT; it may use 1,500 MB"),
        (limited_work.raise_error, 8, Limit.ERROR, "ValueError: text"),
    ],
    ids=["hangs in C", "takes memory", "aborts", "raises"],
)
def test_a_document_beyond_a_limit_pays_alone(
    processes: LimitedProcesses,
    function: Callable[[str], object],
    seconds: float,
    limit: Limit,
    detail: str,
) -> None:
    started = time.monotonic()
    before, given_up, after = outcomes(
        processes,
        Call(limited_work.sleep, "0"),
        Call(function, "text"),
        Call(limited_work.sleep, "0.01"),
        seconds=seconds,
    )
    assert time.monotonic() - started < seconds + 2
    assert (before, given_up, after) == ("0", Overrun(limit, detail), "0.01")


def test_no_process_that_was_given_up_stays(processes: LimitedProcesses) -> None:
    (first,) = outcomes(processes, Call(limited_work.pid))
    outcomes(processes, Call(limited_work.hang), seconds=0.2)
    assert isinstance(first, int)
    assert not runs(first)


def test_a_document_whose_process_was_ended_by_another_is_tried_again(
    processes: LimitedProcesses, tmp_path: Path
) -> None:
    work = Call(limited_work.die_once, str(tmp_path / "mark"))
    assert outcomes(processes, Call(limited_work.sleep, "0"), work) == ["0", "alive"]


def test_a_limit_is_for_each_document(processes: LimitedProcesses) -> None:
    work = [Call(limited_work.sleep, "0.4")] * 5
    assert outcomes(processes, *work, seconds=1) == ["0.4"] * 5


def test_a_batch_that_is_left_gives_its_process_back(processes: LimitedProcesses) -> None:
    work = [Call(limited_work.sleep, "0.05")] * 40
    run = processes.run(work, 10, QueuedBatch("s", 1, 40))
    assert next(run) == "0.05"
    run.close()
    assert outcomes(processes, Call(limited_work.sleep, "0")) == ["0"]


def test_slow_documents_of_one_batch_let_others_in_between(processes: LimitedProcesses) -> None:
    ended: list[str] = []
    started = threading.Event()

    def slow() -> None:
        work = [Call(limited_work.sleep, "0.6")] * 6
        for _ in processes.run(work, 10, QueuedBatch("slow", 1, 6)):
            started.set()
        ended.append("slow")

    thread = threading.Thread(target=slow)
    thread.start()
    assert started.wait(20)
    outcomes(processes, Call(limited_work.pid), source="quick")
    ended.append("quick")
    thread.join(20)
    assert ended == ["quick", "slow"]


def test_what_runs_while_the_processes_are_closed_has_no_outcome() -> None:
    processes = LimitedProcesses(1)
    work = [Call(limited_work.sleep, "0"), Call(limited_work.sleep, "60")]
    run = processes.run(work, 100, QueuedBatch("s", 1, 2))
    assert next(run) == "0"
    closing = threading.Timer(0.2, processes.close)
    closing.start()
    with pytest.raises(DependencyError):
        next(run)
    closing.join()


_ORPHAN = """
import sys
from corpus.limits.fair_queue import QueuedBatch
from corpus.limits.processes import LimitedProcesses
from tests.support.limited_work import Call, spin

if __name__ == "__main__":
    processes = LimitedProcesses(1)
    list(processes.run([Call(spin, sys.argv[1])], 600, QueuedBatch("s", 1, 1)))
"""


def test_a_process_ends_where_its_parent_was_killed(tmp_path: Path) -> None:
    script = tmp_path / "orphan.py"
    script.write_text(_ORPHAN, encoding="utf-8")
    mark = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, str(script), str(mark)])
    try:
        wait_until(lambda: mark.exists() and mark.read_text(), seconds=30)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    orphan = int(mark.read_text())
    wait_until(lambda: not runs(orphan))
