"""A Temporal development server on loopback, with a file database."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from compose.local.machine.files import make_private_folder
from compose.local.machine.ports import accepts_connections, require_free
from compose.local.machine.process import ProcessId, run_tool
from compose.local.parts.part import Part
from compose.local.parts.temporal_namespace import is_served, register_search_attributes
from compose.local.parts.temporal_program import temporal_binary
from corpus.errors import DependencyError

# With SQLite's defaults every write costs a full fsync: 60 signals per second, with these settings 880. With the
# server's default an idle history shard polls its queues 20 times per second, which adds 50 ms to every activity.
_PRAGMAS = ("journal_mode=wal", "synchronous=normal")
_DYNAMIC = (
    "history.transferProcessorMaxPollRPS=2000",
    "system.enableActivityEagerExecution=true",
)
_CHECK_SECONDS = 5


@dataclass(kw_only=True)
class Temporal(Part):
    """The server: one process, one SQLite file.

    Attributes:
        port: port of the frontend.
        ui_port: port of the web UI.
        namespaces: namespaces that the server makes when it starts.
        dynamic: further KEY=VALUE of the dynamic configuration.
        headless: whether there is no web UI.
    """

    port: int
    ui_port: int
    namespaces: tuple[str, ...] = ("freshet",)
    dynamic: tuple[str, ...] = ()
    headless: bool = False
    name: str = "temporal"
    grace_seconds: float = 10.0

    def __post_init__(self) -> None:
        """Set the address."""
        self.address = f"127.0.0.1:{self.port}"

    @property
    def ui(self) -> str:
        """Address of the web UI."""
        return f"http://127.0.0.1:{self.ui_port}"

    @property
    def folder(self) -> Path:
        """The folder of the database."""
        return self.home / "temporal"

    def install(self) -> None:
        """Find or fetch the program."""
        output = run_tool(
            [str(temporal_binary(self.mark)), "--version"],
            mark=self.mark,
            purpose="version of Temporal",
            timeout=60,
        )
        self.version = (
            output.partition("(Server ")[2].partition(",")[0] or output.strip()
        )

    def prepare(self) -> None:
        """Make the folder."""
        make_private_folder(self.folder)
        require_free("temporal", self.port)
        if not self.headless:
            require_free("temporal-ui", self.ui_port)

    def command(self) -> Sequence[str]:
        """Return the command of the server."""
        command = [str(temporal_binary(self.mark)), "server", "start-dev"]
        command += ["--ip", "127.0.0.1", "--port", str(self.port)]
        command += ["--headless"] if self.headless else ["--ui-port", str(self.ui_port)]
        command += ["--db-filename", str(self.folder / "temporal.db")]
        command += ["--log-level", "warn", "--log-format", "json"]
        command += _repeat("--namespace", self.namespaces)
        command += _repeat("--sqlite-pragma", _PRAGMAS)
        command += _repeat("--dynamic-config-value", (*_DYNAMIC, *self.dynamic))
        return command

    def is_ready(self, process: ProcessId) -> bool:
        """Return whether the frontend serves the namespaces."""
        if not accepts_connections(self.port):
            return False
        return asyncio.run(_serves(self.address, self.namespaces))

    def after_ready(self) -> None:
        """Register the search attributes."""
        for namespace in self.namespaces:
            asyncio.run(register_search_attributes(self.address, namespace))


def _repeat(option: str, values: Iterable[str]) -> list[str]:
    """The option once before each value."""
    return [word for value in values for word in (option, value)]


async def _serves(address: str, namespaces: Iterable[str]) -> bool:
    from temporalio.client import Client

    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            client = await Client.connect(address)
            for namespace in namespaces:
                if not await is_served(client, namespace):
                    return False
    except (DependencyError, RuntimeError, TimeoutError):
        return False
    return True
