"""A stack on servers that somebody else runs: PostgreSQL by PG*, Kafka behind SASL_SSL, Temporal by a profile.

Everything goes through the commands that a user types. `up` starts the worker roles only, `down` ends only those.
"""

import asyncio
import datetime
import ipaddress
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from psycopg.conninfo import conninfo_to_dict

from compose.local.machine.ports import free_port
from compose.local.parts.kafka import Kafka
from compose.local.run import running
from tests.bench.stack import ROOT
from tests.support.fix_temporal import TemporalEnv
from tests.support.kafka_listeners import with_listener

SECRET = "correct-horse"


@dataclass(kw_only=True)
class GuardedKafka(Kafka):
    """The broker, with one more listener: TLS, and a password by SCRAM."""

    sasl_port: int
    pem: str  # key and certificate

    def _settings(self) -> dict[str, object]:
        settings = with_listener(super()._settings(), "GUARDED", "SASL_SSL", self.sasl_port)
        escaped = self.pem.replace("\n", "\\n")
        key, _, chain = escaped.partition("-----BEGIN CERTIFICATE-----")
        prefix = "listener.name.guarded"
        login = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        return settings | {
            f"{prefix}.ssl.keystore.type": "PEM",
            f"{prefix}.ssl.keystore.key": key,
            f"{prefix}.ssl.keystore.certificate.chain": "-----BEGIN CERTIFICATE-----" + chain,
            f"{prefix}.sasl.enabled.mechanisms": "SCRAM-SHA-512",
            f"{prefix}.scram-sha-512.sasl.jaas.config": login,
        }


def certificate() -> tuple[str, str]:
    """(key and certificate, certificate) in PEM, of an authority that is its own server on loopback."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "freshet-test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public = made.public_bytes(serialization.Encoding.PEM).decode()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    return private + public, public


@pytest.fixture
def guarded_kafka(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """(bootstrap address, properties file)."""
    pem, public = certificate()
    ports: list[int] = []
    for _ in range(3):
        ports.append(free_port(set(ports)))
    server = GuardedKafka(
        home=tmp_path / "kafka-home",
        port=ports[0],
        controller_port=ports[1],
        sasl_port=ports[2],
        pem=pem,
    )
    server.home.mkdir()
    with running(server):
        admin = AdminClient({"bootstrap.servers": server.address})
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        admin.alter_user_scram_credentials(
            [UserScramCredentialUpsertion("freshet", info, SECRET.encode())]
        )["freshet"].result(30)
        (tmp_path / "ca.pem").write_text(public, encoding="ascii")
        properties = tmp_path / "kafka.properties"
        lines = {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": "freshet",
            "sasl.password": SECRET,
            "ssl.ca.location": str(tmp_path / "ca.pem"),
        }
        properties.write_text(
            "# as librdkafka names them\n"
            + "".join(f"{name}={value}\n" for name, value in lines.items()),
            encoding="utf-8",
        )
        yield f"127.0.0.1:{ports[2]}", properties


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
    guarded_kafka: tuple[str, Path],
    empty_database_url: str,
    temporal_env: TemporalEnv,
) -> User:
    """Somebody whose environment names the three servers, and nothing else of Freshet's."""
    bootstrap, properties = guarded_kafka
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
        "FRESHET_KAFKA_BOOTSTRAP": bootstrap,
        "FRESHET_KAFKA_PROPERTIES": str(properties),
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
def test_a_wrong_password_is_one_clear_error(user: User, guarded_kafka: tuple[str, Path]) -> None:
    _, properties = guarded_kafka
    wrong = str(_with_password(properties, "wrong"))
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
