"""Fixtures: every part of Freshet on real servers, in the process of the test (`tests.support.fleet`)."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from temporalio.client import Client

    from tests.support.fix_temporal import TemporalEnv
    from tests.support.fleet import Fleet


@pytest.fixture
async def live(
    temporal_client: "Client", database_url: str, kafka_bootstrap: str, tmp_path: Path
) -> AsyncIterator["Fleet"]:
    """A fleet."""
    from tests.support.fleet import fleet

    async with fleet(temporal_client, database_url, kafka_bootstrap, tmp_path) as running:
        yield running


@pytest.fixture
def commands_find_it(
    temporal_env: "TemporalEnv",
    temporal_client: "Client",
    database_url: str,
    kafka_bootstrap: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Commands find the servers of the fleet."""
    monkeypatch.setenv("FRESHET_DATABASE_URL", database_url)
    monkeypatch.setenv("FRESHET_KAFKA_BOOTSTRAP", kafka_bootstrap)
    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal_env.address)
    monkeypatch.setenv("TEMPORAL_NAMESPACE", temporal_client.namespace)


@pytest.fixture
def short_standstill(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source stands still after seconds instead of a minute."""
    from ingest import condition

    monkeypatch.setattr(condition, "STANDSTILL_SECONDS", 2.0)


@pytest.fixture
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The consumer compares what it handed over several times per second."""
    from ingest.consume import consumer

    monkeypatch.setattr(consumer, "LOOK_SECONDS", 0.3)
