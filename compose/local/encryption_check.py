"""The check of `freshet doctor` on the ways to the servers: what leaves this machine is encrypted, and sent to whom?

A server on loopback or behind a socket of the system is on this machine. To every other one the way has to be
encrypted and the server verified, unless FRESHET_ALLOW_PLAINTEXT names its kind.
"""

import os
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compose.local.checks import Check, CheckFailedError
from workers.config.addresses import temporal_profile

if TYPE_CHECKING:
    from workers.config.settings import Settings

_VERIFIED_MODES = ("verify-ca", "verify-full")
_KAFKA_TLS = ("ssl", "sasl_ssl")
_PLAINTEXT = "is reached without encryption"
_UNVERIFIED = "is not verified: any server may answer in its place"


def is_remote(host: str) -> bool:
    """Whether a host is another machine: neither loopback nor a socket of the system."""
    name = host.strip("[]").lower().rstrip(".")
    if not name or name.startswith(("/", "@")) or name == "localhost":
        return False
    try:
        return not ip_address(name).is_loopback
    except ValueError:
        return True


def postgres_problems(parameters: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the way to PostgreSQL.

    Args:
        parameters: of libpq, those of PG* variables included.
    """
    stated = parameters.get("hostaddr") or parameters.get("host") or ""
    hosts = [host for host in str(stated).split(",") if is_remote(host)]
    mode = str(parameters.get("sslmode") or "prefer")
    if not hosts or mode in _VERIFIED_MODES:
        return
    # "prefer" speaks plainly where the server, or who is in between, says that it knows no TLS.
    what = _UNVERIFIED if mode == "require" else _PLAINTEXT
    for host in hosts:
        yield f"PostgreSQL at {host} {what} (sslmode={mode}); set sslmode=verify-full"


def kafka_problems(bootstrap: str, properties: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with the way to Kafka, by its bootstrap servers."""
    servers = [one.strip() for one in bootstrap.split(",")]
    remote = [one for one in servers if is_remote(one.rpartition(":")[0])]
    protocol = properties.get("security.protocol", "plaintext").lower()
    verifies = properties.get("enable.ssl.certificate.verification", "true").lower()
    names = properties.get("ssl.endpoint.identification.algorithm", "https").lower()
    is_verified = verifies == "true" and names != "none"
    for server in remote:
        if protocol not in _KAFKA_TLS:
            yield f"Kafka at {server} {_PLAINTEXT}; set security.protocol to SSL or SASL_SSL"
        elif not is_verified:
            yield f"Kafka at {server} {_UNVERIFIED}; let its certificate and name be verified"


def temporal_problems(address: str, profile: Mapping[str, Any] | None) -> Iterator[str]:
    """What is wrong with the way to Temporal.

    Args:
        address: of the local stack, where there is no profile.
        profile: what TEMPORAL_* say.
    """
    arguments = profile or {}
    server = str(arguments.get("target_host") or address)
    has_tls = bool(arguments.get("tls")) or bool(arguments.get("api_key"))
    if is_remote(server.rpartition(":")[0]) and not has_tls:
        yield f"Temporal at {server} {_PLAINTEXT}; set TEMPORAL_TLS=true"


def _libpq(url: str) -> dict[str, Any]:
    """Parameters of a connection string, and those that PG* variables add."""
    from psycopg.conninfo import conninfo_to_dict

    variables = {"host": "PGHOST", "hostaddr": "PGHOSTADDR", "sslmode": "PGSSLMODE"}
    given = {name: os.environ.get(variable) for name, variable in variables.items()}
    return {**given, **conninfo_to_dict(url)}


def _of_databases(settings: "Settings") -> list[str]:
    """Those of the addresses by which the processes reach PostgreSQL, each once."""
    logins = (settings.writer_database_url, settings.gateway_database_url)
    urls = [settings.database_url, *filter(None, logins)]
    found: list[str] = []
    for url in urls:
        found += postgres_problems(_libpq(url.reveal()))
    return list(dict.fromkeys(found))


def _observe(home: Path) -> str:
    from workers.config.settings import load

    settings = load(home)
    problems = {
        "postgres": _of_databases(settings),
        "kafka": kafka_problems(settings.kafka_bootstrap, settings.kafka_properties),
        "temporal": temporal_problems(settings.temporal_address, temporal_profile()),
    }
    refused: list[str] = []
    accepted: list[str] = []
    for kind, found in problems.items():
        those = list(found)
        if kind not in settings.allow_plaintext:
            refused += those
        elif those:
            accepted.append(kind)
    if refused:
        raise CheckFailedError("; ".join(refused))
    if accepted:
        return f"allowed by FRESHET_ALLOW_PLAINTEXT: {', '.join(accepted)}"
    return "every server is on this machine, or is verified and reached with encryption"


ENCRYPTION_CHECK = Check(
    "encryption",
    _observe,
    "as it says; where the network itself is trusted, name the server's kind in FRESHET_ALLOW_PLAINTEXT "
    "(postgres, kafka, temporal)",
)
