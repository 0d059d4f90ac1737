"""A Temporal development server with a file database, on loopback."""

import asyncio
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compose.local.machine.files import cache_home, locked, private_folder
from compose.local.machine.ports import answers, require_free
from compose.local.machine.process import ProcessId, run_tool
from compose.local.parts.part import Part
from corpus import search_attributes
from corpus.errors import DependencyError

if TYPE_CHECKING:
    from temporalio.client import Client

# Later tags have `replace` directives, which `go install` refuses.
CLI_VERSION = "v1.5.1"
_CLI_MODULE = f"github.com/temporalio/cli/cmd/temporal@{CLI_VERSION}"
_DOWNLOAD_SECONDS = 60

# Name -> type, as `add_search_attributes` and the server's own option take them.
SEARCH_ATTRIBUTES = {key.name: key.indexed_value_type.name.title() for key in search_attributes.ALL}
# SQLite's defaults cost a full fsync a write (60 signals a second; with these 880), and one history shard polls its
# queues 20 times a second, which makes every activity hop 50 ms.
_PRAGMAS = ("journal_mode=wal", "synchronous=normal")
_DYNAMIC = ("history.transferProcessorMaxPollRPS=2000", "system.enableActivityEagerExecution=true")


@dataclass(kw_only=True)
class Temporal(Part):
    """The server; one process, one SQLite file."""

    port: int
    ui_port: int
    namespaces: tuple[str, ...] = ("freshet",)
    dynamic: tuple[str, ...] = ()  # further KEY=VALUE of the dynamic configuration
    headless: bool = False
    name: str = "temporal"
    grace_seconds: float = 10.0

    def __post_init__(self) -> None:
        """Fill in the addresses."""
        self.address = f"127.0.0.1:{self.port}"

    @property
    def ui(self) -> str:
        """Address of the web UI."""
        return f"http://127.0.0.1:{self.ui_port}"

    @property
    def folder(self) -> Path:
        """Where the database is."""
        return self.home / "temporal"

    def install(self) -> None:
        """Find or fetch the program."""
        said = run_tool(
            [str(binary(self.mark)), "--version"],
            mark=self.mark,
            what="version of Temporal",
            timeout=60,
        )
        self.version = said.partition("(Server ")[2].partition(",")[0] or said.strip()

    def prepare(self) -> None:
        """Make the folder."""
        private_folder(self.folder)
        require_free("temporal", self.port)
        if not self.headless:
            require_free("temporal-ui", self.ui_port)

    def command(self) -> Sequence[str]:
        """The server."""
        command = [
            str(binary(self.mark)),
            "server",
            "start-dev",
            "--ip",
            "127.0.0.1",
            "--port",
            str(self.port),
        ]
        command += [
            "--db-filename",
            str(self.folder / "temporal.db"),
            "--log-level",
            "warn",
            "--log-format",
            "json",
        ]
        command += ["--headless"] if self.headless else ["--ui-port", str(self.ui_port)]
        command += [word for namespace in self.namespaces for word in ("--namespace", namespace)]
        command += [word for pragma in _PRAGMAS for word in ("--sqlite-pragma", pragma)]
        return command + [
            word
            for setting in (*_DYNAMIC, *self.dynamic)
            for word in ("--dynamic-config-value", setting)
        ]

    def is_ready(self, process: ProcessId) -> bool:
        """Whether the frontend serves and has our namespaces."""
        return answers(self.port) and asyncio.run(_serves(self.address, self.namespaces))

    def settle(self) -> None:
        """Register the search attributes."""
        for namespace in self.namespaces:
            asyncio.run(register_search_attributes(self.address, namespace))


def binary(mark: str = "") -> Path:
    """The `temporal` program: on PATH, where `go install` puts it, in our cache, else fetched.

    Raises:
        DependencyError: it is nowhere and cannot be fetched.
    """
    return found_binary() or _fetch(mark)


def found_binary() -> Path | None:
    """The program, if the machine has it."""
    go_bin = os.environ.get("GOBIN")
    go_path = os.environ.get("GOPATH")
    places = [
        shutil.which("temporal"),
        Path(go_bin) / "temporal" if go_bin else None,
        Path(go_path) / "bin" / "temporal" if go_path else None,
        Path.home() / "go" / "bin" / "temporal",
        _cached(),
    ]
    return next((Path(place) for place in places if place and os.access(place, os.X_OK)), None)


def _cached() -> Path:
    return cache_home() / f"temporal-cli-{CLI_VERSION}" / "temporal"


def _fetch(mark: str) -> Path:
    target = _cached()
    with locked(cache_home() / "temporal.lock"):
        if target.exists():
            return target
        new = target.parent.with_name(f"{target.parent.name}.{os.getpid()}")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        try:
            try:
                program = asyncio.run(_download(new))
            except Exception as error:  # whatever the SDK's downloader raises: then Go's way
                program = _go_install(new, mark, error)
            if program != new / "temporal":
                program.replace(new / "temporal")
            new.replace(target.parent)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return target


async def _download(folder: Path) -> Path:
    from temporalio.testing import WorkflowEnvironment

    # The SDK's bridge downloads the program on the way to starting a server; that server is ended at once.
    async with asyncio.timeout(_DOWNLOAD_SECONDS):
        environment = await WorkflowEnvironment.start_local(
            download_dest_dir=str(folder), ip="127.0.0.1"
        )
    await environment.shutdown()
    return _program_in(folder)


def _program_in(folder: Path) -> Path:
    return next(
        path
        for path in folder.iterdir()
        if path.name.startswith("temporal") and os.access(path, os.X_OK)
    )


def _go_install(folder: Path, mark: str, failure: Exception) -> Path:
    go = shutil.which("go") or (
        "/usr/local/go/bin/go" if Path("/usr/local/go/bin/go").exists() else None
    )
    if go is None:
        raise DependencyError(
            f"no `temporal` program: its download failed ({failure}) and there is no Go to build it; "
            "put `temporal` on PATH (https://docs.temporal.io/cli), or set TEMPORAL_ADDRESS to an existing server"
        ) from failure
    run_tool(
        [go, "install", _CLI_MODULE],
        mark=mark,
        what="build the Temporal server (some minutes)",
        timeout=1800,
        environment={"GOBIN": str(folder)},
    )
    return folder / "temporal"


async def _serves(address: str, namespaces: Iterable[str]) -> bool:
    from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
    from temporalio.client import Client
    from temporalio.service import RPCError

    try:
        async with asyncio.timeout(5):
            client = await Client.connect(address)
            for namespace in namespaces:
                await client.workflow_service.describe_namespace(
                    DescribeNamespaceRequest(namespace=namespace)
                )
    except (RPCError, RuntimeError, TimeoutError):
        return False
    return True


async def create_namespace(address: str, namespace: str, *, retention_days: int = 3) -> bool:
    """Make a namespace with our search attributes if it is missing, and wait until it serves; True if it was made.

    Raises:
        DependencyError: the server refuses, or does not answer within 30 s.
    """
    from google.protobuf.duration_pb2 import Duration
    from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
    from temporalio.client import Client
    from temporalio.service import RPCError, RPCStatusCode

    request = RegisterNamespaceRequest(
        namespace=namespace,
        workflow_execution_retention_period=Duration(seconds=retention_days * 86_400),
    )
    made = True
    try:
        client = await Client.connect(address)
    except RuntimeError as error:
        raise DependencyError(f"Temporal at {address} does not answer: {error}") from error
    try:
        await client.workflow_service.register_namespace(request)
    except RPCError as error:
        if error.status != RPCStatusCode.ALREADY_EXISTS:
            raise DependencyError(
                f"namespace {namespace} cannot be made at {address}: {error.message}"
            ) from error
        made = False
    await wait_for_namespace(client, namespace)
    await register_search_attributes(address, namespace)
    return made


async def wait_for_namespace(client: "Client", namespace: str) -> None:
    """The frontend refreshes its namespaces from time to time; until then calls fail with NOT_FOUND.

    Raises:
        DependencyError: it does not serve within 30 s.
    """
    from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
    from temporalio.service import RPCError, RPCStatusCode

    for _ in range(600):
        try:
            await client.workflow_service.describe_namespace(
                DescribeNamespaceRequest(namespace=namespace)
            )
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise DependencyError(
                    f"namespace {namespace} cannot be described: {error.message}"
                ) from error
            await asyncio.sleep(0.05)
        else:
            return
    raise DependencyError(
        f"namespace {namespace} was made 30 s ago and does not serve yet; run `freshet up` again"
    )


async def register_search_attributes(address: str, namespace: str) -> list[str]:
    """Register Freshet's search attributes where they are missing; return the names that were.

    Raises:
        DependencyError: the server refuses or does not answer, or has one with another type.
    """
    from temporalio.client import Client

    try:
        return await add_search_attributes(
            await Client.connect(address, namespace=namespace), namespace
        )
    except RuntimeError as error:
        raise DependencyError(f"Temporal at {address} does not answer: {error}") from error


async def add_search_attributes(client: "Client", namespace: str) -> list[str]:
    """The same over an open client (which may have TLS and an API key)."""
    from temporalio.api.enums.v1 import IndexedValueType
    from temporalio.api.operatorservice.v1 import (
        AddSearchAttributesRequest,
        ListSearchAttributesRequest,
    )
    from temporalio.service import RPCError, RPCStatusCode

    wanted = {
        name: IndexedValueType.Value(f"INDEXED_VALUE_TYPE_{kind.upper()}")
        for name, kind in SEARCH_ATTRIBUTES.items()
    }
    try:
        listed = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=namespace)
        )
        missing = {
            name: kind for name, kind in wanted.items() if name not in listed.custom_attributes
        }
        wrong = [
            name
            for name, kind in wanted.items()
            if listed.custom_attributes.get(name, kind) != kind
        ]
        if wrong:
            raise DependencyError(
                f"search attributes {', '.join(wrong)} of namespace {namespace} have another type than {SEARCH_ATTRIBUTES}; remove them there, or use another namespace"
            )
        if missing:
            await client.operator_service.add_search_attributes(
                AddSearchAttributesRequest(namespace=namespace, search_attributes=missing)
            )
    except RPCError as error:
        if error.status != RPCStatusCode.ALREADY_EXISTS:
            raise DependencyError(
                f"search attributes of namespace {namespace} cannot be registered: {error.message}"
            ) from error
        return []
    return sorted(missing)
