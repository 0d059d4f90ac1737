"""Processes: identity by pid and start time, signals, marks, logs, and programs that fail."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from compose.local.machine import process as module
from compose.local.machine.process import (
    MARK,
    ProcessId,
    current_process,
    identify,
    kill_marked,
    last_lines,
    marked,
    processes_in,
    rotate,
    run_tool,
    spawn,
    stop,
    variables,
)
from corpus.errors import ConfigurationError, DependencyError
from tests.support.polling import wait_until

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a shell script as a part; it is ended with the test."""
    children: list[subprocess.Popen[bytes]] = []

    def start_script(script: str = "exec sleep 600", mark: str = "") -> subprocess.Popen[bytes]:
        child = spawn(
            ["sh", "-c", script],
            mark=mark or f"{tmp_path}|part",
            environment={},
            log=tmp_path / "logs" / "part.log",
            cwd=tmp_path,
        )
        children.append(child)
        return child

    yield start_script
    kill_marked(str(tmp_path))
    for child in children:
        child.kill()
        child.wait()


# ── identity ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_process_is_known_by_its_pid_and_its_start() -> None:
    me = current_process()
    assert me.alive()
    assert replace(me, started=me.started + 1.5).alive()  # ticks, and a clock that was set
    assert not replace(me, started=me.started + 3).alive()
    assert not replace(me, started=me.started - 3).alive()
    assert not replace(me, started=0.0).alive()


@pytest.mark.parametrize("pid", [2**22 + 1, 2**31 - 1])
def test_a_pid_that_no_process_has_is_not_alive(pid: int) -> None:
    assert not ProcessId(pid, 1.0).alive()


def test_a_zombie_is_not_alive(start: Start) -> None:
    child = start("exit 7")
    process = identify(child)
    wait_until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE, 5)
    assert not process.alive()
    child.wait()
    assert identify(child) == ProcessId(child.pid, 0.0)


def test_a_part_has_a_session_of_its_own_and_no_input(start: Start, tmp_path: Path) -> None:
    child = start("cat; echo end of input")
    assert child.wait(5) == 0
    assert (tmp_path / "logs" / "part.log").read_text() == "end of input\n"
    sleeper = start()
    assert os.getsid(sleeper.pid) == sleeper.pid != os.getsid(0)


@pytest.mark.parametrize("program", ["/no/such/program", "/etc/passwd"])
def test_a_program_that_cannot_be_started_is_named(tmp_path: Path, program: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{program} cannot be started"):
        spawn([program], mark="", environment={}, log=tmp_path / "log", cwd=tmp_path)


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    log.mkdir()
    with pytest.raises(ConfigurationError, match=r"Is a directory: .*part\.log"):
        spawn(["true"], mark="", environment={}, log=log, cwd=tmp_path)


# ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_process_gets_its_own_signal(start: Start, tmp_path: Path) -> None:
    script = "trap 'echo {0} > {0}; exit 0' {0}; touch ready-{0}; while :; do sleep 0.02; done"
    first, second = start(script.format("INT")), start(script.format("TERM"))
    for name in ("INT", "TERM"):
        wait_until((tmp_path / f"ready-{name}").exists, 5)
    stop({identify(first): signal.SIGINT, identify(second): signal.SIGTERM}, grace=5)
    assert (tmp_path / "INT").exists()
    assert (tmp_path / "TERM").exists()


def test_what_ignores_its_signal_is_killed_with_its_group(start: Start, tmp_path: Path) -> None:
    script = "trap '' TERM; sleep 600 & echo $! > child; while :; do sleep 0.02; done"
    parent = start(script)
    child_file = tmp_path / "child"
    wait_until(lambda: child_file.exists() and child_file.read_text().strip(), 5)
    child = psutil.Process(int(child_file.read_text()))
    stop({identify(parent): signal.SIGTERM}, grace=0.1)
    assert parent.wait(5) == -signal.SIGKILL
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 5)


def test_a_stranger_with_the_same_pid_gets_no_signal(start: Start) -> None:
    child = start()
    stranger = ProcessId(child.pid, identify(child).started - 100)
    stop({stranger: signal.SIGKILL}, grace=0.1)
    assert child.poll() is None


def test_nothing_to_stop_takes_no_time() -> None:
    stop({}, grace=600)
    stop({ProcessId(2**22 + 1, 1.0): signal.SIGTERM}, grace=600)


def test_a_process_that_ends_between_check_and_signal_is_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ProcessId, "alive", lambda _self: True)
    monkeypatch.setattr(module, "_KILL_SECONDS", 0.05)
    stop({ProcessId(2**22 + 1, 1.0): signal.SIGTERM}, grace=0.05)


# ── marks ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_mark_covers_its_parts_and_no_folder_with_a_longer_name(
    start: Start, tmp_path: Path
) -> None:
    ours = start(mark=f"{tmp_path}|kafka")
    neighbour = start(mark=f"{tmp_path}2|kafka")
    whole = start(mark=str(tmp_path))
    assert {process.pid for process in marked(str(tmp_path))} == {ours.pid, whole.pid}
    assert {process.pid for process in marked(f"{tmp_path}|kafka")} == {ours.pid}
    assert list(marked(f"{tmp_path}|kaf")) == []
    assert kill_marked(str(tmp_path)) == 2
    assert neighbour.poll() is None
    kill_marked(f"{tmp_path}2")


def test_this_process_is_never_among_the_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = psutil.Process().environ()
    monkeypatch.setattr(psutil.Process, "environ", lambda _self: environment | {MARK: "all"})
    assert os.getpid() not in {process.pid for process in marked("all")}


def test_a_folder_is_in_use_also_under_another_name(start: Start, tmp_path: Path) -> None:
    child = start()
    alias = tmp_path.parent / f"{tmp_path.name}-alias"
    alias.symlink_to(tmp_path)
    for folder in (tmp_path, alias):
        assert [process.pid for process in processes_in(folder)] == [child.pid]
    assert processes_in(tmp_path / "logs") == []


# ── programs that run to their end ──────────────────────────────────────────────────────────────────────────────────


def run(script: str, **options) -> str:
    arguments = {"mark": "mine", "purpose": "try it", "timeout": 10.0} | options
    return run_tool(["sh", "-c", script], **arguments)


def test_a_program_returns_its_output_and_carries_the_mark(tmp_path: Path) -> None:
    assert run(f"pwd; echo ${MARK}", cwd=tmp_path) == f"{tmp_path}\nmine\n"


def test_a_program_gets_the_variables_that_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "FRESHET_KAFKA_PASSWORD", "MAVEN_OPTS"):
        monkeypatch.setenv(name, "given")
    script = f"env | grep -v '^{MARK}' | grep =given; echo $LC_ALL"
    assert run(script, environment={"LC_ALL": "C"}) == "C\n"
    assert run(script, inherits=variables("MAVEN_[A-Z]+")) == "MAVEN_OPTS=given\n\n"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo a >&2; exit 3", r"try it: sh ended with exit code 3: a$"),
        ("echo only output; exit 1", r"exit code 1: only output$"),
        ("for n in 1 2 3 4 5 6; do echo $n; done >&2; exit 2", r"exit code 2: 3 \| 4 \| 5 \| 6$"),
        ("kill -9 $$", r"exit code -9: $"),
        (r"printf '\377\376' >&2; exit 1", r"exit code 1: .{2}$"),
    ],
)
def test_a_program_that_fails_is_quoted(script: str, message: str) -> None:
    with pytest.raises(DependencyError, match=message):
        run(script)


def test_a_program_that_hangs_or_is_missing_is_named() -> None:
    with pytest.raises(DependencyError, match="try it: sh took longer than 0 s"):
        run("exec sleep 60", timeout=0.1)
    with pytest.raises(DependencyError, match="try it: /no/such cannot be run"):
        run_tool(["/no/such"], mark="", purpose="try it", timeout=1)


def test_a_program_has_no_input() -> None:
    assert run_tool([sys.executable, "-c", "print(input('?') if False else 'ok')"], mark="",
                    purpose="", timeout=20) == "ok\n"  # fmt: skip
    assert run("cat") == ""


# ── logs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "name", ["kafka.log", "a.b.log", ".log", "no-suffix", "é ü|;.log", "x.log.1"]
)
def test_a_large_log_keeps_its_name_with_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(module, "MAX_LOG_BYTES", 10)
    log = tmp_path / name
    log.write_text("0123456789")
    rotate(log)
    assert log.exists()  # exactly the limit
    log.write_text("01234567890")
    (tmp_path / f"{name}.1").write_text("older")
    rotate(log)
    assert not log.exists()
    assert (tmp_path / f"{name}.1").read_text() == "01234567890"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_log_that_is_not_there_is_not_rotated(tmp_path: Path) -> None:
    rotate(tmp_path / "kafka.log")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "count", "lines"),
    [
        (b"a\nb\nc\n", 2, ["b", "c"]),
        (b"a\nb\nc", 2, ["b", "c"]),
        (b"a\nb", 9, ["a", "b"]),
        (b"a\nb\n", 0, []),
        (b"a\nb\n", -1, []),
        (b"", 3, []),
        (b"\n\n", 1, [""]),
        (b"a\r\nb\r\n", 1, ["b"]),
        (b"\xff\xfe\n", 1, ["\ufffd\ufffd"]),
        (b"x" * 300_000 + b"\nend\n", 2, ["x" * (262_144 - 5), "end"]),
    ],
)
def test_the_last_lines_of_a_log(
    tmp_path: Path, content: bytes, count: int, lines: list[str]
) -> None:
    log = tmp_path / "part.log"
    log.write_bytes(content)
    assert last_lines(log, count) == lines


def test_a_log_that_is_not_there_has_no_lines(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "part.log", 5) == []
