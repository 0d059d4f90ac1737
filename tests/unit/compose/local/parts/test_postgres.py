"""PostgreSQL: a data directory is complete or absent, a stale lock is removed, a running server's is not."""

import os
import subprocess
from pathlib import Path

import pytest

from compose.local.machine.process import inherited
from compose.local.parts import postgres as module
from compose.local.parts import postgres_programs as programs
from compose.local.parts.postgres import Postgres
from compose.local.parts.postgres_programs import RunAs, Runner, reachable
from corpus.errors import ConfigurationError, DependencyError


@pytest.fixture
def postgres(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Postgres:
    """A server whose programs are names only."""
    monkeypatch.setattr(module, "binaries", lambda: Path("/opt/pg"))
    monkeypatch.setattr(module, "runner", lambda: Runner(RunAs.SELF))
    monkeypatch.setattr(module, "require_free", lambda _name, _port: None)
    return Postgres(home=tmp_path, port=21_000)


def make_data(postgres: Postgres) -> None:
    postgres.data.mkdir(parents=True)
    (postgres.data / "PG_VERSION").write_text("18\n")


def test_a_data_directory_appears_when_it_is_complete(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    passwords: list[str] = []

    def initdb(command: list[str], **_options: object) -> str:
        folder = Path(command[command.index("-D") + 1])
        assert folder != postgres.data
        option = next(word for word in command if word.startswith("--pwfile="))
        password_file = Path(option.partition("=")[2])
        assert password_file.stat().st_mode & 0o077 == 0
        passwords.append(password_file.read_text(encoding="utf-8").strip())
        folder.mkdir()
        (folder / "PG_VERSION").write_text("18\n")
        (folder / "postgresql.conf").write_text("# initdb's\n")
        return ""

    monkeypatch.setattr(module, "run_tool", initdb)
    postgres.prepare()
    postgres.prepare()
    assert passwords == [postgres.password]
    assert (postgres.data / "postgresql.conf").read_text().endswith("include 'freshet.conf'\n")
    assert sorted(path.name for path in postgres.folder.iterdir()) == ["data", "password"]


def test_an_initdb_that_fails_leaves_no_data_and_no_password_file(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(command: list[str], **_options: object) -> str:
        folder = Path(command[command.index("-D") + 1])
        folder.mkdir()
        (folder / "PG_VERSION").write_text("18\n")
        raise DependencyError("killed")

    monkeypatch.setattr(module, "run_tool", fail)
    with pytest.raises(DependencyError):
        postgres.prepare()
    assert not postgres.data.exists()
    assert not list(postgres.folder.glob("*.init"))


@pytest.mark.parametrize("fsync", [True, False])
def test_data_is_safe_unless_a_test_says_otherwise(postgres: Postgres, fsync: bool) -> None:
    make_data(postgres)
    postgres.fsync = fsync
    postgres.prepare()
    lines = (postgres.data / "freshet.conf").read_text().splitlines()
    settings = dict(line.split(" = ") for line in lines)
    assert settings["fsync"] == ("on" if fsync else "off")
    assert ("synchronous_commit" in settings) is not fsync
    assert settings["listen_addresses"] == "'127.0.0.1'"
    assert settings["port"] == "21000"


def test_small_shared_memory_is_not_used(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_data(postgres)
    monkeypatch.setattr(module, "_has_small_shared_memory", lambda: True)
    postgres.prepare()
    assert "dynamic_shared_memory_type = mmap" in (postgres.data / "freshet.conf").read_text()


def test_a_stale_lock_is_removed_and_one_in_use_is_not(postgres: Postgres) -> None:
    make_data(postgres)
    lock = postgres.data / "postmaster.pid"
    lock.write_text("1\n")
    with subprocess.Popen(["sleep", "600"], cwd=postgres.data) as server:
        postgres.prepare()
        assert lock.exists()
        server.kill()
    postgres.prepare()
    assert not lock.exists()


def test_a_lock_in_use_is_kept_also_where_home_is_a_link(
    tmp_path: Path, postgres: Postgres
) -> None:
    make_data(postgres)
    (tmp_path / "alias").symlink_to(tmp_path)
    aliased = Postgres(home=tmp_path / "alias", port=21_000)
    lock = postgres.data / "postmaster.pid"
    lock.write_text("1\n")
    with subprocess.Popen(["sleep", "600"], cwd=postgres.data) as server:
        aliased.prepare()
        assert lock.exists()
        server.kill()


def test_clients_do_not_use_the_variables_of_the_terminal(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGHOST", "production")
    monkeypatch.setenv("PGOPTIONS", "-c search_path=x")
    environments: list[dict[str, str]] = []
    commands: list[list[str]] = []

    def run(command: list[str], *, environment: dict[str, str], **_options: object) -> str:
        commands.append(command)
        environments.append(inherited(None) | environment)
        return ""

    monkeypatch.setattr(module, "run_tool", run)
    postgres.create_database("copy", template="freshet")
    postgres.drop_database("copy")
    for environment in environments:
        assert not {"PGHOST", "PGOPTIONS"} & environment.keys()
        assert environment["PGPASSWORD"] == postgres.password
    server = ["-h", "127.0.0.1", "-p", "21000", "-U", "freshet"]
    assert commands == [
        ["/opt/pg/createdb", *server, "--template", "freshet", "copy"],
        ["/opt/pg/dropdb", *server, "--force", "--if-exists", "copy"],
    ]


def test_a_database_that_exists_is_no_error(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = ['createdb: error: database "freshet" already exists', "createdb: error: no disk"]

    def fail(*_arguments: object, **_options: object) -> str:
        raise DependencyError(failures.pop(0))

    monkeypatch.setattr(module, "run_tool", fail)
    monkeypatch.setattr("corpus.text_search.set_character_type", lambda *_: None)
    postgres.after_ready()
    with pytest.raises(DependencyError, match="no disk"):
        postgres.after_ready()


# ── root ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    programs.runner.cache_clear()
    yield
    programs.runner.cache_clear()


@pytest.mark.usefixtures("root")
def test_root_uses_a_user_namespace_or_nobody_or_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    available = {"unshare": "/bin/true", "setpriv": "/bin/setpriv"}
    monkeypatch.setattr(programs.shutil, "which", available.get)
    assert programs.runner().user is RunAs.NAMESPACE
    programs.runner.cache_clear()
    available["unshare"] = "/bin/false"  # the system forbids user namespaces
    assert programs.runner().user is RunAs.NOBODY
    programs.runner.cache_clear()
    available.clear()
    with pytest.raises(ConfigurationError, match="refuses to run as root"):
        programs.runner()


def test_a_folder_that_nobody_cannot_reach_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "_SHARED", tmp_path / "shared")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    chosen = reachable(closed / "postgres")
    assert chosen.parent == tmp_path / "shared"
    assert chosen == reachable(closed / "postgres")
    assert chosen != reachable(closed / "other")


@pytest.mark.parametrize("kind", ["link", "open"])
def test_a_shared_folder_that_another_user_made_first_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(programs, "_SHARED", tmp_path / "shared")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    chosen = reachable(closed / "postgres")
    if kind == "open":
        chosen.chmod(0o777)
    else:
        chosen.rmdir()
        chosen.symlink_to(closed)
    with pytest.raises(ConfigurationError, match=r"link is refused|others can write"):
        reachable(closed / "postgres")


def test_programs_that_are_not_installed_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    programs.binaries.cache_clear()
    monkeypatch.setattr(programs, "find_spec", lambda _name: None)
    try:
        with pytest.raises(ConfigurationError, match="PostgreSQL 18 is not installed"):
            programs.binaries()
    finally:
        programs.binaries.cache_clear()
