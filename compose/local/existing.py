"""Servers that other people run: the local stack checks them, and never starts or stops them."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compose.local.parts.kafka import brokers
from compose.local.parts.part import ExistingServer
from compose.local.parts.temporal_namespace import prepare_namespace
from corpus.disclosure.error_text import service_text
from corpus.disclosure.secret import Secret
from corpus.errors import ConfigurationError, DependencyError

_KAFKA_SECONDS = 15


def existing_postgres(home: Path, url: Secret) -> ExistingServer:
    """PostgreSQL at a connection string; one without a server means libpq's variables and defaults."""

    def check() -> str:
        from corpus.database import connect

        with connect(url, application="freshet-up") as connection:
            number = connection.info.server_version
        major, minor = divmod(number, 10_000)
        return f"{major}.{minor}"

    return ExistingServer(
        home=home, name="postgres", address=address_of(url.reveal()), check=check
    )


def address_of(url: str) -> str:
    """Return host, port and database of a connection string, without the password.

    Raises:
        ConfigurationError: it is not a connection string. It is a secret, so the message does not show it.
    """
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        if not names_server(url):
            return (
                os.environ.get("PGHOST")
                or os.environ.get("PGSERVICE")
                or "libpq's defaults"
            )
        values = conninfo_to_dict(url)
    except (ProgrammingError, UnicodeEncodeError):
        raise ConfigurationError(
            "FRESHET_DATABASE_URL is not a connection string; "
            "write postgresql://user:password@host:port/database, or host=... dbname=..."
        ) from None
    host, port = values.get("host", "localhost"), values.get("port", 5432)
    return f"{host}:{port}/{values.get('dbname', '')}"


def names_server(url: str) -> bool:
    """Whether a connection string says where the server is; else libpq's variables and defaults do."""
    from psycopg.conninfo import conninfo_to_dict

    return bool(conninfo_to_dict(url).keys() - {"password"})


def existing_kafka(home: Path, bootstrap: str) -> ExistingServer:
    """Kafka at its bootstrap servers, with the properties of FRESHET_KAFKA_PROPERTIES."""

    def check() -> str:
        from workers.config.settings import kafka_properties

        properties = {**kafka_properties(), "bootstrap.servers": bootstrap}
        count = len(brokers(properties, timeout=_KAFKA_SECONDS))
        if not count:
            raise DependencyError(
                f"Kafka does not answer at {bootstrap}; is it running, "
                "and are FRESHET_KAFKA_PROPERTIES (SASL, TLS) right?"
            )
        return "1 broker" if count == 1 else f"{count} brokers"

    return ExistingServer(home=home, name="kafka", address=bootstrap, check=check)


def existing_temporal(
    home: Path, profile: Mapping[str, Any], namespace: str
) -> ExistingServer:
    """Temporal by a profile: arguments of Client.connect."""

    def check() -> str:
        return asyncio.run(_check_temporal(profile, namespace))

    return ExistingServer(
        home=home, name="temporal", address=profile["target_host"], check=check
    )


async def _check_temporal(profile: Mapping[str, Any], namespace: str) -> str:
    from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
    from temporalio.client import Client
    from temporalio.service import RPCError

    arguments: dict[str, Any] = {**profile, "namespace": namespace}
    try:
        client = await Client.connect(**arguments)
        await prepare_namespace(client, namespace)
        info = await client.workflow_service.get_system_info(GetSystemInfoRequest())
    except (RPCError, RuntimeError) as error:
        address = arguments["target_host"]
        raise DependencyError(
            f"Temporal at {address} cannot be used (namespace {namespace}): {service_text(error)}"
        ) from error
    return info.server_version
