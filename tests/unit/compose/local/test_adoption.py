"""A supervisor follows one that was killed: it adopts what serves, and leaves processes of other programs alone."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from compose.local import part_runner
from compose.local.machine.process import MARK
from compose.local.supervisor import Supervisor
from tests.support.light_parts import LightStack


@pytest.fixture
def left(light_stack: LightStack) -> Iterator[subprocess.Popen[bytes]]:
    """A process that a killed supervisor left behind."""
    light_stack.home.mkdir()
    process = start(f"{light_stack.home}|part")
    yield process
    process.kill()
    process.wait()


def start(mark: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "600"], env={"PATH": "/usr/bin:/bin", MARK: mark})


def record(home: Path, name: str, **fields: Any) -> None:
    """Write stack.json as the first version of the supervisor did."""
    row = {
        "name": name,
        "state": "ready",
        "pid": None,
        "started": None,
        "restarts": 3,
        "address": "",
        "version": "",
        "took_seconds": 1.5,
        "note": "",
        "error": "",
        "log": "",
        "stop_signal": 15,
        "grace_seconds": 20.0,
        "after": [],
    }
    stack = {
        "home": str(home),
        "supervisor": {"pid": 2**22 + 17, "started": 1.0},
        "asked": 7,
        "addresses": {"database_url": "postgresql://freshet:secret@127.0.0.1:1/freshet"},
        "ports": {"postgres": 20_001},
        "parts": {name: row | fields},
    }
    home.mkdir(exist_ok=True)
    (home / "stack.json").write_text(json.dumps(stack, indent=2))


def started(process: subprocess.Popen[bytes]) -> float:
    return psutil.Process(process.pid).create_time()


def test_a_process_that_serves_is_adopted_and_ended_with_the_stack(
    light_stack: LightStack, left: subprocess.Popen[bytes]
) -> None:
    part = light_stack.add("part")
    part.install = lambda: setattr(part, "version", "9.9")  # type: ignore[method-assign]
    record(light_stack.home, "part", pid=left.pid, started=started(left))
    with light_stack.supervised():
        row = light_stack.wait("part", state="ready", note="was running")
        assert (row["pid"], row["restarts"], row["version"]) == (left.pid, 3, "9.9")
        assert left.poll() is None
    assert left.wait(5) is not None


def test_a_part_that_still_runs_is_kept_although_the_request_does_not_name_it(
    light_stack: LightStack, left: subprocess.Popen[bytes]
) -> None:
    light_stack.add("part")
    light_stack.add("other")
    record(light_stack.home, "part", pid=left.pid, started=started(left))
    with light_stack.supervised("other"):
        light_stack.wait("other", state="ready")
        light_stack.wait("part", state="ready", pid=left.pid)


def test_a_process_that_does_not_serve_is_replaced(
    light_stack: LightStack, left: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_runner, "_ADOPT_SECONDS", 0.1)
    answers = iter([False, False])
    light_stack.add("part", ready=lambda: next(answers, True))
    record(light_stack.home, "part", pid=left.pid, started=started(left))
    with light_stack.supervised():
        light_stack.wait_restarted("part", left.pid)
        assert left.wait(5) is not None


def test_a_version_that_cannot_be_found_replaces_the_process(
    light_stack: LightStack, left: subprocess.Popen[bytes]
) -> None:
    part = light_stack.add("part")
    failures = [OSError("the program is gone")]

    def install() -> None:
        if failures:
            raise failures.pop()

    part.install = install  # type: ignore[method-assign]
    record(light_stack.home, "part", pid=left.pid, started=started(left))
    with light_stack.supervised():
        row = light_stack.wait("part", state="failed")
        assert row["error"] == "OSError: the program is gone"


def test_a_stranger_with_the_recorded_pid_is_left_alone(light_stack: LightStack) -> None:
    light_stack.add("part")
    stranger = start("")
    try:
        record(light_stack.home, "part", pid=stranger.pid, started=started(stranger) - 3600)
        with light_stack.supervised():
            row = light_stack.wait("part", state="ready")
            assert row["pid"] != stranger.pid
            assert row["restarts"] == 0
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_process_whose_pid_was_never_written_is_replaced(
    light_stack: LightStack, left: subprocess.Popen[bytes]
) -> None:
    light_stack.add("part")
    with light_stack.supervised():
        row = light_stack.wait("part", state="ready")
        assert row["pid"] != left.pid
        assert left.wait(5) is not None


def test_parts_that_ended_before_are_not_carried_over(light_stack: LightStack) -> None:
    light_stack.add("part")
    light_stack.add("worker")
    record(light_stack.home, "worker", pid=2**22 + 3, started=1.0)
    with light_stack.supervised("part"):
        light_stack.wait("part", state="ready")
        assert light_stack.row("worker") == {}


def test_a_part_of_another_version_is_ended_with_the_stack(
    light_stack: LightStack, left: subprocess.Popen[bytes]
) -> None:
    light_stack.add("part")
    record(light_stack.home, "retired", pid=left.pid, started=started(left))
    with light_stack.supervised():
        light_stack.wait("part", state="ready")
        assert light_stack.row("retired")["pid"] == left.pid
    assert left.wait(5) is not None


def test_stopping_before_anything_was_read_ends_what_was_left(
    light_stack: LightStack, left: subprocess.Popen[bytes]
) -> None:
    light_stack.add("part")
    record(light_stack.home, "part", pid=left.pid, started=started(left))
    supervisor = Supervisor(light_stack.home)
    supervisor.stop()
    assert supervisor.run() is True
    assert left.wait(5) is not None
