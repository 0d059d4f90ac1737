"""A stack on servers that somebody else runs: PostgreSQL by PG*, Kafka behind SASL_SSL, Temporal by a profile.

Everything goes through the commands that a user types. `up` starts the worker roles only, `down` ends only those.
"""

import asyncio
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from compose.local.parts.postgres import Postgres
from corpus.database import connect
from corpus.embed.space_indexes import space_indexes
from tests.bench.stack import ROOT
from tests.support.fix_temporal import TemporalEnv
from tests.support.guarded_kafka import SECRET, GuardedBroker
from tests.support.polling import wait_until
from workers.roles.table import ROLES


@dataclass(frozen=True)
class User:
    """Types commands in one environment."""

    environment: dict[str, str]

    def types(self, *words: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command; its exit code must be the one expected."""
        command = [sys.executable, "-m", "workers", *words]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == expect, (words, done.returncode, done.stderr[-3000:])
        return done


EXAMPLE = ROOT / "examples" / "peps"
NAMESPACE = "existing"


@pytest.fixture
def logins(postgres_server: Postgres) -> Iterator[tuple[str, str]]:
    """Names of logins for the roles, which `up` makes."""
    name = f"stack_{secrets.token_hex(4)}"
    yield f"{name}_writer", f"{name}_gateway"
    with psycopg.connect(postgres_server.url_of("postgres"), autocommit=True) as admin:
        for login in (f"{name}_writer", f"{name}_gateway"):
            admin.execute(f"DROP ROLE IF EXISTS {login}".encode())


@pytest.fixture
def user(
    tmp_path: Path,
    guarded_kafka: GuardedBroker,
    empty_database_url: str,
    temporal_env: TemporalEnv,
    logins: tuple[str, str],
) -> User:
    """Somebody whose environment names the three servers, and nothing else of Freshet's."""
    profile = tmp_path / "temporal.toml"
    profile.write_text(
        f'[profile.data-platform]\naddress = "{temporal_env.address}"\nnamespace = "{NAMESPACE}"\n',
        encoding="utf-8",
    )
    own = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "TEMPORAL_", "FRESHET_"))
    }
    parts = conninfo_to_dict(empty_database_url)
    password = tmp_path / "writer-password"
    password.write_text("of the writer", encoding="utf-8")
    database = {name: str(parts[name]) for name in ("host", "port", "dbname")}
    servers = {
        "HF_HUB_OFFLINE": "1",
        "FRESHET_WRITER_DATABASE_URL": make_conninfo(user=logins[0], **database),
        "FRESHET_WRITER_DATABASE_PASSWORD_FILE": str(password),
        "FRESHET_GATEWAY_DATABASE_URL": make_conninfo(
            user=logins[1], password="of the gateway", **database
        ),
        "FRESHET_HOME": str(tmp_path / "home"),
        "PGHOST": str(parts["host"]),
        "PGPORT": str(parts["port"]),
        "PGUSER": str(parts["user"]),
        "PGDATABASE": str(parts["dbname"]),
        "PGPASSWORD": str(parts.get("password") or ""),
        "FRESHET_KAFKA_BOOTSTRAP": guarded_kafka.bootstrap,
        "FRESHET_KAFKA_PROPERTIES": str(guarded_kafka.properties),
        "TEMPORAL_CONFIG_FILE": str(profile),
        "TEMPORAL_PROFILE": "data-platform",
    }
    return User(own | servers)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_everything_runs_on_existing_servers(
    tmp_path: Path,
    user: User,
    temporal_env: TemporalEnv,
    logins: tuple[str, str],
    empty_database_url: str,
) -> None:
    user.types("up", "--detach")
    try:
        _only_the_roles_were_started(tmp_path / "home")
        _no_process_has_more_than_it_needs(empty_database_url, logins)
        config = tmp_path / "freshet.toml"
        text = (EXAMPLE / "freshet.toml").read_text(encoding="utf-8")
        config.write_text(text.split("# A team")[0], encoding="utf-8")
        _what_is_planned_is_done(user, str(config))
        events = str(EXAMPLE / "peps.base.jsonl.zst")
        user.types("produce", "--topic", "peps", events, "--limit", "3")
        drained = json.loads(user.types("drain", "--timeout", "120", "--json").stdout)
        assert drained["drained"] is True
        hits = json.loads(user.types("search", "Python", "--json").stdout)
        assert hits
        assert hits[0]["topic"] == "peps"
        _the_storer_builds_the_index(empty_database_url)
        checks = json.loads(user.types("doctor", "--json").stdout)
        found = {check["check"]: check["found"] for check in checks}
        assert found["logins"].startswith("no process has more rights than it needs")
        assert found["models"].startswith("all-MiniLM-L6-v2 ")
        client = asyncio.run(temporal_env.client(NAMESPACE))
        described = asyncio.run(client.get_workflow_handle("source:peps").describe())
        assert described.namespace == NAMESPACE
        log = (tmp_path / "home" / "logs" / "consumer.log").read_text(encoding="utf-8")
        assert SECRET not in log
    finally:
        user.types("down")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_wrong_password_is_one_clear_error(user: User, guarded_kafka: GuardedBroker) -> None:
    wrong = str(_with_password(guarded_kafka.properties, "wrong"))
    refused = User({**user.environment, "FRESHET_KAFKA_PROPERTIES": wrong})
    try:
        error = refused.types("up", "--detach", "--only", "kafka", expect=3).stderr
    finally:
        user.types("down")
    assert "Kafka does not answer at" in error
    assert "SASL" in error
    assert "wrong" not in error


def _only_the_roles_were_started(home: Path) -> None:
    stack = json.loads((home / "stack.json").read_text(encoding="utf-8"))
    states = {name: part["state"] for name, part in stack["parts"].items()}
    assert {states.pop(name) for name in ("postgres", "kafka", "temporal")} == {"external"}
    assert states.pop("migrations") == "done"
    assert set(states.values()) == {"ready"}


def _no_process_has_more_than_it_needs(url: str, logins: tuple[str, str]) -> None:
    """Every session of a role, as PostgreSQL lists them, is one of its login, which is neither owner nor superuser."""
    writer, gateway = logins
    statement = """
        SELECT split_part(split_part(a.application_name, '@', 1), '-', 2) AS role, u.rolname AS login,
               u.rolsuper OR u.rolcreaterole OR u.rolcreatedb OR u.rolreplication OR u.rolbypassrls
               OR pg_has_role(u.oid, c.relowner, 'MEMBER') AS has_more
        FROM pg_stat_activity a JOIN pg_roles u ON u.oid = a.usesysid
        JOIN pg_class c ON c.oid = 'freshet.chunk'::regclass
        WHERE a.datname = current_database() AND a.application_name LIKE 'freshet-%'
    """
    with psycopg.connect(url) as connection:
        rows = connection.execute(statement).fetchall()
    roles = {role: (login, has_more) for role, login, has_more in rows if role in ROLES}
    own = {role: gateway if role == "gateway" else writer for role in ROLES}
    assert roles == {role: (login, False) for role, login in own.items()}


def _the_storer_builds_the_index(url: str) -> None:
    """Its login owns no table; the corpus is small, so the database builds the index of the new space for it."""
    with connect(url) as connection:
        wait_until(
            lambda: [index.state for index in space_indexes(connection)] == ["built"],
            30,
            "the index of the new space",
        )


def _what_is_planned_is_done(user: User, config: str) -> None:
    """`--dry-run` prints the list that `apply` carries out; again, there is nothing to do."""
    planned = json.loads(user.types("apply", config, "--dry-run", "--json").stdout)["changes"]
    done = json.loads(user.types("apply", config, "--json").stdout)["changes"]
    assert planned == done
    again = json.loads(user.types("apply", config, "--json").stdout)["changes"]
    assert {change["change"] for change in again} == {"unchanged"}


def _with_password(properties: Path, password: str) -> Path:
    other = properties.with_name("other.properties")
    other.write_text(
        properties.read_text(encoding="utf-8").replace(SECRET, password), encoding="utf-8"
    )
    return other
