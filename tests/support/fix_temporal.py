"""Temporal for tests: the same dev server as the local stack's; each test has a namespace of its own."""

import itertools
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from compose.local.machine.ports import free_port
from compose.local.parts.temporal import Temporal
from compose.local.parts.temporal_namespace import create_namespace
from compose.local.run import running

if TYPE_CHECKING:
    from temporalio.client import Client

_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class TemporalEnv:
    """A dev server."""

    address: str

    async def namespace(self) -> str:
        """Make a namespace with Freshet's search attributes; return its name once it serves."""
        name = f"test-{next(_NUMBERS)}"
        await create_namespace(self.address, name)
        return name

    async def client(self, namespace: str | None = None, **options: Any) -> "Client":
        """Connect; in a new namespace unless one is named. `options` are those of Client.connect."""
        from temporalio.client import Client

        from workers.temporal.client import plain_converter

        options.setdefault("data_converter", plain_converter())
        return await Client.connect(
            self.address, namespace=namespace or await self.namespace(), **options
        )


@pytest.fixture(scope="session")
def temporal_env(service_home: Path) -> Iterator[TemporalEnv]:
    """A server with the local stack's settings."""
    yield from _serve(service_home / "temporal-1", ())


@pytest.fixture(scope="session")
def temporal_short_history(service_home: Path) -> Iterator[TemporalEnv]:
    """A server that suggests continue-as-new after 50 events."""
    yield from _serve(service_home / "temporal-2", ("limit.historyCount.suggestContinueAsNew=50",))


def _serve(home: Path, dynamic: tuple[str, ...]) -> Iterator[TemporalEnv]:
    home.mkdir()
    server = Temporal(home=home, port=free_port(), ui_port=0, headless=True, dynamic=dynamic)
    with running(server):
        yield TemporalEnv(server.address)


@pytest.fixture
def temporal_namespace(temporal_env: TemporalEnv) -> Callable[[], Awaitable[str]]:
    """`await temporal_namespace()`: a fresh namespace on `temporal_env`."""
    return temporal_env.namespace


@pytest.fixture
async def temporal_client(temporal_env: TemporalEnv) -> "Client":
    """A client in a fresh namespace."""
    return await temporal_env.client()
