"""Which parts the stack has, by what the environment gives; existing servers are checked and no secret is shown."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from compose.local import existing, stack
from compose.local.existing import address_of, existing_kafka, existing_postgres, existing_temporal
from compose.local.machine.ports import PORTS
from compose.local.parts.kafka import Kafka
from compose.local.parts.part import ExistingServer
from compose.local.parts.postgres import Postgres
from compose.local.parts.temporal import Temporal
from compose.local.stack import addresses, make_url, stack_parts
from corpus.errors import ConfigurationError, DependencyError
from corpus.text_search import SearchTexts

CHOSEN = {name: 21_000 + number for number, name in enumerate(PORTS)}


def test_without_settings_every_service_is_ours(tmp_path: Path) -> None:
    parts = stack_parts(tmp_path, CHOSEN)
    assert isinstance(parts["postgres"], Postgres)
    assert isinstance(parts["kafka"], Kafka)
    assert isinstance(parts["temporal"], Temporal)
    assert parts["consumer"].after == ("migrations", "temporal", "kafka")
    assert parts["embedder"].after == ("migrations", "temporal")
    found = addresses(tmp_path, CHOSEN)
    assert found["kafka_bootstrap"] == "127.0.0.1:21001"
    assert found["temporal_address"] == "127.0.0.1:21003"
    assert found["temporal_ui"] == "http://127.0.0.1:21004"
    assert found["staging_url"] == (tmp_path / "staging").as_uri()
    password = (tmp_path / "postgres" / "password").read_text()
    assert found["database_url"] == f"postgresql://freshet:{password}@127.0.0.1:21000/freshet"


def test_the_password_is_made_once_and_private(tmp_path: Path) -> None:
    first = addresses(tmp_path, CHOSEN)["database_url"]
    assert addresses(tmp_path, CHOSEN)["database_url"] == first
    assert (tmp_path / "postgres" / "password").stat().st_mode & 0o077 == 0
    other = addresses(tmp_path / "other", CHOSEN)["database_url"]
    assert other != first


def test_given_addresses_make_existing_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "postgresql://ada:hunter2@db.example:6000/corpus"
    monkeypatch.setenv("FRESHET_DATABASE_URL", url)
    monkeypatch.setenv("FRESHET_KAFKA_BOOTSTRAP", "broker:9092")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "temporal.example:7233")
    monkeypatch.setenv("FRESHET_STAGING_URL", "s3://bucket/prefix")
    parts = stack_parts(tmp_path, CHOSEN)
    for name in ("postgres", "kafka", "temporal"):
        assert isinstance(parts[name], ExistingServer)
        assert "hunter2" not in parts[name].address
    assert addresses(tmp_path, CHOSEN) == {
        "database_url": url,
        "kafka_bootstrap": "broker:9092",
        "temporal_address": "temporal.example:7233",
        "temporal_ui": "",
        "staging_url": "s3://bucket/prefix",
    }
    assert not (tmp_path / "postgres").exists()


def test_libpq_variables_that_lead_nowhere_give_an_empty_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGHOST", "127.0.0.1")
    monkeypatch.setenv("PGPORT", "1")
    assert stack_parts(tmp_path, CHOSEN)["postgres"].address == "127.0.0.1"
    assert addresses(tmp_path, CHOSEN)["database_url"] == ""


def test_migrations_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task: Any = stack_parts(tmp_path, CHOSEN)["migrations"]
    rebuilt = "corpus.text_search.rebuild_search_texts"
    monkeypatch.setattr(rebuilt, lambda _url: SearchTexts(rebuilt=0, warning=""))
    built: list[str] = []
    monkeypatch.setattr("corpus.embed.space_indexes.build_missing", built.append)
    logins: list[tuple[Any, ...]] = []
    monkeypatch.setattr("workers.migrations.make_logins", lambda *urls: logins.append(urls))
    monkeypatch.setattr("corpus.database.migrate", lambda _url: ["0001", "0002"])
    assert task.run() == "2 applied"
    monkeypatch.setattr("corpus.database.migrate", lambda _url: [])
    assert task.run() == "up to date"
    monkeypatch.setattr(rebuilt, lambda _url: SearchTexts(rebuilt=7, warning="the type is C"))
    assert task.run() == "up to date, search texts rebuilt: 7; the type is C"
    assert len(built) == 3
    url, *made = logins[0]
    users = [conninfo_to_dict(one)["user"] for one in (url, *(secret.reveal() for secret in made))]
    assert users == ["freshet", "freshet_writer_login", "freshet_gateway_login"]


@pytest.mark.parametrize("password", ["", "simple", "with space", "qu'ote", "back\\slash", "ü@:/"])
def test_a_connection_string_survives_any_password(password: str) -> None:
    values = conninfo_to_dict(make_url("h", 6000, "corpus", "ada", password))
    assert values.get("password", "") == password
    assert (values["host"], values["port"], values["dbname"], values["user"]) == (
        "h",
        "6000",
        "corpus",
        "ada",
    )


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("postgresql://ada:hunter2@db:6000/corpus", "db:6000/corpus"),
        ("host=db password=hunter2 dbname=corpus", "db:5432/corpus"),
        ("postgresql:///", "localhost:5432/"),
        ("", "libpq's defaults"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, address: str) -> None:
    assert address_of(url) == address


@pytest.mark.parametrize(
    "url", ["hunter2", "postgresql//x:hunter2@db", "host='hunter2", "a=hunter2"]
)
def test_a_malformed_address_is_refused_without_its_value(url: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a connection string") as caught:
        address_of(url)
    assert "hunter2" not in str(caught.value)


def test_the_address_of_a_service_file_is_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSERVICE", "corpus-production")
    assert address_of("") == "corpus-production"


# ── checks of existing servers ──────────────────────────────────────────────────────────────────────────────────────


def test_a_database_that_is_away(tmp_path: Path) -> None:
    server = existing_postgres(tmp_path, "postgresql://ada:hunter2@127.0.0.1:1/corpus")
    with pytest.raises(DependencyError, match="PostgreSQL does not answer") as caught:
        server.verify()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "version"), [(["a:1"], "1 broker"), (["a:1", "b:1", "c:1"], "3 brokers")]
)
def test_a_cluster_that_answers_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], version: str
) -> None:
    properties = tmp_path / "kafka.properties"
    properties.write_text("security.protocol=SSL\nbootstrap.servers=ignored:1\n")
    monkeypatch.setenv("FRESHET_KAFKA_PROPERTIES", str(properties))
    used: list[dict[str, str]] = []
    monkeypatch.setattr(existing, "brokers", lambda values, timeout: used.append(values) or names)
    server = existing_kafka(tmp_path, "broker:9092")
    server.verify()
    assert server.version == version
    assert used == [{"security.protocol": "SSL", "bootstrap.servers": "broker:9092"}]


def test_a_cluster_that_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(existing, "brokers", lambda _properties, timeout: [])
    with pytest.raises(DependencyError, match=r"Kafka does not answer at broker:9092; .*SASL"):
        existing_kafka(tmp_path, "broker:9092").verify()


def test_a_temporal_that_is_away(tmp_path: Path) -> None:
    server = existing_temporal(tmp_path, {"target_host": "127.0.0.1:1"}, "freshet")
    with pytest.raises(DependencyError, match=r"Temporal at 127.0.0.1:1 cannot be used"):
        server.verify()


def test_a_temporal_that_answers_is_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: list[str] = []

    async def connect(**arguments: object) -> SimpleNamespace:
        assert arguments == {"target_host": "t:7233", "namespace": "mine", "tls": True}
        await asyncio.sleep(0)
        return SimpleNamespace(workflow_service=SimpleNamespace(get_system_info=system_info))

    async def system_info(_request: object) -> SimpleNamespace:
        return SimpleNamespace(server_version="1.31")

    async def prepare(_client: object, namespace: str) -> bool:
        prepared.append(namespace)
        return True

    monkeypatch.setattr("temporalio.client.Client.connect", connect)
    monkeypatch.setattr(existing, "prepare_namespace", prepare)
    server = existing_temporal(tmp_path, {"target_host": "t:7233", "tls": True}, "mine")
    server.verify()
    assert (server.version, prepared) == ("1.31", ["mine"])


def test_an_unknown_profile_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "temporal.toml"
    empty.write_text("")
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(empty))
    monkeypatch.setenv("TEMPORAL_PROFILE", "no-such-profile")
    with pytest.raises(ConfigurationError, match="profile"):
        stack.stack_parts(tmp_path, CHOSEN)
