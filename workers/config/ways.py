"""The ways to the servers: what leaves this machine is encrypted, and is sent to whom?

A server on loopback or behind a socket of the system is on this machine. To every other one the way has to be
encrypted and the server verified, unless FRESHET_ALLOW_PLAINTEXT names its kind: no role starts, and `freshet doctor`
names each.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from corpus.errors import ConfigurationError
from corpus.staging.sealing import Sealing
from corpus.staging.store import StagingStore
from workers.config.addresses import temporal_profile
from workers.config.replica import replica_url
from workers.config.settings import Settings

# The kinds of servers, and what each is called in the table of roles.
SERVICES = {
    "postgres": "PostgreSQL",
    "kafka": "Kafka",
    "temporal": "Temporal",
    "staging": "staging",
    "registry": "schema registry",
}
KINDS = tuple(SERVICES)
_VERIFIED_MODES = ("verify-ca", "verify-full")
_KAFKA_TLS = ("ssl", "sasl_ssl")
# By the scheme of a store's URL: what its library's variables begin with.
_STORES = {
    **dict.fromkeys(("s3", "s3a"), "AWS"),
    **dict.fromkeys(("az", "adl", "azure", "abfs", "abfss"), "AZURE"),
    "gs": "GOOGLE",
}
_ENDPOINTS = (
    *("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"),
    *("AZURE_ENDPOINT", "AZURE_STORAGE_ENDPOINT", "GOOGLE_BASE_URL"),
)
_TRUE = ("1", "true", "on", "yes", "y")
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


def staging_problems(url: str, variables: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with the way to the staging store: the endpoint may be in a variable of its library.

    Args:
        url: of the store.
        variables: of the environment.
    """
    given = {name.upper(): value for name, value in variables.items()}
    prefix, endpoints = _endpoints(url, given)
    remote = [one for one in map(urlsplit, endpoints) if is_remote(one.hostname or "")]
    for endpoint in remote:
        if endpoint.scheme.lower() != "https":
            yield f"the staging store at {endpoint.geturl()} {_PLAINTEXT}; name an endpoint with https://"
    # Without an endpoint it is the provider's own, which is another machine.
    is_elsewhere = bool(remote) or not endpoints
    variable = f"{prefix}_ALLOW_INVALID_CERTIFICATES"
    if is_elsewhere and given.get(variable, "").lower() in _TRUE:
        yield f"the staging store {url} {_UNVERIFIED}; unset {variable}"


def registry_problems(urls: str) -> Iterator[str]:
    """What is wrong with the way to the schema registry; no setting lets an unknown certificate pass."""
    for url in filter(None, urls.split(",")):
        address = urlsplit(url.strip())
        if address.scheme == "http" and is_remote(address.hostname or ""):
            yield f"the schema registry at {address.netloc} {_PLAINTEXT}; name it with https://"


def _endpoints(url: str, given: Mapping[str, str]) -> tuple[str, list[str]]:
    """What the variables of a store's library begin with, and the endpoints that they or the URL name."""
    scheme = urlsplit(url).scheme.lower()
    if scheme in ("http", "https"):
        return "HTTP", [url]
    prefix = _STORES.get(scheme, "NONE")
    names = [name for name in _ENDPOINTS if name.startswith(prefix)]
    return prefix, [given[name] for name in names if given.get(name)]


def _libpq(url: str) -> dict[str, Any]:
    """Parameters of a connection string, and those that PG* variables add."""
    from psycopg.conninfo import conninfo_to_dict

    variables = {"host": "PGHOST", "hostaddr": "PGHOSTADDR", "sslmode": "PGSSLMODE"}
    given = {name: os.environ.get(variable) for name, variable in variables.items()}
    return {**given, **conninfo_to_dict(url)}


def _of_databases(settings: Settings) -> list[str]:
    """Those of the addresses by which the processes reach PostgreSQL, each once."""
    logins = (settings.writer_database_url, settings.gateway_database_url)
    urls = [settings.database_url, *filter(None, logins)]
    of_replica = replica_url(settings, settings.database_url)
    if of_replica is not None:
        urls.append(of_replica)
    found: list[str] = []
    for url in urls:
        found += postgres_problems(_libpq(url.reveal()))
    return list(dict.fromkeys(found))


def problems(settings: Settings) -> dict[str, list[str]]:
    """What is wrong with the way to each kind of server, one sentence each."""
    kafka = kafka_problems(settings.kafka_bootstrap, settings.kafka_properties)
    temporal = temporal_problems(settings.temporal_address, temporal_profile())
    return {
        "postgres": _of_databases(settings),
        "kafka": list(kafka),
        "temporal": list(temporal),
        "staging": list(staging_problems(settings.staging_url, os.environ)),
        "registry": list(registry_problems(settings.schema_registry_url)),
    }


def refused(settings: Settings) -> dict[str, list[str]]:
    """Those of the problems that no setting allows, by the kind of the server."""
    return {
        kind: found
        for kind, found in problems(settings).items()
        if found and kind not in settings.allow_plaintext
    }


def require_safe(settings: Settings, kinds: Collection[str] = KINDS) -> None:
    """Refuse servers of these kinds that are not verified, or are reached without encryption.

    Raises:
        ConfigurationError: names each, and what to set.
    """
    found = {kind: texts for kind, texts in refused(settings).items() if kind in kinds}
    if found:
        sentences = "; ".join(text for texts in found.values() for text in texts)
        names = ",".join(found)
        raise ConfigurationError(
            f"{sentences}. Where the network itself is trusted, set FRESHET_ALLOW_PLAINTEXT={names}"
        )


def open_staging(settings: Settings, sealing: Sealing | None = None) -> StagingStore:
    """The staging store, if the way to it is safe.

    Args:
        settings: of this process.
        sealing: encrypts its files; None: they are plain.

    Raises:
        ConfigurationError: it is not, or the URL is wrong.
    """
    require_safe(settings, ("staging",))
    return StagingStore(settings.staging_url, sealing)
