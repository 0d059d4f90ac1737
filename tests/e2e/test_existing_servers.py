"""A stack on servers that somebody else runs: PostgreSQL by PG*, Kafka behind SASL_SSL, Temporal by a profile.

Everything goes through the commands that a user types. `up` starts the worker roles only, `down` ends only those.
"""

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.bench.stack import ROOT
from tests.support.fix_temporal import TemporalEnv
from tests.support.guarded_kafka import SECRET, GuardedBroker


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
def user(
    tmp_path: Path,
    guarded_kafka: GuardedBroker,
    empty_database_url: str,
    temporal_env: TemporalEnv,
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
    servers = {
        "HF_HUB_OFFLINE": "1",
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
    tmp_path: Path, user: User, temporal_env: TemporalEnv
) -> None:
    user.types("up", "--detach")
    try:
        _only_the_roles_were_started(tmp_path / "home")
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
        user.types("doctor")
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
