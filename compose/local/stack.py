"""Which parts the local stack has, in order, and the addresses that it gives to everything else."""

import os
from collections.abc import Mapping
from pathlib import Path

from compose.local.existing import (
    existing_kafka,
    existing_postgres,
    existing_temporal,
    names_server,
)
from compose.local.machine.files import write_private
from compose.local.parts.kafka import Kafka
from compose.local.parts.part import Part, Task
from compose.local.parts.postgres import Postgres
from compose.local.parts.role import ROLES, Role
from compose.local.parts.schema_registry import SchemaRegistryPart
from compose.local.parts.temporal import Temporal
from compose.local.parts.variables import database_variables
from compose.local.state import secret_file
from corpus.disclosure.secret import Secret
from corpus.errors import DependencyError

SERVICES = ("postgres", "migrations", "kafka", "temporal")
SCHEMA_REGISTRY = "schema-registry"  # runs only where it is asked for
# Names of addresses: of the owner's connection string, and, with its name before it, of each login of the roles.
_OWNER = "database_url"
_GIVEN = "FRESHET_DATABASE_URL"
_PASSWORDS = ("password", "sslpassword")  # of a connection string
_LOGINS = ("writer", "gateway")
_ONE_USER = (
    "the roles connect as the owner: set FRESHET_WRITER_DATABASE_URL and FRESHET_GATEWAY_DATABASE_URL, "
    "and their logins are made"
)


def stack_parts(home: Path, ports: Mapping[str, int]) -> dict[str, Part]:
    """Return all parts by name. A service whose address the environment gives is an existing server."""
    postgres = _postgres(home, ports)
    parts: list[Part] = [
        postgres,
        _migrations(home, _database_urls(postgres)),
        _kafka(home, ports),
        _temporal(home, ports),
        *_schema_registry(home),
    ]
    is_own = isinstance(postgres, Postgres)
    parts += [_role(home, name, is_own=is_own) for name in ROLES]
    return {part.name: part for part in parts}


def addresses(home: Path, ports: Mapping[str, int]) -> dict[str, str]:
    """Return the addresses in HOME/stack.json, which `workers.config.settings` reads.

    They hold no password: `keep_secrets` writes the connection strings to the files that are named here.
    """
    postgres = _postgres(home, ports)
    kafka = _kafka(home, ports)
    temporal = _temporal(home, ports)
    staging_url = os.environ.get("FRESHET_STAGING_URL")
    if not staging_url:
        staging_url = (home / "staging").as_uri()
    temporal_ui = ""
    if isinstance(temporal, Temporal):
        temporal_ui = temporal.ui
    return {
        "kafka_bootstrap": kafka.address,
        "temporal_address": temporal.address,
        "temporal_ui": temporal_ui,
        "staging_url": staging_url,
        **_schema_registry_address(home),
        **_database_addresses(home, postgres),
        **_kafka_login(kafka),
    }


# ── PostgreSQL ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _postgres(home: Path, ports: Mapping[str, int]) -> Part:
    from workers.config.settings import given_database_url

    given = given_database_url()
    if given is not None:
        return existing_postgres(home, given)
    return Postgres(home=home, port=ports["postgres"])


def _database_urls(postgres: Part) -> dict[str, Secret]:
    """Connection strings by the name of their address: the owner's, and those of the roles' logins that there are."""
    from workers.config.settings import given_database_url

    if isinstance(postgres, Postgres):
        logins = {login: Secret.of(postgres.login_url(login)) for login in _LOGINS}
        return {_OWNER: Secret.of(postgres.url)} | {
            f"{login}_{_OWNER}": url for login, url in logins.items()
        }
    names = (_OWNER, *(f"{login}_{_OWNER}" for login in _LOGINS))
    urls = {name: given_database_url(name.removesuffix("_url")) for name in names}
    return {name: url for name, url in urls.items() if url is not None}


def _database_addresses(home: Path, postgres: Part) -> dict[str, str]:
    """Of each connection string what may be shown, and the file that holds the whole of it."""
    found: dict[str, str] = {}
    for name, url in _resolved_urls(postgres).items():
        path = secret_file(home, name)
        found |= {name: without_passwords(url), f"{name}_file": str(path)}
    return found


def keep_secrets(home: Path, ports: Mapping[str, int]) -> None:
    """Write each connection string to a file that only its owner can read, for the other commands."""
    for name, url in _resolved_urls(_postgres(home, ports)).items():
        write_private(secret_file(home, name), url)


def without_passwords(url: str) -> str:
    """A connection string in libpq's keyword form, without what is secret in it."""
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    values = conninfo_to_dict(url)
    shown = {name: value for name, value in values.items() if name not in _PASSWORDS}
    return make_conninfo("", **shown)


def _resolved_urls(postgres: Part) -> dict[str, str]:
    """Connection strings as any terminal can use them; without a server that answers, there is none of the owner."""
    urls = {name: url.reveal() for name, url in _database_urls(postgres).items()}
    if not names_server(urls[_OWNER]):
        urls[_OWNER] = _resolved(urls[_OWNER])
    return {name: url for name, url in urls.items() if url}


def _resolved(url: str) -> str:
    """The meaning of this terminal's PG* variables, which another terminal may not have; empty without a server."""
    from corpus.database import connect

    try:
        with connect(url, application="freshet-up") as connection:
            info = connection.info
            return make_url(info.host, info.port, info.dbname, info.user, info.password)
    except DependencyError:
        return ""


def make_url(host: str, port: int, database: str, user: str, password: str) -> str:
    """Return a connection string in libpq's keyword form; the password may be empty."""
    from psycopg.conninfo import make_conninfo

    return make_conninfo(
        host=host,
        port=port,
        dbname=database,
        user=user,
        password=password or None,
    )


def _migrations(home: Path, urls: Mapping[str, Secret]) -> Task:
    def run() -> str:
        from corpus.database import migrate
        from corpus.embed.space_indexes import build_missing
        from corpus.text_search import rebuild_search_texts
        from workers.migrations import make_logins

        url = urls[_OWNER]
        applied = migrate(url)
        logins = [urls.get(f"{login}_{_OWNER}", Secret.of("")) for login in _LOGINS]
        make_logins(url, *logins)
        # The storer's login does not own the tables, so it cannot do this where they are large.
        build_missing(url)
        texts = rebuild_search_texts(url)
        notes = [f"{len(applied)} applied" if applied else "up to date"]
        if texts.rebuilt:
            notes.append(f"search texts rebuilt: {texts.rebuilt}")
        if not any(logins):
            notes.append(_ONE_USER)
        note = ", ".join(notes)
        return f"{note}; {texts.warning}" if texts.warning else note

    return Task(home=home, name="migrations", after=("postgres",), run=run)


def _kafka(home: Path, ports: Mapping[str, int]) -> Part:
    bootstrap = os.environ.get("FRESHET_KAFKA_BOOTSTRAP")
    if bootstrap:
        return existing_kafka(home, bootstrap)
    return Kafka(
        home=home,
        port=ports["kafka"],
        controller_port=ports["kafka-controller"],
        asks_password=True,
    )


def _schema_registry(home: Path) -> list[Part]:
    """The registry, where the environment names its port and no other registry."""
    from workers.config.settings import schema_registry_port

    port = schema_registry_port()
    if port is None:
        return []
    return [SchemaRegistryPart(home=home, port=port)]


def _schema_registry_address(home: Path) -> dict[str, str]:
    parts = _schema_registry(home)
    if not parts:
        return {}
    return {"schema_registry_url": parts[0].address}


def _kafka_login(kafka: Part) -> dict[str, str]:
    if not isinstance(kafka, Kafka):
        return {}
    return {"kafka_properties": str(kafka.client_properties)}


def _temporal(home: Path, ports: Mapping[str, int]) -> Part:
    from workers.config.addresses import temporal_profile
    from workers.config.settings import temporal_namespace

    namespace, profile = temporal_namespace(), temporal_profile()
    if profile is not None:
        return existing_temporal(home, profile, namespace)
    return Temporal(
        home=home,
        port=ports["temporal"],
        ui_port=ports["temporal-ui"],
        namespaces=(namespace,),
    )


def _role(home: Path, name: str, *, is_own: bool) -> Role:
    after = ["migrations", "temporal"]
    if name == "consumer":
        # Only the consumer uses Kafka, which is the slowest to start: the other roles load their libraries meanwhile.
        after.append("kafka")
    database = database_variables(name)
    if is_own and not any(variable.startswith(_GIVEN) for variable in database):
        login = "gateway" if name == "gateway" else "writer"
        path = secret_file(home, f"{login}_{_OWNER}")
        database = {f"{_GIVEN}_FILE": str(path)}
    return Role(home=home, name=name, after=tuple(after), database=database)
