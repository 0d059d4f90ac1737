"""Opening a connection to any server, and asking what it is."""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import scalar_row

from corpus.disclosure.error_text import public_text
from corpus.disclosure.secret import Secret, revealed
from corpus.errors import DependencyError
from corpus.sessions.rows import Connection, fetch_one
from corpus.sessions.server import ServerFacts, read_facts
from corpus.sessions.settings import (
    KEEPALIVE_COUNT,
    KEEPALIVE_IDLE_SECONDS,
    KEEPALIVE_INTERVAL_SECONDS,
    TCP_USER_TIMEOUT_MS,
)

# Connection strings by which this process has reached PostgreSQL itself.
_DIRECT: set[str] = set()


def open_unchecked(
    url: str | Secret, *, session_name: str
) -> tuple[Connection, ServerFacts]:
    """Open a connection to any server, and ask what it is.

    Raises:
        DependencyError: PostgreSQL does not answer or refuses the connection.
    """
    text = revealed(url)
    arguments = connection_arguments(text, session_name)
    try:
        connection = psycopg.connect(text, autocommit=True, **arguments)
        try:
            return connection, observe(connection, text, arguments)
        except BaseException:
            connection.close()
            raise
    except psycopg.OperationalError as error:
        raise DependencyError(
            f"PostgreSQL does not answer: {public_text(error)}. Is it running? See `freshet status`."
        ) from error


def observe(
    connection: Connection, url: str, arguments: Mapping[str, Any]
) -> ServerFacts:
    """Ask what serves a connection, and whether a pooler is between.

    Args:
        connection: not in a transaction.
        url: its connection string.
        arguments: those that it was opened with.
    """
    facts = read_facts(connection)
    # A pooler gives each client a number of its own, or that of the session which it lends first.
    seems_direct = facts.backend_pid == connection.info.backend_pid
    if seems_direct and url in _DIRECT:
        return facts
    pooled = _is_transaction_pooled(connection, url, arguments)
    if seems_direct and not pooled:
        _DIRECT.add(url)
    return replace(facts, is_transaction_pooled=pooled)


def _is_transaction_pooled(
    connection: Connection, url: str, arguments: Mapping[str, Any]
) -> bool:
    """Whether a second client gets the same session of the server, or the first one gets another one meanwhile."""
    first = fetch_one(connection, scalar_row, "backend_pid")
    with psycopg.connect(url, autocommit=True, **arguments) as other:
        try:
            with other.transaction():
                lent = fetch_one(other, scalar_row, "backend_pid")
                if lent == first:
                    return True
                return fetch_one(connection, scalar_row, "backend_pid") != first
        except psycopg.errors.ProtocolViolation:
            # `pool_mode = statement` knows no transaction.
            return True


def connection_arguments(url: str, session_name: str) -> dict[str, Any]:
    """What a connection is opened with besides its connection string, which keeps its own `options`."""
    arguments: dict[str, Any] = {
        "application_name": session_name,
        "client_encoding": "UTF8",  # else texts of a database without an encoding are bytes
        "connect_timeout": 10,
        "keepalives_idle": KEEPALIVE_IDLE_SECONDS,
        "keepalives_interval": KEEPALIVE_INTERVAL_SECONDS,
        "keepalives_count": KEEPALIVE_COUNT,
        "tcp_user_timeout": TCP_USER_TIMEOUT_MS,
    }
    if _names_several_hosts(url):
        arguments["target_session_attrs"] = "primary"
    return arguments


def _names_several_hosts(url: str) -> bool:
    """Whether a connection string lists servers, and leaves open which of them is meant."""
    try:
        stated = conninfo_to_dict(url)
    except psycopg.Error:
        return False  # the connection says what is wrong with it
    hosts = stated.get("host") or os.environ.get("PGHOST", "")
    chosen = stated.get("target_session_attrs") or os.environ.get(
        "PGTARGETSESSIONATTRS"
    )
    return "," in str(hosts) and chosen is None
