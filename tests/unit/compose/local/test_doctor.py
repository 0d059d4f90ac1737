"""Each check of the doctor is made to fail on a machine that lacks what it looks for."""

import socket
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from compose.local import doctor, service_checks
from compose.local.checks import Check, CheckFailedError, CheckResult, make_check
from compose.local.doctor import ADDRESSES_CHECK, MACHINE_CHECKS, run_checks
from compose.local.machine import ports
from compose.local.machine.process import current_process
from compose.local.parts.part import PartState, PartStatus
from compose.local.parts.temporal_namespace import SEARCH_ATTRIBUTES
from compose.local.server_checks import SERVER_CHECKS, SESSION_CHECK
from compose.local.service_checks import DATABASE_CHECKS, SERVICE_CHECKS
from compose.local.state import StackFile, write_stack
from corpus import locks
from corpus.errors import ConfigurationError, DependencyError
from workers.config import settings as settings_module

CHECKS = (
    *MACHINE_CHECKS,
    ADDRESSES_CHECK,
    *SERVER_CHECKS,
    SESSION_CHECK,
    *DATABASE_CHECKS,
    *SERVICE_CHECKS,
)
ALL_CHECKS = {check.name: check for check in CHECKS}
ADDRESSES = {
    "database_url": "postgresql://freshet@127.0.0.1:1/freshet",
    "kafka_bootstrap": "127.0.0.1:1",
    "temporal_address": "127.0.0.1:1",
}


def result_of(name: str, home: Path) -> CheckResult:
    return make_check(ALL_CHECKS[name], home)


def failure_of(name: str, home: Path) -> str:
    """What a check observes, which must have failed with its remedy."""
    result = result_of(name, home)
    assert not result.ok, result.observed
    assert result.remedy == ALL_CHECKS[name].remedy
    return result.observed


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_arguments: object, **_options: object) -> Any:
        raise error

    return fail


@pytest.fixture
def stack_home(tmp_path: Path) -> Path:
    """A state directory whose stack.json has addresses at which no server answers."""
    write_stack(tmp_path, StackFile(addresses=ADDRESSES))
    return tmp_path


# ── how checks are made ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("error", "observed"),
    [
        (CheckFailedError("3.9"), "3.9"),
        (ConfigurationError("no\n  java"), "no java"),
        (DependencyError("away"), "away"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError in local/test_doctor.py"),
        (ImportError("No module", name="torch"), "ImportError: torch cannot be imported"),
    ],
)
def test_any_error_fails_its_check(tmp_path: Path, error: Exception, observed: str) -> None:
    result = make_check(Check("name", raising(error), "remedy"), tmp_path)
    assert result.observed.startswith(observed)
    assert result == CheckResult(name="name", ok=False, observed=result.observed, remedy="remedy")


def test_a_good_check_needs_no_remedy(tmp_path: Path) -> None:
    result = make_check(Check("name", str, "remedy"), tmp_path)
    assert result == CheckResult(name="name", ok=True, observed=str(tmp_path), remedy="")


def test_checks_have_different_names_and_remedies() -> None:
    assert len(ALL_CHECKS) == len(CHECKS)
    assert all(check.remedy for check in ALL_CHECKS.values())


def test_without_addresses_the_servers_are_not_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "MACHINE_CHECKS", (Check("one", str, "r"),))
    results = run_checks(tmp_path)
    assert [result.name for result in results] == ["one", "addresses"]
    assert "no local stack runs in" in results[1].observed


def test_with_addresses_every_server_is_checked(
    stack_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = (Check("kafka", raising(DependencyError("away")), "r"), Check("staging", str, "r"))
    monkeypatch.setattr(doctor, "MACHINE_CHECKS", ())
    monkeypatch.setattr(doctor, "SERVICE_CHECKS", checks)
    monkeypatch.setattr(doctor, "SERVER_CHECKS", (Check("encoding", str, "r"),))
    monkeypatch.setattr(doctor, "SESSION_CHECK", Check("settings", str, "r"))
    monkeypatch.setattr(doctor, "DATABASE_CHECKS", (Check("locks", str, "r"),))
    results = run_checks(stack_home)
    assert [(result.name, result.ok) for result in results] == [
        ("addresses", True),
        ("encryption", True),
        ("encoding", True),
        ("settings", True),
        ("replica", True),  # none is configured
        ("locks", True),
        ("kafka", False),
        ("staging", True),
    ]


# ── the machine ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_old_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert result_of("python", tmp_path).ok
    monkeypatch.setattr(sys, "version_info", (3, 10, 14))
    assert failure_of("python", tmp_path) == "3.10.14"


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "not" / "yet" / "made"
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _path: SimpleNamespace(free=10**9))
    assert failure_of("disk", home) == f"1.0 GB free at {tmp_path}"
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _path: SimpleNamespace(free=2 * 10**9))
    assert result_of("disk", home).ok


def test_a_state_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "Error" in failure_of("state directory", tmp_path / "file" / "home")
    home = tmp_path / "home"
    assert result_of("state directory", home).ok
    assert list(home.iterdir()) == []


def test_missing_postgres_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "binaries", raising(ConfigurationError("PostgreSQL is missing")))
    assert failure_of("postgres programs", tmp_path) == "PostgreSQL is missing"
    monkeypatch.setattr(doctor, "binaries", lambda: tmp_path)
    assert "cannot be run" in failure_of("postgres programs", tmp_path)


def test_missing_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "java", raising(ConfigurationError("Kafka needs Java")))
    assert failure_of("java", tmp_path) == "Kafka needs Java"


def test_missing_temporal_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "installed_binary", lambda: None)
    assert "not on PATH" in failure_of("temporal program", tmp_path)
    broken = tmp_path / "temporal"
    broken.write_text("#!/bin/sh\nexit 4\n")
    broken.chmod(0o755)
    monkeypatch.setattr(doctor, "installed_binary", lambda: broken)
    assert "exit code 4" in failure_of("temporal program", tmp_path)


def test_ports_that_other_programs_use(tmp_path: Path) -> None:
    assert result_of("ports", tmp_path).observed == "not chosen yet"
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ports.choose(tmp_path, {"kafka-controller": port})
        assert f"port {port} of kafka-controller is taken" in failure_of("ports", tmp_path)
        # Kafka's own two ports are in use while it runs.
        me = current_process()
        kafka = PartStatus(name="kafka", state=PartState.READY, pid=me.pid, started=me.started)
        write_stack(tmp_path, StackFile(parts={"kafka": kafka}))
        assert result_of("ports", tmp_path).ok


def test_damaged_state_files(tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text("{")
    assert "ports.json cannot be used" in failure_of("ports", tmp_path)
    (tmp_path / "stack.json").write_text("{")
    for name in ("ports", "parts"):
        assert "stack.json cannot be read" in failure_of(name, tmp_path)
    assert "stack.json" in failure_of("addresses", tmp_path)


def test_parts_that_do_not_work(tmp_path: Path) -> None:
    assert result_of("parts", tmp_path).observed == "no local stack runs here"
    me = current_process()
    running = PartStatus(name="kafka", state=PartState.READY, pid=me.pid, started=me.started)
    ended = PartStatus(name="temporal", state=PartState.READY, pid=me.pid, started=1.0)
    waiting = PartStatus(name="consumer", state=PartState.WAITING)
    done = PartStatus(name="migrations", state=PartState.DONE)
    parts = {status.name: status for status in (running, ended, waiting, done)}
    write_stack(tmp_path, StackFile(parts=parts))
    assert failure_of("parts", tmp_path) == "not usable: temporal, consumer"
    write_stack(tmp_path, StackFile(parts={"kafka": running, "migrations": done}))
    assert result_of("parts", tmp_path).observed == "2 usable"


def test_a_model_that_does_not_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "corpus.embed.embedder", None)
    assert "ModuleNotFoundError" in failure_of("model", tmp_path)


# ── the servers ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_addresses_are_those_of_the_given_home(stack_home: Path) -> None:
    observed = result_of("addresses", stack_home).observed
    assert (
        observed
        == f"Kafka 127.0.0.1:1, Temporal 127.0.0.1:1, staging {stack_home.as_uri()}/staging"
    )


@pytest.mark.parametrize(
    "name",
    [
        *(check.name for check in SERVER_CHECKS),
        *("settings", "iterative scans", "vector indexes", "closed chunks", "upkeep", "locks"),
    ],
)
def test_a_database_that_does_not_answer(stack_home: Path, name: str) -> None:
    assert "PostgreSQL does not answer" in failure_of(name, stack_home)


@pytest.mark.parametrize("available", [False, None])
def test_a_database_without_iterative_scans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, available: bool | None
) -> None:
    monkeypatch.setattr(service_checks, "_read_scalar", lambda *_: available)
    assert "hnsw.iterative_scan" in failure_of("iterative scans", tmp_path)


def test_the_database_is_not_looked_at_where_it_gives_no_session(
    stack_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "MACHINE_CHECKS", ())
    monkeypatch.setattr(doctor, "SERVICE_CHECKS", ())
    results = run_checks(stack_home)
    before = ["addresses", "encryption"]
    names = [*before, *(check.name for check in SERVER_CHECKS), "settings"]
    assert [result.name for result in results] == names
    assert [result.name for result in results if result.ok] == before


class NoDatabase:
    """Stands for a connection; the queries of the checks are replaced."""

    def __enter__(self) -> "NoDatabase":
        return self

    def __exit__(self, *_: object) -> None: ...


def test_sessions_that_wait_or_stand_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_checks, "_connection", lambda _: NoDatabase())
    monkeypatch.setattr(locks, "lock_waits", lambda _: [])
    monkeypatch.setattr(locks, "still_sessions", lambda _: [])
    assert result_of("locks", tmp_path).observed == "no session waits for another"
    still = locks.StillSession(pid=7, application="x", since=datetime(2026, 11, 26), sources=["s"])
    monkeypatch.setattr(locks, "still_sessions", lambda _: [still])
    assert failure_of("locks", tmp_path) == (
        "x (server process 7) stands still in a transaction since 2026-11-26 00:00:00Z "
        "and holds the publishing of s"
    )


def test_a_broker_that_does_not_answer(stack_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, str]] = []
    monkeypatch.setattr(
        service_checks, "brokers", lambda properties, timeout: asked.append(properties) or []
    )
    assert failure_of("kafka", stack_home) == "no answer from 127.0.0.1:1"
    assert asked[0]["bootstrap.servers"] == "127.0.0.1:1"


def test_a_temporal_that_does_not_answer(stack_home: Path) -> None:
    assert "Temporal does not answer at 127.0.0.1:1" in failure_of("temporal", stack_home)


def test_a_namespace_without_our_search_attributes(
    stack_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    present = set(list(SEARCH_ATTRIBUTES)[1:])

    async def search_attributes(_request: object) -> SimpleNamespace:
        return SimpleNamespace(custom_attributes=present)

    async def system_info(_request: object) -> SimpleNamespace:
        return SimpleNamespace(server_version="1.29.1")

    async def connect(_settings: object) -> SimpleNamespace:
        return SimpleNamespace(
            operator_service=SimpleNamespace(list_search_attributes=search_attributes),
            workflow_service=SimpleNamespace(get_system_info=system_info),
        )

    monkeypatch.setattr("workers.temporal.client.temporal", connect)
    missing = next(iter(SEARCH_ATTRIBUTES))
    assert failure_of("temporal", stack_home).endswith(f"lacks the search attributes {missing}")
    present.add(missing)
    assert result_of("temporal", stack_home).observed == "1.29.1, namespace freshet"


def test_a_staging_store_that_cannot_be_written(
    stack_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert result_of("staging", stack_home).ok
    (stack_home / "file").write_text("")
    monkeypatch.setenv("FRESHET_STAGING_URL", (stack_home / "file" / "store").as_uri())
    assert failure_of("staging", stack_home)
    assert settings_module.load(stack_home).staging_url.endswith("/file/store")
