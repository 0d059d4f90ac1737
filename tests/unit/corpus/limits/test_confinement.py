"""A document that takes over its parser gets nothing: no secret, no file, no network, no process, no code elsewhere."""

import os
import re
import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from corpus.clean.cleaner import Cleaner, RawDocument
from corpus.embed.tokenizer import load_tokenizer
from corpus.limits import confinement
from corpus.limits.fair_queue import QueuedBatch
from corpus.limits.fork_server import ForkServer
from corpus.limits.messages import Boxed, Packer, pack_plain
from corpus.limits.probe import probe
from corpus.limits.processes import LimitedProcesses
from corpus.limits.work import Limit, Overrun
from corpus.preparation import PreparationSpec
from corpus.prepare import divide
from corpus.prepare.divide import Divide
from tests.support import hostile_work
from tests.support.fakes import MODEL
from tests.support.hostile_work import Answers, Hostile, WritesPickle
from tests.support.limited_work import Call

SECRET = "canary-of-the-worker-4711"
DOCUMENTS = {
    "text/plain": "One \ud83d\ude00 \ud83d line, e\u0301.\n\ndata:image/png;base64," + "QUJD" * 80,
    "text/markdown": "# T\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n- x\n\n```\ncode\n```\n\n$x$ &amp; <b>y</b>",
    "text/x-rst": "T\n=\n\n*a* `b`_ |c|\n\n+---+\n| a |\n+---+\n\n.. note:: n\n\n.. _b: http://x",
    "text/csv": "a;b\n1;2",
    "application/json": '{"a": [1, {"b": null}]}',
    "text/x-python": "a = 1",
    "text/html": "<style>a{}</style><main style='display:none'>x</main><table><tr><td>1</table><p>&eacute; y",
}


@pytest.fixture(scope="module")
def processes() -> Iterator[LimitedProcesses]:
    """Of a worker that has secrets in its environment, its memory and an open file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FRESHET_DATABASE_URL", SECRET)
        made = LimitedProcesses(1, preload=[hostile_work.__name__])
        list(made.run([Hostile("environment")], 30, QueuedBatch("s", 1, 1)))
        yield made
        made.close()


def outcome(processes: LimitedProcesses, work: Hostile | WritesPickle | Answers) -> object:
    (result,) = processes.run([work], 5, QueuedBatch("s", 1, 1))
    return result


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text(SECRET, encoding="utf-8")
    return file


def test_its_environment_is_empty(processes: LimitedProcesses) -> None:
    assert outcome(processes, Hostile("environment")) == "nothing"


@pytest.mark.parametrize(
    "attempt",
    [
        "environment_of_the_kernel",
        "environment_of_the_worker",
        "local_socket",
        "signal_worker",
        "signal_everyone",
        "worker_memory",
        "worker_descriptor",
        "limit_of_worker",
        "limits_back",
        "program",
        "replace_itself",
    ],
)
def test_it_reaches_no_other_process(processes: LimitedProcesses, attempt: str) -> None:
    result = outcome(processes, Hostile(attempt, str(os.getpid())))
    assert isinstance(result, str)
    assert result.startswith("refused: "), result


@pytest.mark.parametrize(
    "attempt", ["file", "file_by_system_call", "write_file", "change_mode", "remove_file"]
)
def test_it_reaches_no_file(processes: LimitedProcesses, secret_file: Path, attempt: str) -> None:
    secret_file.chmod(0o666)  # so that the mode is not what keeps it out
    result = outcome(processes, Hostile(attempt, str(secret_file)))
    assert isinstance(result, str)
    assert result.startswith("refused: "), result
    assert secret_file.read_text(encoding="utf-8") == SECRET


@pytest.mark.parametrize("attempt", ["connect", "send_packet"])
def test_it_reaches_no_network(processes: LimitedProcesses, attempt: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        result = outcome(processes, Hostile(attempt, port))
    assert isinstance(result, str)
    assert result.startswith("refused: "), result


@pytest.mark.parametrize("framed", [False, True], ids=["as it is", "as a message"])
def test_a_pickle_from_it_runs_nothing_in_the_worker(
    processes: LimitedProcesses, tmp_path: Path, framed: bool
) -> None:
    mark = tmp_path / "ran"
    result = outcome(processes, WritesPickle(f"touch {mark}", framed))
    assert isinstance(result, Overrun)
    assert result.limit in (Limit.PROCESS, Limit.TIME)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("answer", "limit"),
    [
        (struct.pack(">Q", 1 << 60), Limit.PROCESS),
        (struct.pack(">Q", 5) + b"\xff\xff\xff\xff\xff", Limit.PROCESS),
        (struct.pack(">Q", 100) + b"x", Limit.TIME),
        (struct.pack(">Q", 5) + pack_plain("text"), Limit.PROCESS),
    ],
    ids=["endless", "no msgpack", "never ends", "another type"],
)
def test_an_answer_that_is_none_ends_the_process_in_time(
    processes: LimitedProcesses, answer: bytes, limit: Limit
) -> None:
    started = time.monotonic()
    work = Answers(answer)
    (result,) = processes.run([work], 1, QueuedBatch("s", 1, 1))
    assert isinstance(result, Overrun)
    assert result.limit is limit
    assert time.monotonic() - started < 5
    assert outcome(processes, Hostile("environment")) == "nothing"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_it_inherits_no_secret_and_no_descriptor(secret_file: Path) -> None:
    secret = SECRET + "-in-memory"
    with (
        pytest.MonkeyPatch.context() as patch,
        secret_file.open(encoding="utf-8") as held,
        closing(
            LimitedProcesses(1, preload=["tests.support.limited_work", "json.tool"])
        ) as processes,
    ):
        os.set_inheritable(held.fileno(), True)
        patch.setenv("FRESHET_DATABASE_URL", secret)
        run = processes.run([Call("pid"), Call("pid")], 10, QueuedBatch("s", 1, 2))
        pid = next(run)
        process = Path(f"/proc/{pid}")
        assert isinstance(pid, int)
        assert (process / "environ").read_bytes() == b""
        opened = [str(link.readlink()) for link in (process / "fd").iterdir()]
        assert sorted(opened)[:3] == ["/dev/null"] * 3
        assert len(opened) == 4
        assert opened.count(str(secret_file)) == 0
        assert sorted(opened)[3].startswith("socket:")
        assert secret.encode() not in writable_memory(pid)
        assert b"canary-of-the-worker" in writable_memory(os.getpid())
        run.close()


def writable_memory(pid: int) -> bytes:
    ranges = re.compile(r"^(\w+)-(\w+) rw", re.MULTILINE)
    maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")
    found: list[bytes] = []
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for start, end in ranges.findall(maps):
            memory.seek(int(start, 16))
            found.append(memory.read(int(end, 16) - int(start, 16)) or b"")
    return b"".join(found)


def test_parsers_import_nothing_once_they_are_confined() -> None:
    """What they would import later could not be read any more."""
    steps = [Divide(load_tokenizer(MODEL), PreparationSpec(), "headings")] * len(DOCUMENTS)
    raw = [RawDocument(text, kind) for kind, text in DOCUMENTS.items()]
    with Cleaner(preload=[divide.__name__]) as cleaner:
        batch = QueuedBatch("s", 1, len(raw))
        results = list(cleaner.clean_then(raw, PreparationSpec(), steps, batch))
    assert [type(result) for result in results] == [divide.DividedDocument] * len(DOCUMENTS)


def test_the_probe_reaches_nothing_and_names_the_walls() -> None:
    findings = probe()
    assert findings.reached == ()
    assert confinement.Wall.NO_DESCRIPTORS in findings.walls


def test_what_a_machine_lacks_is_what_the_probe_reaches(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a check of it can fail: nothing is confined here."""
    monkeypatch.setattr(os, "fork", lambda: 1)
    from corpus.limits.probe import Probe

    reached = Probe()().reached
    assert {"read a file", "connect", "signal another process"} <= set(reached)


def test_only_new_shared_values_are_sent() -> None:
    packer = Packer()
    tokenizer = load_tokenizer(MODEL)
    step = Divide(tokenizer, PreparationSpec(), "none")
    message = packer.pack([Boxed(step), Boxed(step)])
    assert list(packer.shared) == [tokenizer.shared_key]
    assert len(message) < 2_000


def test_a_fork_server_that_was_ended_starts_again() -> None:
    server = ForkServer([])
    try:
        pid, connection = server.start(1_000_000_000, [])
        connection.close()
        program = psutil.Process(pid).parent()
        assert program is not None
        program.kill()
        program.wait(10)
        assert server.end(pid) is None
        again, connection = server.start(1_000_000_000, [])
        assert server.end(again) == -9
        connection.close()
    finally:
        server.close()
