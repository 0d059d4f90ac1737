"""Connections, pool and migrations: the only module that opens connections."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any, LiteralString, cast

import psycopg
from pgvector.psycopg import register_vector
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool

from corpus.errors import ConfigurationError, DatabaseRefusalError, DependencyError
from corpus.sql import query

Connection = psycopg.Connection[TupleRow]

# pgvector before 0.8.4 corrupts an HNSW index when inserts run beside vacuum, which is all that we do.
MIN_PGVECTOR = (0, 8, 4)
_MIGRATION_LOCK = 0x66726573686574  # "freshet": one migrator at a time
_OPTIONS = "-c search_path=freshet,public -c timezone=UTC -c jit=off"


def _connection_arguments(application: str) -> dict[str, Any]:
    return {
        "options": _OPTIONS,
        "application_name": application,
        "connect_timeout": 10,
        "keepalives_idle": 30,
    }


def connect(url: str, *, application: str = "freshet", autocommit: bool = True) -> Connection:
    """Open one connection that speaks vectors, with `search_path` pinned.

    Raises:
        DependencyError: PostgreSQL does not answer or refuses us.
    """
    try:
        connection = psycopg.connect(
            url, autocommit=autocommit, **_connection_arguments(application)
        )
    except psycopg.OperationalError as error:
        raise DependencyError(
            f"PostgreSQL does not answer: {_one_line(error)}. Is it running? See `freshet status`."
        ) from error
    _register(connection)
    return connection


def open_pool(url: str, *, size: int, application: str = "freshet") -> ConnectionPool[Connection]:
    """Open a pool of at most `size` connections; broken ones are replaced, so a restart of PostgreSQL is survived."""
    return ConnectionPool(
        url,
        min_size=1,
        max_size=size,
        kwargs={"autocommit": True, **_connection_arguments(application)},
        configure=_register,
        check=ConnectionPool.check_connection,
        timeout=15,
        reconnect_timeout=86_400,
        open=True,
    )


def _register(connection: Connection) -> None:
    try:
        register_vector(connection)
    except psycopg.ProgrammingError:
        # Before the first migration there is no vector type; migrate() makes it.
        if not connection.autocommit:
            connection.rollback()


# SQLSTATEs, or classes of them, that pass by themselves: connection, a server that only reads (a failover), login and database (a
# rotation, a restore), rolled back (deadlock), short of resources, not in the right state (a lock), stopped by an operator, the system.
_PASSING = ("08", "25006", "28", "3D", "40", "53", "55", "57", "58")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


@contextmanager
def database_errors_translated() -> Iterator[None]:
    """Turn psycopg's errors into ours: the server is away or short of something (again may help), or it refuses (it will not)."""
    try:
        yield
    except psycopg.Error as error:
        if _may_pass(error):
            raise DependencyError(f"PostgreSQL does not answer: {_one_line(error)}") from error
        raise DatabaseRefusalError(f"PostgreSQL refuses: {_one_line(error)}") from error


def _may_pass(error: psycopg.Error) -> bool:
    if (
        error.sqlstate is None
    ):  # no answer from the server; psycopg's own mistakes of use are ProgrammingErrors without a state
        return isinstance(error, psycopg.OperationalError)
    return error.sqlstate.startswith(_PASSING)


# ── migrations ──────────────────────────────────────────────────────────────────────────────────────────────────────


def migrations() -> list[tuple[str, str]]:
    """(name, text) of every migration, in order."""
    folder = files("corpus.sql").joinpath("migrations")
    names = sorted(
        entry.name
        for entry in folder.iterdir()
        if re.fullmatch(r"\d{4}_[a-z0-9_]+\.sql", entry.name)
    )
    return [(name, folder.joinpath(name).read_text(encoding="utf-8")) for name in names]


def applied_migrations(connection: Connection) -> dict[str, str]:
    """Name -> checksum of what the database has."""
    if connection.execute(query("migration_table_exists")).fetchone() == (None,):
        return {}
    return dict(connection.execute(query("migrations_applied")).fetchall())  # type: ignore[arg-type]


def migrate(url: str) -> list[str]:
    """Apply what is missing, each migration in its own transaction, one migrator at a time.

    Returns:
        Names of the migrations applied now.

    Raises:
        ConfigurationError: pgvector is missing or too old, an applied migration was changed, or the database is newer
            than this code.
        DependencyError: PostgreSQL does not answer.
    """
    with connect(url, application="freshet-migrate") as connection:
        connection.execute(query("migration_lock"), {"key": _MIGRATION_LOCK})
        _ensure_pgvector(connection)
        connection.execute(query("create_migration_table"))
        have = applied_migrations(connection)
        known = migrations()
        _check_history(have, known)
        done: list[str] = []
        for name, text in known:
            if name in have:
                continue
            with connection.transaction():
                connection.execute(cast("LiteralString", text))
                connection.execute(
                    query("record_migration"), {"name": name, "sha256": _checksum(text)}
                )
            done.append(name)
        return done


def _check_history(have: dict[str, str], known: list[tuple[str, str]]) -> None:
    texts = dict(known)
    for name, checksum in have.items():
        if name not in texts:
            raise ConfigurationError(
                f"the database has migration {name}, this code does not: run the newer version of Freshet"
            )
        if _checksum(texts[name]) != checksum:
            raise ConfigurationError(
                f"migration {name} was changed after it was applied: restore its text and add a new one"
            )


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _ensure_pgvector(connection: Connection) -> None:
    try:
        connection.execute(query("create_pgvector"))
    except psycopg.Error as error:
        raise ConfigurationError(
            f"pgvector cannot be had on this server: {_one_line(error)}. Install pgvector 0.8.4 or newer."
        ) from error
    row = connection.execute(query("pgvector_version")).fetchone()
    assert row is not None
    version = tuple(int(part) for part in re.findall(r"\d+", row[0])[:3])
    if version < MIN_PGVECTOR:
        raise ConfigurationError(
            f"pgvector {row[0]} is too old: before 0.8.4 an index can be corrupted by inserts beside vacuum. "
            "Install a newer one and run ALTER EXTENSION vector UPDATE."
        )
    register_vector(connection)
