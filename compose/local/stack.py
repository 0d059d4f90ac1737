"""Which parts the local stack has, in order, and the addresses that it gives to everything else."""

import os
from collections.abc import Mapping
from pathlib import Path

from compose.local.existing import existing_kafka, existing_postgres, existing_temporal
from compose.local.parts.kafka import Kafka
from compose.local.parts.part import Part, Task
from compose.local.parts.postgres import Postgres
from compose.local.parts.role import ROLES, Role
from compose.local.parts.temporal import Temporal
from corpus.errors import DependencyError

SERVICES = ("postgres", "migrations", "kafka", "temporal")
# The logins of the roles, by the address that each is kept under.
_LOGINS = {"writer": "writer_database_url", "gateway": "gateway_database_url"}
_LIBPQ_VARIABLES = ("PGHOST", "PGSERVICE", "PGDATABASE", "PGHOSTADDR")


def stack_parts(home: Path, ports: Mapping[str, int]) -> dict[str, Part]:
    """Return all parts by name. A service whose address the environment gives is an existing server."""
    postgres, url = _postgres(home, ports)
    parts: list[Part] = [
        postgres,
        _migrations(home, url, _logins(postgres)),
        _kafka(home, ports),
        _temporal(home, ports),
    ]
    parts += [_role(home, name) for name in ROLES]
    return {part.name: part for part in parts}


def addresses(home: Path, ports: Mapping[str, int]) -> dict[str, str]:
    """Return the addresses in HOME/stack.json, which `workers.config.settings` reads."""
    postgres, url = _postgres(home, ports)
    kafka = _kafka(home, ports)
    temporal = _temporal(home, ports)
    staging_url = os.environ.get("FRESHET_STAGING_URL")
    if not staging_url:
        staging_url = (home / "staging").as_uri()
    temporal_ui = ""
    if isinstance(temporal, Temporal):
        temporal_ui = temporal.ui
    return {
        "database_url": url,
        "kafka_bootstrap": kafka.address,
        "temporal_address": temporal.address,
        "temporal_ui": temporal_ui,
        "staging_url": staging_url,
        **_logins(postgres),
    }


def _logins(postgres: Part) -> dict[str, str]:
    """What the roles connect with, where the server is the stack's own; with another server, what the settings say."""
    if not isinstance(postgres, Postgres):
        return {}
    return {name: postgres.login_url(login) for login, name in _LOGINS.items()}


def _postgres(home: Path, ports: Mapping[str, int]) -> tuple[Part, str]:
    """PostgreSQL and the connection string of its database."""
    from workers.config.settings import given_database_url

    given = given_database_url()
    if given:
        url = given.reveal()
        return existing_postgres(home, url), url
    if any(name in os.environ for name in _LIBPQ_VARIABLES):
        return existing_postgres(home, ""), _resolved_url()
    server = Postgres(home=home, port=ports["postgres"])
    return server, server.url


def _resolved_url() -> str:
    """The meaning of this terminal's PG* variables, which another terminal may not have; empty without a server."""
    from corpus.database import connect

    try:
        with connect("", application="freshet-up") as connection:
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


def _migrations(home: Path, url: str, logins: Mapping[str, str]) -> Task:
    def run() -> str:
        from corpus.database import migrate
        from corpus.disclosure.secret import Secret
        from corpus.embed.space_indexes import build_missing
        from corpus.text_search import rebuild_search_texts
        from workers.migrations import make_logins

        applied = migrate(url)
        writer, gateway = (Secret.of(logins.get(name, "")) for name in _LOGINS.values())
        make_logins(url, writer, gateway)
        # The storer's login does not own the tables, so it cannot do this where they are large.
        build_missing(url)
        texts = rebuild_search_texts(url)
        note = f"{len(applied)} applied" if applied else "up to date"
        if texts.rebuilt:
            note += f", search texts rebuilt: {texts.rebuilt}"
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
    )


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


def _role(home: Path, name: str) -> Role:
    after = ["migrations", "temporal"]
    if name == "consumer":
        # Only the consumer uses Kafka, which is the slowest to start: the other roles load their libraries meanwhile.
        after.append("kafka")
    return Role(home=home, name=name, after=tuple(after))
