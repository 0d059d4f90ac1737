"""A broker that asks for a password, over TLS."""

import datetime
import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
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

from compose.local.machine.ports import free_port
from compose.local.parts.kafka import Kafka
from compose.local.run import running
from tests.support.kafka_listeners import with_listener

USER = "freshet"
SECRET = "correct-horse"


@dataclass(kw_only=True)
class GuardedKafka(Kafka):
    """The broker, with one more listener: TLS, and a password by SCRAM."""

    sasl_port: int
    pem: str  # key and certificate
    login_ms: int = 0  # after which a client must log in again; 0: never

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
            f"{prefix}.scram-sha-512.connections.max.reauth.ms": self.login_ms,
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


@dataclass(frozen=True, slots=True)
class GuardedBroker:
    """A running broker.

    Attributes:
        bootstrap: address of the guarded listener.
        plain: address of the open one.
        properties: the user's file for the guarded one.
    """

    bootstrap: str
    plain: str
    properties: Path

    def set_password(self, password: str) -> None:
        """The broker accepts this one from now on, and no other."""
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        change = UserScramCredentialUpsertion(USER, info, password.encode())
        admin = AdminClient({"bootstrap.servers": self.plain})
        admin.alter_user_scram_credentials([change])[USER].result(30)

    def write_password(self, password: str) -> None:
        """What the user's file says from now on; it is replaced at once, as a secret's mount does."""
        lines = {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": USER,
            "sasl.password": password,
            "ssl.ca.location": str(self.properties.with_name("ca.pem")),
        }
        text = "".join(f"{name}={value}\n" for name, value in lines.items())
        written = self.properties.with_name("kafka.properties.new")
        written.write_text(f"# as librdkafka names them\n{text}", encoding="utf-8")
        written.replace(self.properties)


@contextmanager
def guarded_broker(folder: Path, *, login_ms: int = 0) -> Iterator[GuardedBroker]:
    """Run one for the length of the block; its files are in the folder."""
    pem, public = certificate()
    ports: list[int] = []
    for _ in range(3):
        ports.append(free_port(set(ports)))
    server = GuardedKafka(
        home=folder / "kafka-home",
        port=ports[0],
        controller_port=ports[1],
        sasl_port=ports[2],
        pem=pem,
        login_ms=login_ms,
    )
    server.home.mkdir()
    (folder / "ca.pem").write_text(public, encoding="ascii")
    address = f"127.0.0.1:{ports[2]}"
    broker = GuardedBroker(address, server.address, folder / "kafka.properties")
    with running(server):
        broker.set_password(SECRET)
        broker.write_password(SECRET)
        yield broker


@pytest.fixture
def guarded_kafka(tmp_path: Path) -> Iterator[GuardedBroker]:
    """A broker of the test's own."""
    with guarded_broker(tmp_path) as broker:
        yield broker
