"""The supervisor with parts that are shell scripts: order, restarts, errors, the end."""

import os
import signal
import threading
from pathlib import Path

import psutil
import pytest

from compose.local import part_runner
from compose.local.machine.process import ProcessId, marked
from compose.local.parts.part import ExistingServer, Task
from compose.local.state import add_request, recover_stack_file
from compose.local.supervisor import Supervisor
from corpus.errors import ConfigurationError, DependencyError
from tests.support.light_parts import FOREVER, LightStack
from tests.support.polling import wait_until


def test_a_part_starts_when_what_it_needs_is_usable(light_stack: LightStack) -> None:
    open_gate = threading.Event()
    light_stack.add("first", ready=open_gate.is_set)
    light_stack.add("second", after=("first",))
    with light_stack.supervised():
        light_stack.wait("first", state="starting", note="starting")
        assert light_stack.wait("second", state="waiting")["pid"] is None
        open_gate.set()
        light_stack.wait("first", state="ready", note="", error="")
        row = light_stack.wait("second", state="ready")
        assert row["took_seconds"] is not None
        assert psutil.pid_exists(row["pid"])
    assert not (light_stack.home / "stack.json").exists()
    assert list(marked(str(light_stack.home))) == []


def test_only_requested_parts_start(light_stack: LightStack) -> None:
    light_stack.add("wanted")
    light_stack.add("other")
    with light_stack.supervised("wanted"):
        light_stack.wait("wanted", state="ready")
        assert light_stack.row("other") == {}
        add_request(light_stack.home, ["other"], fresh=False)
        light_stack.wait("other", state="ready")


def test_a_request_for_an_unknown_part_is_harmless(light_stack: LightStack) -> None:
    light_stack.add("known")
    with light_stack.supervised("known", "oracle"):
        light_stack.wait("known", state="ready")
        assert light_stack.row("oracle") == {}


def test_a_killed_part_is_started_again_and_its_end_is_named(light_stack: LightStack) -> None:
    ready = threading.Event()
    ready.set()
    light_stack.add("part", ready=ready.is_set)
    with light_stack.supervised():
        pid = light_stack.wait("part", state="ready")["pid"]
        ready.clear()
        os.kill(pid, signal.SIGKILL)
        row = light_stack.wait("part", state="restarting", restarts=1)
        assert row["error"] == "ended by SIGKILL"
        ready.set()
        row = light_stack.wait_restarted("part", pid)
        assert (row["restarts"], row["error"]) == (1, "")


def test_a_part_that_does_not_come_up_is_tried_again_with_its_last_line(
    light_stack: LightStack,
) -> None:
    light_stack.add("part", script="echo no licence; exit 3", ready=lambda: False)
    with light_stack.supervised():
        row = wait_until(
            lambda: row if (row := light_stack.row("part")).get("restarts", 0) >= 2 else None, 10
        )
    assert row["state"] == "restarting"
    assert row["error"].startswith("part ended before it was ready with exit code 3 (no licence)")
    assert row["error"].endswith("part.log")


def test_a_part_that_is_never_ready_is_ended_and_tried_again(light_stack: LightStack) -> None:
    light_stack.add("part", ready=lambda: False, ready_seconds=0.1)
    with light_stack.supervised():
        row = wait_until(
            lambda: row if (row := light_stack.row("part")).get("restarts", 0) >= 2 else None, 10
        )
        assert len(list(marked(str(light_stack.home)))) <= 1
    assert "was not ready after 0 s" in row["error"]


@pytest.mark.parametrize(
    ("error", "text"),
    [(ConfigurationError("port 1 is taken"), "port 1 is taken"), (KeyError("x"), "KeyError: 'x'")],
)
def test_an_error_that_trying_again_cannot_help_is_final_until_the_next_request(
    light_stack: LightStack, error: Exception, text: str
) -> None:
    part = light_stack.add("part")
    broken = [error]

    def prepare() -> None:
        if broken:
            raise broken[0]

    part.prepare = prepare  # type: ignore[method-assign]
    with light_stack.supervised():
        row = light_stack.wait("part", state="failed")
        assert (row["error"], row["restarts"], row["pid"]) == (text, 0, None)
        broken.clear()
        add_request(light_stack.home, ["part"], fresh=False)
        light_stack.wait("part", state="ready", error="")


def test_a_failed_part_holds_up_only_what_needs_it(light_stack: LightStack) -> None:
    light_stack.add("bad", script="/no/such/program", ready=lambda: False)
    light_stack.add("needs-bad", after=("bad",))
    light_stack.add("good")
    with light_stack.supervised():
        light_stack.wait("good", state="ready")
        light_stack.wait("bad", state="restarting")
        assert light_stack.row("needs-bad")["state"] == "waiting"


def test_tasks_are_done_once_and_servers_are_checked(light_stack: LightStack) -> None:
    runs: list[int] = []
    checks: list[int] = []

    def run() -> str:
        runs.append(1)
        return "2 applied"

    def check() -> str:
        checks.append(1)
        if len(checks) < 3:
            raise DependencyError("it does not answer")
        return "18.1"

    home = light_stack.home
    light_stack.parts["server"] = ExistingServer(home=home, name="server", check=check)
    light_stack.parts["task"] = Task(home=home, name="task", after=("server",), run=run)
    with light_stack.supervised():
        row = light_stack.wait("server", state="external", version="18.1", error="")
        assert (row["pid"], row["restarts"]) == (None, 2)
        light_stack.wait("task", state="done", note="2 applied")
        add_request(home, ["task", "server"], fresh=False)
        wait_until(lambda: light_stack.supervisor and light_stack.supervisor.board.request == 2)
    assert (len(runs), len(checks)) == (1, 3)


def test_parts_end_after_the_parts_that_need_them(light_stack: LightStack) -> None:
    order = light_stack.home / "order"
    script = "trap 'echo {} >> {}; exit 0' TERM; while :; do sleep 0.02; done"
    for name, after in (("database", ()), ("broker", ()), ("worker", ("task", "broker"))):
        light_stack.add(name, after=after, script=script.format(name, order))
    light_stack.parts["task"] = Task(
        home=light_stack.home, name="task", after=("database",), run=lambda: ""
    )
    with light_stack.supervised():
        light_stack.wait("worker", state="ready")
    ended = order.read_text().split()
    assert ended[0] == "worker"
    assert set(ended[1:]) == {"database", "broker"}


def test_a_part_that_ignores_its_signal_is_killed(light_stack: LightStack) -> None:
    script = "trap '' TERM; touch trapped; while :; do sleep 0.02; done"
    trapped = light_stack.home / "trapped"
    light_stack.add("stubborn", script=script, grace_seconds=0.2, ready=trapped.exists)
    with light_stack.supervised():
        pid = light_stack.wait("stubborn", state="ready")["pid"]
    assert not psutil.pid_exists(pid)


def test_a_child_that_left_its_group_ends_with_the_stack(light_stack: LightStack) -> None:
    pid_file = light_stack.home / "child"
    light_stack.add(
        "part", script=f"setsid sleep 600 & echo $! > {pid_file}; {FOREVER}", ready=pid_file.exists
    )
    with light_stack.supervised():
        light_stack.wait("part", state="ready")
        assert len(list(marked(str(light_stack.home)))) >= 2
    assert list(marked(str(light_stack.home))) == []


def test_a_part_that_starts_while_the_stack_ends_does_not_remain(
    light_stack: LightStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    light_stack.add("part")
    original = part_runner.spawn
    started = threading.Event()

    def slow_spawn(*arguments, **options):
        assert light_stack.supervisor is not None
        light_stack.supervisor.stop()
        threading.Event().wait(0.4)  # the end of the stack overtakes us here, unless it waits
        child = original(*arguments, **options)
        started.set()
        return child

    monkeypatch.setattr(part_runner, "spawn", slow_spawn)
    with light_stack.supervised():
        assert started.wait(10)
    assert list(marked(str(light_stack.home))) == []


def test_a_second_supervisor_leaves_at_once(light_stack: LightStack) -> None:
    light_stack.add("part")
    with light_stack.supervised():
        pid = light_stack.wait("part", state="ready")["pid"]
        assert Supervisor(light_stack.home).run() is False
        assert light_stack.row("part")["pid"] == pid


@pytest.mark.parametrize("text", ["", "{", "[]", '{"asked": "2"}', '{"asked": 5, "parts": [1]}'])
def test_a_damaged_request_does_not_end_the_supervisor(light_stack: LightStack, text: str) -> None:
    light_stack.add("first")
    light_stack.add("second")
    with light_stack.supervised("first"):
        pid = light_stack.wait("first", state="ready")["pid"]
        (light_stack.home / "wanted.json").write_text(text)
        threading.Event().wait(0.25)  # the supervisor reads the file every 0.1 s
        add_request(light_stack.home, ["second"], fresh=False)
        light_stack.wait("second", state="ready")
        assert light_stack.row("first")["pid"] == pid


def test_a_damaged_stack_file_is_written_again_by_a_running_supervisor(
    light_stack: LightStack,
) -> None:
    light_stack.add("part")
    with light_stack.supervised():
        pid = light_stack.wait("part", state="ready")["pid"]
        (light_stack.home / "stack.json").write_text('{"parts": {"part"')
        recover_stack_file(light_stack.home)
        assert light_stack.row("part")["pid"] == pid
        assert (light_stack.home / "stack.json.unreadable").exists()


def test_the_log_of_a_part_is_its_output(light_stack: LightStack) -> None:
    part = light_stack.add("part", script=f"echo out; echo err >&2; {FOREVER}")
    with light_stack.supervised():
        light_stack.wait("part", state="ready")
        wait_until(lambda: part.log.read_text() == "out\nerr\n", 5)


def test_a_process_knows_its_part_by_its_environment(light_stack: LightStack) -> None:
    light_stack.add("part")
    with light_stack.supervised():
        pid = light_stack.wait("part", state="ready")["pid"]
        # While the shell becomes `sleep`, the system shows an empty environment.
        wait_until(lambda: [p.pid for p in marked(f"{light_stack.home}|part")] == [pid], 5)
        assert ProcessId(pid, psutil.Process(pid).create_time()).alive()
        assert Path(psutil.Process(pid).cwd()) == light_stack.home
