"""`up` and `down` without a server: which parts, the state directory, and what is left of a stack."""

import os
import subprocess
import threading
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.local import commands, state
from compose.local.commands import PARTS, down, prepare_home, select_parts, uptime_seconds
from compose.local.machine.files import try_lock
from compose.local.machine.process import MARK, ProcessId, current_process
from compose.local.parts.part import PartState, PartStatus
from compose.local.parts.role import ROLES
from compose.local.stack import SCHEMA_REGISTRY, SERVICES, addresses, stack_parts
from compose.local.state import StackFile, read_stack, write_stack
from corpus.errors import ConfigurationError, DependencyError

WITHOUT_REGISTRY = tuple(name for name in PARTS if name != SCHEMA_REGISTRY)


@pytest.mark.parametrize(
    ("workers", "only", "parts"),
    [
        (True, [], WITHOUT_REGISTRY),
        (False, [], SERVICES),
        (True, ["kafka"], ["kafka"]),
        (True, ["migrations"], ["postgres", "migrations"]),
        (False, ["consumer"], [*SERVICES, "consumer"]),
        (True, ["temporal", "postgres", "temporal"], ["postgres", "temporal"]),
    ],
)
def test_which_parts_are_selected(workers: bool, only: list[str], parts: list[str]) -> None:
    assert select_parts(workers=workers, only=only) == list(parts)


def test_the_schema_registry_is_a_part_where_its_port_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="names its port"):
        select_parts(workers=True, only=[SCHEMA_REGISTRY])
    monkeypatch.setenv("FRESHET_SCHEMA_REGISTRY_PORT", "21001")
    assert select_parts(workers=True) == list(PARTS)
    assert select_parts(workers=True, only=[SCHEMA_REGISTRY]) == [SCHEMA_REGISTRY]
    ports = dict.fromkeys(commands.local_ports.PORTS, 21_000)
    assert tuple(stack_parts(tmp_path, ports)) == PARTS
    address = addresses(tmp_path, ports)["schema_registry_url"]
    assert address == "http://127.0.0.1:21001/apis/ccompat/v7"
    monkeypatch.setenv("FRESHET_SCHEMA_REGISTRY_URL", "https://registry.example")
    assert SCHEMA_REGISTRY not in stack_parts(tmp_path, ports)


@pytest.mark.parametrize("name", ["oracle", "", "Kafka", "kafka "])
def test_a_name_that_is_not_a_part_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"'{name}' is not a part of the stack; parts are"):
        select_parts(workers=True, only=["kafka", name])


@given(only=st.lists(st.sampled_from(WITHOUT_REGISTRY), min_size=1, max_size=4))
def test_selected_parts_include_what_they_need_in_order(only: list[str]) -> None:
    needs = {role: {*SERVICES} for role in ROLES} | {"migrations": {"postgres"}}
    selected = select_parts(workers=True, only=only)
    assert selected == [name for name in PARTS if name in selected]
    assert set(only) <= set(selected)
    for name in selected:
        assert needs.get(name, set()) <= set(selected)


def test_every_part_needs_only_parts_of_the_stack(tmp_path: Path) -> None:
    parts = stack_parts(tmp_path, dict.fromkeys(commands.local_ports.PORTS, 21_000))
    assert tuple(parts) == WITHOUT_REGISTRY
    for index, part in enumerate(parts.values()):
        assert set(part.after) <= set(PARTS[:index])


# ── the state directory ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_state_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        ConfigurationError, match=r"cannot be written: .*choose another with --home"
    ):
        prepare_home(tmp_path / "file" / "home", {})


@pytest.mark.parametrize("name", ["a,b", "a|b", "a\\b", "a\nb"])
def test_a_state_directory_that_would_be_split_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="which its servers cannot use"):
        prepare_home(tmp_path / name, {})
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["a b", "ünïcödé", "a'b", 'a"b', "a=b#c", "$HOME", "-x"])
def test_other_names_of_a_state_directory_are_fine(tmp_path: Path, name: str) -> None:
    prepare_home(tmp_path / name, {"kafka": 21_000})
    assert (tmp_path / name / "ports.json").exists()


def test_an_address_that_is_malformed_is_refused_without_its_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRESHET_DATABASE_URL", "postgresql//ada:hunter2@db")
    with pytest.raises(ConfigurationError, match="is not a connection string") as caught:
        prepare_home(tmp_path / "home", {})
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_ups_at_once_prepare_one_directory_with_one_choice_of_ports(tmp_path: Path) -> None:
    choices: list[str] = []

    def prepare() -> None:
        prepare_home(tmp_path, {})
        choices.append((tmp_path / "ports.json").read_text())

    threads = [threading.Thread(target=prepare) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(choices) == 6
    assert len(set(choices)) == 1


def test_a_running_stack_keeps_its_ports(tmp_path: Path) -> None:
    prepare_home(tmp_path, {"kafka": 21_000})
    write_stack(tmp_path, StackFile(supervisor=current_process()))
    prepare_home(tmp_path, {"kafka": 21_001})
    assert commands.local_ports.choose(tmp_path)["kafka"] == 21_000


# ── down ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def ignore(_name: str) -> None:
    pass


def test_down_makes_nothing_where_nothing_was(tmp_path: Path) -> None:
    assert down(tmp_path / "home", on_stop=ignore) is False
    assert not (tmp_path / "home").exists()


def test_down_leaves_a_stranger_with_a_recorded_pid_alone(tmp_path: Path) -> None:
    me = psutil.Process()
    stale = PartStatus(name="kafka", state=PartState.READY, pid=me.pid, started=1.0)
    stack = StackFile(supervisor=ProcessId(os.getppid(), 1.0), parts={"kafka": stale})
    write_stack(tmp_path, stack)
    assert down(tmp_path, on_stop=ignore) is False
    assert read_stack(tmp_path) == StackFile()


@pytest.mark.parametrize("text", ["", "{", '{"parts": {"kafka": {"pid": "x"}}}'])
def test_down_ends_marked_processes_although_the_stack_file_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(state, "_REWRITE_SECONDS", 0.1)
    environment = {"PATH": os.environ["PATH"], MARK: f"{tmp_path}|kafka"}
    with subprocess.Popen(["sleep", "600"], env=environment) as left:
        (tmp_path / "stack.json").write_text(text)
        down(tmp_path, on_stop=ignore)
        assert left.wait(5) is not None
    assert not (tmp_path / "stack.json").exists()
    assert down(tmp_path, on_stop=ignore) is False


def test_down_waits_for_the_lock_and_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "_LOCK_SECONDS", 0.3)
    lock = try_lock(tmp_path / "supervisor.lock")
    assert lock is not None
    with pytest.raises(DependencyError, match=r"supervisor\.lock and does not release it"):
        down(tmp_path, on_stop=ignore)
    os.close(lock)
    assert down(tmp_path, on_stop=ignore) is False


def test_how_long_a_process_has_run() -> None:
    me = current_process()
    uptime = uptime_seconds(me)
    assert uptime is not None
    assert 0 <= uptime < 86_400
    assert uptime_seconds(None) is None
    assert uptime_seconds(ProcessId(me.pid, 1.0)) is None
