"""A worker is ready when it, and not an earlier process, wrote its file."""

import sys
from pathlib import Path

import pytest

from compose.local.machine.process import ProcessId
from compose.local.parts.role import ROLES, Role

PROCESS = ProcessId(4711, 1.0)


@pytest.fixture
def role(tmp_path: Path) -> Role:
    role = Role(home=tmp_path, name="storer")
    role.prepare()
    return role


@pytest.mark.parametrize(
    ("content", "ready"),
    [(b"4711", True), (b"4711\n", True), (b"471", False), (b"", False), (b"\xff", False)],
)
def test_a_worker_is_ready_by_its_own_pid(role: Role, content: bytes, ready: bool) -> None:
    assert not role.is_ready(PROCESS)
    role.ready_file.write_bytes(content)
    assert role.is_ready(PROCESS) is ready


def test_the_file_of_an_earlier_process_is_removed(role: Role) -> None:
    role.ready_file.write_text("4711")
    role.prepare()
    assert not role.is_ready(PROCESS)


def test_a_worker_finds_the_stack_and_the_checkout(
    role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    environment = role.environment()
    checkout, elsewhere = environment["PYTHONPATH"].split(":")
    assert (Path(checkout) / "compose" / "local").is_dir()
    assert elsewhere == "/elsewhere"
    assert environment["FRESHET_HOME"] == str(role.home)
    assert environment["FRESHET_READY_FILE"] == str(role.ready_file)
    assert list(role.command()) == [sys.executable, "-m", "workers", "worker", "storer"]
    monkeypatch.delenv("PYTHONPATH")
    assert role.environment()["PYTHONPATH"] == checkout


def test_every_role_is_a_role_of_the_workers() -> None:
    from workers.roles import table

    assert sorted(ROLES) == sorted(table.ROLES)
