"""Each document has so much time and memory, whatever is done to it, and pays alone."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from corpus.errors import DependencyError
from corpus.limits import fork_server as fork_server_module
from corpus.limits.fair_queue import QueuedBatch
from corpus.limits.fork_server import ForkServer
from corpus.limits.processes import LimitedProcesses
from corpus.limits.work import Limit, Overrun
from tests.support import limited_work
from tests.support.limited_work import Call
from tests.support.polling import wait_until

MEMORY_MB = 1_500


@pytest.fixture(scope="module")
def processes() -> Iterator[LimitedProcesses]:
    made = LimitedProcesses(1, memory_mb=MEMORY_MB, preload=[limited_work.__name__])
    outcomes(made, Call("pid"))
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
    pids = outcomes(processes, *[Call("pid")] * 100)
    assert len(set(pids)) == 1
    assert pids[0] != os.getpid()


def test_a_process_reads_documents_of_one_source(processes: LimitedProcesses) -> None:
    """What a document of one source leaves in its process is not there for the next source's."""
    left = outcomes(processes, Call("leave", "mine"), source="a")
    assert outcomes(processes, Call("left"), source="a") == ["mine"]
    assert outcomes(processes, Call("left"), source="b") == [""]
    assert outcomes(processes, Call("left"), source="a") == [""]
    assert left == [None]


def test_each_source_keeps_its_process_where_there_are_enough() -> None:
    made = LimitedProcesses(2, memory_mb=MEMORY_MB, preload=[limited_work.__name__])
    with closing(made):
        pids = [outcomes(made, Call("pid"), source=source)[0] for source in "abab"]
        assert pids[:2] == pids[2:]
        assert len(set(pids)) == 2
        third = outcomes(made, Call("pid"), source="c")[0]
        assert third not in pids
        assert not runs(int(str(pids[0])))  # of the source that waited longest


@pytest.mark.parametrize(
    ("function", "seconds", "limit", "detail"),
    [
        ("hang", 1, Limit.TIME, "1s"),
        ("eat", 8, Limit.MEMORY, "1,500 MB"),
        ("die", 8, Limit.PROCESS, "SIGABRT; it may use 1,500 MB"),
        (
            *("end_by_a_signal_without_a_name", 8, Limit.PROCESS),
            "signal 40; it may use 1,500 MB",
        ),
        ("raise_error", 8, Limit.ERROR, "ValueError: text"),
    ],
    ids=["hangs in C", "takes memory", "aborts", "has a signal of its own", "raises"],
)
def test_a_document_beyond_a_limit_pays_alone(
    processes: LimitedProcesses,
    function: str,
    seconds: float,
    limit: Limit,
    detail: str,
) -> None:
    started = time.monotonic()
    before, given_up, after = outcomes(
        processes,
        Call("sleep", "0"),
        Call(function, "text"),
        Call("sleep", "0.01"),
        seconds=seconds,
    )
    assert time.monotonic() - started < seconds + 2
    assert (before, given_up, after) == ("0", Overrun(limit, detail), "0.01")


def test_no_process_that_was_given_up_stays(processes: LimitedProcesses) -> None:
    (first,) = outcomes(processes, Call("pid"))
    outcomes(processes, Call("hang"), seconds=0.2)
    assert isinstance(first, int)
    assert not runs(first)


def test_a_document_whose_process_was_ended_by_another_is_tried_again(
    processes: LimitedProcesses,
) -> None:
    work = [Call("pid"), Call("sleep", "0.3"), Call("pid")]
    run = processes.run(work, 10, QueuedBatch("s", 1, len(work)))
    first = next(run)
    assert isinstance(first, int)
    os.kill(first, signal.SIGKILL)
    assert next(run) == "0.3"
    assert next(run) != first


def test_a_limit_is_for_each_document(processes: LimitedProcesses) -> None:
    work = [Call("sleep", "0.4")] * 5
    assert outcomes(processes, *work, seconds=1) == ["0.4"] * 5


def test_a_batch_that_is_left_gives_its_process_back(processes: LimitedProcesses) -> None:
    work = [Call("sleep", "0.05")] * 40
    run = processes.run(work, 10, QueuedBatch("s", 1, 40))
    assert next(run) == "0.05"
    run.close()
    assert outcomes(processes, Call("sleep", "0")) == ["0"]


def test_slow_documents_of_one_batch_let_others_in_between(processes: LimitedProcesses) -> None:
    ended: list[str] = []
    started = threading.Event()

    def slow() -> None:
        work = [Call("sleep", "0.6")] * 6
        for _ in processes.run(work, 10, QueuedBatch("slow", 1, 6)):
            started.set()
        ended.append("slow")

    thread = threading.Thread(target=slow)
    thread.start()
    assert started.wait(20)
    outcomes(processes, Call("pid"), source="quick")
    ended.append("quick")
    thread.join(20)
    assert ended == ["quick", "slow"]


def test_what_runs_while_the_processes_are_closed_has_no_outcome() -> None:
    processes = LimitedProcesses(1)
    work = [Call("sleep", "0"), Call("sleep", "60")]
    run = processes.run(work, 100, QueuedBatch("s", 1, 2))
    assert next(run) == "0"
    closing = threading.Timer(0.2, processes.close)
    closing.start()
    with pytest.raises(DependencyError):
        next(run)
    closing.join()


_ORPHAN = """
import sys
from pathlib import Path
from corpus.limits import fork_server as fork_server_module
from corpus.limits.fair_queue import QueuedBatch
from corpus.limits.fork_server import ForkServer
from corpus.limits.processes import LimitedProcesses
from tests.support.limited_work import Call

processes = LimitedProcesses(1)
for outcome in processes.run([Call("pid"), Call("spin")], 600, QueuedBatch("s", 1, 2)):
    Path(sys.argv[1]).write_text(str(outcome), encoding="utf-8")
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


def test_documents_do_not_pay_for_the_death_of_the_program_that_starts_processes() -> None:
    made = LimitedProcesses(2, memory_mb=MEMORY_MB, preload=[limited_work.__name__])
    try:
        waiting = [
            threading.Thread(
                target=outcomes, args=(made, Call("sleep", "0.5")), kwargs={"source": name}
            )
            for name in ("a", "b")
        ]
        for thread in waiting:
            thread.start()
        for thread in waiting:
            thread.join()
        [before] = outcomes(made, Call("pid"))
        assert isinstance(before, int)
        program = psutil.Process(before).parent()
        assert program is not None
        assert program.pid != os.getpid()
        program.kill()
        wait_until(lambda: not runs(before), 10, "the processes end with their program")
        [after] = outcomes(made, Call("pid"))
        assert isinstance(after, int)
        assert after != before
    finally:
        made.close()


def test_the_program_that_starts_processes_runs_before_the_first_document_comes() -> None:
    server = ForkServer([limited_work.__name__])
    try:
        for _ in range(2):  # after its death, too
            server.open()
            assert server._program is not None
            program = psutil.Process(server._program.pid)
            server.open()
            pid, connection = server.start(MEMORY_MB * 1_000_000, [])
            connection.close()
            assert psutil.Process(pid).ppid() == program.pid
            program.kill()
            wait_until(lambda one=program: not runs(one.pid), 10, "the program ends")
    finally:
        server.close()


def test_a_program_that_cannot_start_is_one_clear_error() -> None:
    server = ForkServer(["no_such_module"])
    with pytest.raises(DependencyError, match="processes for documents cannot be started"):
        server.open()


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = ForkServer([limited_work.__name__])
    try:
        first, connection = server.start(MEMORY_MB * 2**20, [])
        connection.close()

        def late(*_: object) -> bytes:
            raise TimeoutError

        with monkeypatch.context() as patch:
            patch.setattr(fork_server_module, "_exactly", late)
            assert server.end(first) is None
        second, connection = server.start(MEMORY_MB * 2**20, [])
        assert second != first
        assert server.end(first) is None  # it may be another process by now
        assert server.end(second) == -signal.SIGKILL
        connection.close()
    finally:
        server.close()
