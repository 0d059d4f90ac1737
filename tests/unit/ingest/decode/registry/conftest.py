"""A schema registry that this process reads from."""

from collections.abc import Generator

import pytest

from ingest.decode.registry.schemas import RegistryAccess, use_registry
from tests.support.registry import RegistryServer, registry_server


@pytest.fixture
def server() -> Generator[RegistryServer]:
    """A registry that this process reads schemas from."""
    with registry_server() as running:
        use_registry(RegistryAccess(url=running.url))
        yield running
        use_registry(None)
