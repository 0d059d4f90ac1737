"""Connections, pool, rows and migrations: the only module that opens connections."""

import hashlib
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, LiteralString, TypeVar, cast

import psycopg
from pgvector.psycopg import register_vector
from psycopg.rows import BaseRowFactory, TupleRow, class_row, scalar_row
from psycopg_pool import ConnectionPool

from corpus.errors import ConfigurationError, DatabaseRefusalError, DependencyError
from corpus.sql import query

Connection = psycopg.Connection[TupleRow]
Row = TypeVar("Row")

# pgvector before 0.8.4 corrupts an HNSW index when rows are inserted beside vacuum, which is all that Freshet does.
MIN_PGVECTOR = (0, 8, 4)
_MIGRATION_LOCK = 0x66726573686574  # "freshet": one migrator at a time
_OPTIONS = "-c search_path=freshet,public -c timezone=UTC -c jit=off"
_POOL_TIMEOUT_SECONDS = 15
_RECONNECT_TIMEOUT_SECONDS = 86_400


# ── connections ─────────────────────────────────────────────────────────────────────────────────────────────────────


def connect(
    url: str, *, application: str = "freshet", autocommit: bool = True
) -> Connection:
    """Open one connection with `search_path` pinned and the vector type registered.

    Raises:
        DependencyError: PostgreSQL does not answer or refuses the connection.
    """
    try:
        connection = psycopg.connect(
            url, autocommit=autocommit, **_connection_arguments(application)
        )
    except psycopg.OperationalError as error:
        raise DependencyError(
            f"PostgreSQL does not answer: {_one_line(error)}. Is it running? See `freshet status`."
        ) from error
    _register_vector_type(connection)
    return connection


def open_pool(
    url: str, *, size: int, application: str = "freshet"
) -> ConnectionPool[Connection]:
    """Open a pool of at most `size` connections.

    Broken connections are replaced, so that the pool survives a restart of PostgreSQL.
    """
    return ConnectionPool(
        url,
        min_size=1,
        max_size=size,
        kwargs={"autocommit": True, **_connection_arguments(application)},
        configure=_register_vector_type,
        check=ConnectionPool.check_connection,
        timeout=_POOL_TIMEOUT_SECONDS,
        reconnect_timeout=_RECONNECT_TIMEOUT_SECONDS,
        open=True,
    )


def _connection_arguments(application: str) -> dict[str, Any]:
    return {
        "options": _OPTIONS,
        "application_name": application,
        "connect_timeout": 10,
        "keepalives_idle": 30,
    }


def _register_vector_type(connection: Connection) -> None:
    try:
        register_vector(connection)
    except psycopg.ProgrammingError:
        # The type does not exist before the first migration; migrate() creates it.
        if not connection.autocommit:
            connection.rollback()


# ── rows ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def fetch_one(
    connection: Connection,
    factory: BaseRowFactory[Row],
    name: str,
    values: Mapping[str, Any] | None = None,
) -> Row | None:
    """Execute a named query and return its first row, or None.

    Args:
        connection: any; its own row factory is not used.
        factory: makes a row: `class_row(SomeDataclass)`, `namedtuple_row`, `scalar_row`; see `psycopg.rows`.
        name: of the query.
        values: of its parameters.
    """
    with connection.cursor(row_factory=factory) as cursor:
        return cursor.execute(query(name), values).fetchone()


def fetch_all(
    connection: Connection,
    factory: BaseRowFactory[Row],
    name: str,
    values: Mapping[str, Any] | None = None,
) -> list[Row]:
    """Execute a named query and return all of its rows; the arguments are those of `fetch_one`."""
    with connection.cursor(row_factory=factory) as cursor:
        return cursor.execute(query(name), values).fetchall()


# ── errors ──────────────────────────────────────────────────────────────────────────────────────────────────────────

# SQLSTATEs, or classes of them, of conditions that end without a change to the statement.
_TRANSIENT_STATES = (
    "08",  # connection
    "25006",  # the server is read-only: a failover
    "28",  # login: a password is being rotated
    "3D",  # database: it is being restored
    "40",  # rolled back: a deadlock
    "53",  # short of resources
    "55",  # not in the required state: a lock
    "57",  # stopped by an operator
    "58",  # the operating system
)


@contextmanager
def database_errors_translated() -> Generator[None]:
    """Turn psycopg's errors into Freshet's.

    Raises:
        DependencyError: the server does not answer, or lacks something for a while; a retry may help.
        DatabaseRefusalError: the server refuses the statement; a retry cannot help.
    """
    try:
        yield
    except psycopg.Error as error:
        if _is_transient(error):
            raise DependencyError(
                f"PostgreSQL does not answer: {_one_line(error)}"
            ) from error
        raise DatabaseRefusalError(
            f"PostgreSQL refuses the statement: {_one_line(error)}"
        ) from error


def _is_transient(error: psycopg.Error) -> bool:
    if error.sqlstate is not None:
        return error.sqlstate.startswith(_TRANSIENT_STATES)
    # Without a state, the error is not from the server: an OperationalError says that the connection failed, a
    # ProgrammingError that psycopg was called wrongly.
    return isinstance(error, psycopg.OperationalError)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


# ── migrations ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class AppliedMigration:
    """A row of `freshet.migration`."""

    name: str
    sha256: str  # of the migration's text, hex


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
    """Name -> checksum of the migrations that the database has."""
    if not fetch_one(connection, scalar_row, "migration_table_exists"):
        return {}
    applied = fetch_all(connection, class_row(AppliedMigration), "migrations_applied")
    return {migration.name: migration.sha256 for migration in applied}


def migrate(url: str) -> list[str]:
    """Apply the migrations that are missing, each in its own transaction, one migrator at a time.

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
        applied = applied_migrations(connection)
        known = migrations()
        _check_history(applied, dict(known))
        missing = [(name, text) for name, text in known if name not in applied]
        for name, text in missing:
            with connection.transaction():
                connection.execute(cast("LiteralString", text))
                connection.execute(
                    query("record_migration"), {"name": name, "sha256": _checksum(text)}
                )
        return [name for name, _ in missing]


def _check_history(applied: Mapping[str, str], known: Mapping[str, str]) -> None:
    """Compare the checksums of the applied migrations with the texts of this code.

    Raises:
        ConfigurationError: the database has a migration that this code does not know, or knows with another text.
    """
    for name, checksum in applied.items():
        if name not in known:
            raise ConfigurationError(
                f"the database has migration {name}, this code does not: run the newer version of Freshet"
            )
        if _checksum(known[name]) != checksum:
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
            f"pgvector is not available on this server: {_one_line(error)}. Install pgvector 0.8.4 or newer."
        ) from error
    installed: str | None = fetch_one(connection, scalar_row, "pgvector_version")
    assert installed is not None
    version = tuple(int(part) for part in re.findall(r"\d+", installed)[:3])
    if version < MIN_PGVECTOR:
        raise ConfigurationError(
            f"pgvector {installed} is too old: before 0.8.4, inserts beside vacuum can corrupt an index. "
            "Install a newer one and run ALTER EXTENSION vector UPDATE."
        )
    register_vector(connection)
