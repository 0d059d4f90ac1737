"""Temporal: the program is found or fetched as a whole; a namespace gets what Freshet needs."""

import json
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from temporalio.service import RPCError, RPCStatusCode

from compose.local.machine.process import current_process
from compose.local.parts import pins
from compose.local.parts import temporal as server_module
from compose.local.parts import temporal_namespace as namespace_module
from compose.local.parts import temporal_program as module
from compose.local.parts.temporal import Temporal
from compose.local.parts.temporal_namespace import (
    SEARCH_ATTRIBUTES,
    add_search_attributes,
    create_namespace,
    prepare_namespace,
    wait_for_namespace,
)
from compose.local.parts.temporal_program import installed_binary, temporal_binary
from corpus.errors import ConfigurationError, DependencyError
from workers.apply import namespaces

KEYWORD = 2  # IndexedValueType


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without the program; the folder is its home."""
    for name in ("GOBIN", "GOPATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(module.shutil, "which", lambda _name: None)
    monkeypatch.setattr(module, "_USUAL_GO", tmp_path / "no-go")
    return tmp_path


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "#!/bin/sh\necho 'temporal version 1.5.1 (Server 1.29.1, UI 2.42.1)'\n", encoding="utf-8"
    )
    path.chmod(0o755)
    return path


# ── the program ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_program_is_found_in_the_preferred_place(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert installed_binary() is None
    cached = program(
        machine / "cache" / "freshet" / f"temporal-cli-{module.CLI_VERSION}" / "temporal"
    )
    assert installed_binary() == cached
    usual = program(machine / "go" / "bin" / "temporal")
    assert installed_binary() == usual
    monkeypatch.setenv("GOPATH", str(machine / "gopath"))
    of_path = program(machine / "gopath" / "bin" / "temporal")
    assert installed_binary() == of_path
    monkeypatch.setenv("GOBIN", str(machine / "gobin"))
    assert installed_binary() == of_path  # GOBIN is set, but the program is not there
    of_bin = program(machine / "gobin" / "temporal")
    assert installed_binary() == of_bin
    of_bin.chmod(0o644)
    assert installed_binary() == of_path


def test_the_program_is_downloaded_once(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    downloads: list[Path] = []

    async def download(folder: Path) -> Path:
        downloads.append(folder)
        return program(folder / "temporal-sdk-python-1.35")

    monkeypatch.setattr(module, "_download", download)
    found = temporal_binary()
    assert found == temporal_binary()
    assert found.parent.name == f"temporal-cli-{module.CLI_VERSION}"
    assert len(downloads) == 1
    assert not downloads[0].exists()


def test_a_download_that_fails_names_what_to_do(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def download(folder: Path) -> Path:
        (folder / "temporal-half").write_text("half")
        raise RuntimeError("no route to host")

    monkeypatch.setattr(module, "_download", download)
    with pytest.raises(DependencyError, match=r"no Go.*download failed \(no route to host\)"):
        temporal_binary()
    cache = machine / "cache" / "freshet"
    assert [path.name for path in cache.iterdir()] == ["temporal.lock"]


def go_tool(source: Path, module_sum: str, commands: list[list[str]]) -> Any:
    """Go, as it answers here."""

    def run(command: list[str], *, cwd: Path, **options: Any) -> str:
        commands.append(command[1:3])
        if command[1] == "mod":
            return json.dumps({"Sum": module_sum, "Dir": str(source)})
        assert cwd == source
        assert options["environment"] == {"GOFLAGS": "-mod=readonly", "GOWORK": "off"}
        program(Path(command[command.index("-o") + 1]))
        return ""

    return run


def test_where_there_is_go_the_pinned_source_is_built(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(module, "_USUAL_GO", program(machine / "usual" / "go"))
    monkeypatch.setattr(module, "run_tool", go_tool(machine, pins.TEMPORAL_SUM, commands))
    assert temporal_binary().exists()
    assert commands == [["mod", "download"], ["build", "-o"]]


def test_another_source_is_not_built(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(module, "_USUAL_GO", program(machine / "usual" / "go"))
    monkeypatch.setattr(module, "run_tool", go_tool(machine, "h1:another=", commands))
    with pytest.raises(DependencyError, match="h1:another="):
        temporal_binary()
    assert commands == [["mod", "download"]]
    assert installed_binary() is None


def test_a_download_without_a_program_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "temporal.md").write_text("")
    with pytest.raises(DependencyError, match="left no `temporal` program"):
        module._program_in(tmp_path)


# ── the server ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Temporal:
    binary = program(tmp_path / "temporal-program")
    monkeypatch.setattr(server_module, "temporal_binary", lambda _mark: binary)
    return Temporal(home=tmp_path, port=21_000, ui_port=21_001, namespaces=("a", "b"))


def test_the_command_names_every_namespace_and_listens_on_loopback(server: Temporal) -> None:
    command = list(server.command())
    assert command[1:7] == ["server", "start-dev", "--ip", "127.0.0.1", "--port", "21000"]
    pairs = list(pairwise(command))
    namespaces = [value for option, value in pairs if option == "--namespace"]
    assert namespaces == ["a", "b"]
    assert ("--ui-port", "21001") in pairs
    server.headless = True
    assert "--headless" in server.command()
    assert "--ui-port" not in server.command()


def test_the_version_is_that_of_the_server(server: Temporal) -> None:
    server.install()
    assert server.version == "1.29.1"


def test_only_a_server_with_a_web_ui_needs_its_port(
    server: Temporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = {"temporal-ui"}

    def require_free(name: str, _port: int) -> None:
        if name in taken:
            raise ConfigurationError(name)

    monkeypatch.setattr(server_module, "require_free", require_free)
    with pytest.raises(ConfigurationError):
        server.prepare()
    server.headless = True
    server.prepare()
    assert server.folder.is_dir()


def test_a_server_that_does_not_listen_is_not_ready(tmp_path: Path) -> None:
    assert not Temporal(home=tmp_path, port=1, ui_port=2).is_ready(current_process())


async def test_an_address_at_which_nothing_answers_is_named() -> None:
    with pytest.raises(DependencyError, match=r"Temporal at 127.0.0.1:1 does not answer"):
        await create_namespace("127.0.0.1:1", "x")
    assert await server_module._serves("127.0.0.1:1", ["x"]) is False


# ── the namespace ───────────────────────────────────────────────────────────────────────────────────────────────────


class FakeServer:
    """Answers like a server: the namespace appears after some questions, search attributes may be there."""

    def __init__(self, *, hidden: int = 0, present: dict[str, int] | None = None) -> None:
        self.hidden = hidden
        self.present = dict(present or {})
        self.added: list[str] = []
        self.denial: RPCError | None = None  # of questions
        self.refusal: RPCError | None = None  # of changes
        self.client: Any = SimpleNamespace(workflow_service=self, operator_service=self)

    async def list_search_attributes(self, _request: object) -> SimpleNamespace:
        if self.denial is not None:
            raise self.denial
        if self.hidden > 0:
            self.hidden -= 1
            raise refusal(RPCStatusCode.NOT_FOUND)
        return SimpleNamespace(custom_attributes=self.present)

    async def add_search_attributes(self, request: Any) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.added += sorted(request.search_attributes)


def refusal(status: RPCStatusCode) -> RPCError:
    return RPCError("refused", status, b"")


async def test_a_namespace_that_another_process_registered_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def ensure(_client: object, _namespace: str) -> bool:
        return False

    monkeypatch.setattr(namespaces, "ensure_namespace", ensure)
    monkeypatch.setattr(namespace_module, "_POLL_SECONDS", 0.001)
    server = FakeServer(hidden=3)
    assert await prepare_namespace(server.client, "x") is False
    assert server.hidden == 0
    assert server.added == sorted(SEARCH_ATTRIBUTES)


async def test_a_namespace_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespace_module, "_POLL_SECONDS", 0.001)
    monkeypatch.setattr(namespace_module, "_SERVE_SECONDS", 0.01)
    await wait_for_namespace(FakeServer(hidden=5).client, "x")
    with pytest.raises(DependencyError, match=r"namespace x was made .* is not served yet"):
        await wait_for_namespace(FakeServer(hidden=50).client, "x")
    denied = FakeServer()
    denied.denial = refusal(RPCStatusCode.PERMISSION_DENIED)
    with pytest.raises(DependencyError, match="namespace x cannot be used: refused"):
        await wait_for_namespace(denied.client, "x")


@pytest.mark.parametrize("count", range(len(SEARCH_ATTRIBUTES) + 1))
async def test_only_missing_search_attributes_are_registered(count: int) -> None:
    present = dict.fromkeys(list(SEARCH_ATTRIBUTES)[:count], KEYWORD)
    server = FakeServer(present=present | {"TeamsOwn": KEYWORD})
    missing = sorted(set(SEARCH_ATTRIBUTES) - set(present))
    assert await add_search_attributes(server.client, "x") == missing
    assert server.added == missing


async def test_a_search_attribute_of_another_type_is_refused() -> None:
    name = next(iter(SEARCH_ATTRIBUTES))
    server = FakeServer(present={name: KEYWORD + 1})
    with pytest.raises(
        DependencyError, match=f"search attributes {name} of namespace x have another"
    ):
        await add_search_attributes(server.client, "x")
    assert server.added == []


async def test_search_attributes_that_another_process_registers_meanwhile_are_no_error() -> None:
    server = FakeServer()
    server.refusal = refusal(RPCStatusCode.ALREADY_EXISTS)
    assert await add_search_attributes(server.client, "x") == []
    server.refusal = refusal(RPCStatusCode.PERMISSION_DENIED)
    with pytest.raises(DependencyError, match="cannot be registered: refused"):
        await add_search_attributes(server.client, "x")
