"""Connecting to Temporal: a wrong address is the operator's mistake, a server that is away is not."""

from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from corpus.errors import ConfigurationError, DependencyError
from workers.config.settings import Settings, load
from workers.temporal import client as connecting
from workers.temporal.client import temporal


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    for name in ("TEMPORAL_PROFILE", "TEMPORAL_CONFIG_FILE", "TEMPORAL_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("FRESHET_DATABASE_URL", "host=unused")
    monkeypatch.setenv("FRESHET_KAFKA_BOOTSTRAP", "unused:9092")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    return load(tmp_path)


async def test_a_server_that_is_away_is_named(settings: Settings) -> None:
    with pytest.raises(DependencyError, match=r"Temporal does not answer at 127\.0\.0\.1:1"):
        await temporal(settings)


@pytest.mark.parametrize("address", ["a b", "host=nowhere", "[::1", ":", "a:b:c", "ü ü"])
async def test_an_address_that_is_not_one_is_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", address)
    with pytest.raises((ConfigurationError, DependencyError)) as caught:
        await temporal(settings)
    assert address in str(caught.value)


async def test_the_arguments_are_those_of_settings_and_profile(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    async def connect(**arguments: Any) -> str:
        seen.update(arguments)
        return "client"

    monkeypatch.setattr(Client, "connect", connect)
    monkeypatch.setenv("TEMPORAL_API_KEY", "k")
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "of-the-profile")
    assert await temporal(settings) == "client"
    assert seen["target_host"] == "127.0.0.1:1"
    assert seen["api_key"] == "k"
    assert seen["namespace"] == settings.temporal_namespace == "freshet"
    await temporal(settings, namespace="other")
    assert seen["namespace"] == "other"


async def test_the_local_stack_is_the_default(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    async def connect(**arguments: Any) -> None:
        seen.update(arguments)

    monkeypatch.setattr(Client, "connect", connect)
    monkeypatch.delenv("TEMPORAL_ADDRESS")
    assert connecting.temporal_profile() is None
    await temporal(settings)
    assert seen["target_host"] == settings.temporal_address
    assert set(seen) == {"target_host", "namespace", "data_converter", "interceptors"}
    assert seen["interceptors"] == ()
