"""Which parts the stack has, by what the environment gives; existing servers are checked and no secret is shown."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from compose.local import existing, stack
from compose.local.existing import address_of, existing_kafka, existing_postgres, existing_temporal
from compose.local.machine.ports import PORTS
from compose.local.machine.process import inherited
from compose.local.parts.kafka import Kafka
from compose.local.parts.part import ExistingServer, Part
from compose.local.parts.postgres import Postgres
from compose.local.parts.role import ROLES
from compose.local.parts.temporal import Temporal
from compose.local.stack import addresses, keep_secrets, make_url, stack_parts
from corpus.disclosure.secret import Secret
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
    assert found["kafka_properties"] == str(tmp_path / "kafka" / "client.properties")
    assert found["temporal_address"] == "127.0.0.1:21003"
    assert found["temporal_ui"] == "http://127.0.0.1:21004"
    assert found["staging_url"] == (tmp_path / "staging").as_uri()
    assert found["database_url"] == "user=freshet dbname=freshet host=127.0.0.1 port=21000"
    password = (tmp_path / "postgres" / "password").read_text()
    assert kept_url(tmp_path) == f"postgresql://freshet:{password}@127.0.0.1:21000/freshet"


def kept_url(home: Path) -> str:
    keep_secrets(home, CHOSEN)
    path = Path(addresses(home, CHOSEN)["database_url_file"])
    assert path.stat().st_mode & 0o077 == 0
    return path.read_text(encoding="utf-8")


def test_the_password_is_made_once_and_private(tmp_path: Path) -> None:
    first = kept_url(tmp_path)
    assert kept_url(tmp_path) == first
    assert (tmp_path / "postgres" / "password").stat().st_mode & 0o077 == 0
    assert kept_url(tmp_path / "other") != first


def test_no_address_holds_a_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = tmp_path / "postgres"
    shown = json.dumps(addresses(tmp_path, CHOSEN))
    assert not any(path.read_text() in shown for path in passwords.iterdir())
    monkeypatch.setenv("FRESHET_DATABASE_URL", "host=h password=hunter2 sslpassword=hunter3")
    monkeypatch.setenv(
        "FRESHET_WRITER_DATABASE_URL", "postgresql://w:hunter4@h/d?sslpassword=hunter5"
    )
    monkeypatch.setenv("FRESHET_GATEWAY_DATABASE_URL", "postgresql://g@h/d")
    monkeypatch.setenv("FRESHET_GATEWAY_DATABASE_PASSWORD", "hunter6")
    found = addresses(tmp_path, CHOSEN)
    assert "hunter" not in json.dumps(found)
    keep_secrets(tmp_path, CHOSEN)
    kept = Path(found["gateway_database_url_file"]).read_text(encoding="utf-8")
    assert conninfo_to_dict(kept) == {
        "user": "g",
        "password": "hunter6",
        "host": "h",
        "dbname": "d",
    }


# ── what each role gets ─────────────────────────────────────────────────────────────────────────────────────────────

SECRETS = {
    "FRESHET_DATABASE_PASSWORD": "owner",
    "FRESHET_WRITER_DATABASE_PASSWORD": "writer",
    "FRESHET_GATEWAY_DATABASE_PASSWORD": "gateway",
    "FRESHET_KAFKA_PASSWORD": "kafka",
    "PGPASSWORD": "libpq",
    "AWS_SECRET_ACCESS_KEY": "bucket",
    "HF_TOKEN": "hub",
    "GITHUB_TOKEN": "another program's",
}


def given_to(part: Part) -> dict[str, str]:
    return inherited(part.inherits) | part.environment()


def secrets_of(part: Part) -> set[str]:
    values = given_to(part).values()
    return {value for value in SECRETS.values() if value in values}


def test_each_part_gets_only_the_secrets_that_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    for name in ("DATABASE", "WRITER_DATABASE", "GATEWAY_DATABASE"):
        monkeypatch.setenv(f"FRESHET_{name}_URL", f"host={name}")
    monkeypatch.setenv("FRESHET_LOG_LEVEL", "DEBUG")
    monkeypatch.setenv("FRESHET_TEAM_KEYS", "/keys")
    parts = stack_parts(tmp_path, CHOSEN)
    assert {name: secrets_of(parts[name]) for name in ROLES} == {
        "consumer": {"writer", "kafka", "bucket"},
        "orchestrator": {"writer", "kafka"},
        "preparer": {"writer", "kafka", "bucket", "hub"},
        "embedder": {"writer", "bucket", "hub"},
        "storer": {"writer", "bucket"},
        "gateway": {"gateway", "hub"},
    }
    for name in ROLES:
        variables = given_to(parts[name])
        assert variables["FRESHET_LOG_LEVEL"] == "DEBUG"
        assert ("FRESHET_TEAM_KEYS" in variables) is (name == "gateway")
        login = "GATEWAY_DATABASE" if name == "gateway" else "WRITER_DATABASE"
        assert variables["FRESHET_DATABASE_URL"] == f"host={login}"
    for name in ("kafka", "temporal"):
        assert secrets_of(parts[name]) == set()


def test_roles_without_logins_connect_as_the_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGHOST", "h")
    monkeypatch.setenv("PGPASSWORD", "libpq")
    password = tmp_path / "password"
    password.write_text("secret", encoding="utf-8")
    monkeypatch.setenv("FRESHET_DATABASE_PASSWORD_FILE", str(password))
    for name in ("storer", "gateway"):
        variables = given_to(stack_parts(tmp_path, CHOSEN)[name])
        assert variables["PGHOST"] == "h"
        assert variables["PGPASSWORD"] == "libpq"
        assert variables["FRESHET_DATABASE_PASSWORD_FILE"] == str(password)


def test_the_stacks_own_server_has_a_login_for_each_role(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRESHET_DATABASE_PASSWORD", "of another server")
    parts = stack_parts(tmp_path, CHOSEN)
    keep_secrets(tmp_path, CHOSEN)
    for name, user in {"storer": "writer", "gateway": "gateway"}.items():
        variables = given_to(parts[name])
        assert "of another server" not in variables.values()
        url = Path(variables["FRESHET_DATABASE_URL_FILE"]).read_text(encoding="utf-8")
        assert conninfo_to_dict(url)["user"] == f"freshet_{user}_login"


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
        "database_url": "user=ada dbname=corpus host=db.example port=6000",
        "database_url_file": str(tmp_path / "secrets" / "database-url"),
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
    assert "database_url" not in addresses(tmp_path, CHOSEN)


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
    users = [conninfo_to_dict(secret.reveal())["user"] for secret in logins[0]]
    assert users == ["freshet", "freshet_writer_login", "freshet_gateway_login"]


def test_the_logins_of_another_server_are_made_where_they_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corpus.database.migrate", lambda _url: [])
    monkeypatch.setattr("corpus.embed.space_indexes.build_missing", lambda _url: [])
    texts = SearchTexts(rebuilt=0, warning="")
    monkeypatch.setattr("corpus.text_search.rebuild_search_texts", lambda _url: texts)
    made: list[list[str]] = []
    monkeypatch.setattr(
        "workers.migrations.make_logins",
        lambda *urls: made.append([url.reveal() for url in urls]),
    )
    monkeypatch.setenv("FRESHET_DATABASE_URL", "host=h user=owner")
    task: Any = stack_parts(tmp_path, CHOSEN)["migrations"]
    assert "FRESHET_WRITER_DATABASE_URL" in task.run()
    monkeypatch.setenv("FRESHET_WRITER_DATABASE_URL", "host=h user=w")
    monkeypatch.setenv("FRESHET_WRITER_DATABASE_PASSWORD", "p")
    monkeypatch.setenv("FRESHET_GATEWAY_DATABASE_URL", "host=h user=g")
    task = stack_parts(tmp_path, CHOSEN)["migrations"]
    assert task.run() == "up to date"
    assert made == [
        ["host=h user=owner", "", ""],
        ["host=h user=owner", "user=w host=h password=p", "host=h user=g"],
    ]


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
        ("postgresql:///", "libpq's defaults"),
        ("", "libpq's defaults"),
        ("password=hunter2", "libpq's defaults"),
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
    url = Secret.of("postgresql://ada:hunter2@127.0.0.1:1/corpus")
    server = existing_postgres(tmp_path, url)
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
