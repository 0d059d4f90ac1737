"""Which parts the local stack has, in order, and the addresses it gives to everybody else."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compose.local.parts.kafka import Kafka, brokers
from compose.local.parts.part import ExistingServer, Part, Task
from compose.local.parts.postgres import Postgres
from compose.local.parts.role import ROLES, Role
from compose.local.parts.temporal import Temporal, add_search_attributes, wait_for_namespace
from corpus.errors import DependencyError

SERVICES = ("postgres", "migrations", "kafka", "temporal")


def stack_parts(home: Path, ports: Mapping[str, int]) -> dict[str, Part]:
    """All parts by name; a service whose address the environment gives is an existing one."""
    postgres, url = _postgres(home, ports)
    parts = [postgres, _migrations(home, url), _kafka(home, ports), _temporal(home, ports)]
    # Only the consumer talks to Kafka, the slowest to start: the others load their libraries meanwhile.
    parts += [
        Role(
            home=home,
            name=role,
            after=("migrations", "temporal", *(["kafka"] if role == "consumer" else [])),
        )
        for role in ROLES
    ]
    return {part.name: part for part in parts}


def addresses(home: Path, ports: Mapping[str, int]) -> dict[str, str]:
    """What HOME/stack.json tells to `workers.config.settings`: where each service is."""
    _, url = _postgres(home, ports)
    temporal = _temporal(home, ports)
    return {
        "database_url": url,
        "kafka_bootstrap": os.environ.get("FRESHET_KAFKA_BOOTSTRAP")
        or f"127.0.0.1:{ports['kafka']}",
        "temporal_address": temporal.address,
        "temporal_ui": temporal.ui if isinstance(temporal, Temporal) else "",
        "staging_url": os.environ.get("FRESHET_STAGING_URL") or (home / "staging").as_uri(),
    }


def _postgres(home: Path, ports: Mapping[str, int]) -> tuple[Part, str]:
    url = os.environ.get("FRESHET_DATABASE_URL", "")
    libpq = any(name in os.environ for name in ("PGHOST", "PGSERVICE", "PGDATABASE", "PGHOSTADDR"))
    if not url and not libpq:
        server = Postgres(home=home, port=ports["postgres"])
        return server, server.url

    def check() -> str:
        from corpus.database import connect

        with connect(url, application="freshet-up") as connection:
            number = connection.info.server_version
            return f"{number // 10_000}.{number % 10_000}"

    return ExistingServer(
        home=home, name="postgres", address=_without_password(url), check=check
    ), _resolved(url)


def _resolved(url: str) -> str:
    # Another terminal may not have the PG* variables of this one.
    if url:
        return url
    from corpus.database import connect

    try:
        with connect("", application="freshet-up") as connection:
            info = connection.info
            return make_url(info.host, info.port, info.dbname, info.user, info.password)
    except DependencyError:
        return ""


def make_url(host: str, port: int, database: str, user: str, password: str) -> str:
    """A connection string in libpq's keyword form."""
    from psycopg.conninfo import make_conninfo

    return make_conninfo(
        "",
        host=host,
        port=port,
        dbname=database,
        user=user,
        **({"password": password} if password else {}),
    )


def _without_password(url: str) -> str:
    from psycopg.conninfo import conninfo_to_dict

    if not url:
        return os.environ.get("PGHOST") or os.environ.get("PGSERVICE") or "libpq's defaults"
    found = conninfo_to_dict(url)
    return f"{found.get('host', 'localhost')}:{found.get('port', 5432)}/{found.get('dbname', '')}"


def _migrations(home: Path, url: str) -> Task:
    def run() -> str:
        from corpus.database import migrate

        return str(_count(migrate(url)))

    return Task(home=home, name="migrations", after=("postgres",), run=run)


def _count(applied: object) -> str:
    if isinstance(applied, (list, tuple, set)):
        return f"{len(applied)} applied" if applied else "up to date"
    return "up to date"


def _kafka(home: Path, ports: Mapping[str, int]) -> Part:
    bootstrap = os.environ.get("FRESHET_KAFKA_BOOTSTRAP")
    if not bootstrap:
        return Kafka(home=home, port=ports["kafka"], controller_port=ports["kafka-controller"])

    def check() -> str:
        from workers.config.settings import kafka_properties

        found = brokers({**kafka_properties(), "bootstrap.servers": bootstrap}, timeout=15)
        if not found:
            raise DependencyError(
                f"Kafka does not answer at {bootstrap}; is it running, and do FRESHET_KAFKA_PROPERTIES (SASL, TLS) fit?"
            )
        return f"{len(found)} broker{'s' if len(found) > 1 else ''}"

    return ExistingServer(home=home, name="kafka", address=bootstrap, check=check)


def _temporal(home: Path, ports: Mapping[str, int]) -> Part:
    from workers.config.addresses import temporal_profile
    from workers.config.settings import temporal_namespace

    namespace, profile = temporal_namespace(), temporal_profile()
    if profile is None:
        return Temporal(
            home=home, port=ports["temporal"], ui_port=ports["temporal-ui"], namespaces=(namespace,)
        )

    def check() -> str:
        return asyncio.run(_check_temporal(profile, namespace))

    return ExistingServer(home=home, name="temporal", address=profile["target_host"], check=check)


async def _check_temporal(profile: Mapping[str, Any], namespace: str) -> str:
    from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
    from temporalio.client import Client
    from temporalio.service import RPCError

    from workers.apply.namespaces import ensure_namespace

    arguments = {**profile, "namespace": namespace}
    try:
        client = await Client.connect(**arguments)
        if await ensure_namespace(client, namespace):
            await wait_for_namespace(client, namespace)
        await add_search_attributes(client, namespace)
        return (
            await client.workflow_service.get_system_info(GetSystemInfoRequest())
        ).server_version
    except (RPCError, RuntimeError) as error:
        raise DependencyError(
            f"Temporal at {arguments.get('target_host')} cannot be used (namespace {namespace}): {error}"
        ) from error


__all__ = ["SERVICES", "addresses", "make_url", "stack_parts"]
