"""Connections, pool and migrations: the only module that opens connections.

Every session has limits (`SessionLimits`). A process that is frozen, or whose host is lost, holds its locks for as long
as its limits allow and no longer, and whoever waits for one of them waits as long as its own limits allow.
"""

import hashlib
import os
import re
import socket
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, LiteralString, cast

import psycopg
from pgvector.psycopg import register_vector
from psycopg.rows import class_row, scalar_row
from psycopg_pool import ConnectionPool

from corpus.advisory_lock import take_lock
from corpus.errors import (
    ConfigurationError,
    DatabaseRefusalError,
    DependencyError,
    LockWaitError,
)
from corpus.rows import Connection, fetch_all, fetch_one
from corpus.sql import query
from corpus.sqlstates import describe_error, is_transient, one_line, without_rows

# pgvector before 0.8.4 corrupts an HNSW index when rows are inserted beside vacuum, which is all that Freshet does.
MIN_PGVECTOR = (0, 8, 4)
_MIGRATION_LOCK = 0x66726573686574  # "freshet": one migrator at a time
MIGRATION_WAIT_SECONDS = 30  # for the migrator before
_POOL_TIMEOUT_SECONDS = 15
_RECONNECT_TIMEOUT_SECONDS = 86_400
_MAX_APPLICATION_NAME = 63  # bytes; PostgreSQL cuts a longer one


# ── limits of a session ─────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """How long a session may take, in seconds; PostgreSQL ends what takes longer. 0: no limit."""

    lock: int = 5  # waiting for one lock
    statement: int = 600
    # Doing nothing in an open transaction. PostgreSQL then closes the session, and its process can commit nothing.
    idle: int = 30


# Commands, light activities, preparing. The limits of the roles differ where the work does.
DEFAULT_LIMITS = SessionLimits()
# Answers that somebody waits for, and the consumer's positions.
SHORT_LIMITS = SessionLimits(statement=60)
# One statement may insert all chunks of a batch into the vector index.
STORER_LIMITS = SessionLimits(statement=3600)
# The claim on a shard's texts is a transaction that waits while the model computes.
EMBEDDER_LIMITS = SessionLimits(idle=600)
# Migrations and index builds take as long as they take; what they lock meanwhile is limited one by one.
MAINTENANCE_LIMITS = SessionLimits(lock=0, statement=0)

# A peer that does not answer is given up after 10 + 3 * 5 seconds without traffic, or 30 with unacknowledged data. Both
# ends do so: the client by libpq's parameters, the server by its settings, which a Unix socket ignores.
_KEEPALIVE_IDLE_SECONDS = 10
_KEEPALIVE_INTERVAL_SECONDS = 5
_KEEPALIVE_COUNT = 3
_TCP_USER_TIMEOUT_MS = 30_000


def _options(limits: SessionLimits) -> str:
    """The settings of a session, as the connection's `options`; they come before those of database and user."""
    settings = {
        "search_path": "freshet,public",
        "timezone": "UTC",
        "jit": "off",
        # Claims and fences look again after a lock: they must see what its former holder committed.
        "default_transaction_isolation": r"read\ committed",
        "lock_timeout": f"{limits.lock}s",
        "statement_timeout": f"{limits.statement}s",
        "idle_in_transaction_session_timeout": f"{limits.idle}s",
        "tcp_keepalives_idle": _KEEPALIVE_IDLE_SECONDS,
        "tcp_keepalives_interval": _KEEPALIVE_INTERVAL_SECONDS,
        "tcp_keepalives_count": _KEEPALIVE_COUNT,
        "tcp_user_timeout": _TCP_USER_TIMEOUT_MS,
    }
    return " ".join(f"-c {name}={value}" for name, value in settings.items())


# ── connections ─────────────────────────────────────────────────────────────────────────────────────────────────────


def connect(
    url: str,
    *,
    application: str = "freshet",
    autocommit: bool = True,
    limits: SessionLimits = DEFAULT_LIMITS,
) -> Connection:
    """Open one connection with its settings pinned and the vector type registered.

    Raises:
        DependencyError: PostgreSQL does not answer or refuses the connection.
    """
    try:
        connection = psycopg.connect(
            url, autocommit=autocommit, **_connection_arguments(application, limits)
        )
    except psycopg.OperationalError as error:
        raise DependencyError(
            f"PostgreSQL does not answer: {one_line(error)}. Is it running? See `freshet status`."
        ) from error
    _register_vector_type(connection)
    return connection


def open_pool(
    url: str,
    *,
    size: int,
    application: str = "freshet",
    limits: SessionLimits = DEFAULT_LIMITS,
) -> ConnectionPool[Connection]:
    """Open a pool of at most `size` connections.

    Broken connections are replaced, so that the pool survives a restart of PostgreSQL.
    """
    return ConnectionPool(
        url,
        min_size=1,
        max_size=size,
        kwargs={"autocommit": True, **_connection_arguments(application, limits)},
        configure=_register_vector_type,
        check=ConnectionPool.check_connection,
        timeout=_POOL_TIMEOUT_SECONDS,
        reconnect_timeout=_RECONNECT_TIMEOUT_SECONDS,
        open=True,
    )


def _connection_arguments(application: str, limits: SessionLimits) -> dict[str, Any]:
    return {
        "options": _options(limits),
        "application_name": _session_name(application),
        "connect_timeout": 10,
        "keepalives_idle": _KEEPALIVE_IDLE_SECONDS,
        "keepalives_interval": _KEEPALIVE_INTERVAL_SECONDS,
        "keepalives_count": _KEEPALIVE_COUNT,
        "tcp_user_timeout": _TCP_USER_TIMEOUT_MS,
    }


def _session_name(application: str) -> str:
    """The process behind a session, for whoever looks for the holder of a lock: `freshet-storer@host:pid`."""
    process = f":{os.getpid()}"
    host = f"{application}@{socket.gethostname()}"
    return host[: _MAX_APPLICATION_NAME - len(process)] + process


def _register_vector_type(connection: Connection) -> None:
    try:
        register_vector(connection)
    except psycopg.ProgrammingError:
        # The type does not exist before the first migration; migrate() creates it.
        if not connection.autocommit:
            connection.rollback()


# ── errors ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def database_errors_translated() -> Generator[None]:
    """Turn psycopg's errors into Freshet's.

    Raises:
        LockWaitError: another session holds a lock; a retry may help.
        DependencyError: the server does not answer, or lacks something for a while; a retry may help.
        DatabaseRefusalError: the server refuses the statement; a retry cannot help.
    """
    try:
        yield
    except psycopg.errors.LockNotAvailable as error:
        raise LockWaitError(
            f"PostgreSQL does not answer: {describe_error(error)}; `freshet doctor` shows who holds the lock"
        ) from error
    except psycopg.Error as error:
        if is_transient(error):
            raise DependencyError(
                f"PostgreSQL does not answer: {describe_error(error)}"
            ) from without_rows(error)
        raise DatabaseRefusalError(
            f"PostgreSQL refuses the statement: {describe_error(error)}"
        ) from without_rows(error)


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


def migrate(url: str, *, notify: Callable[[str], None] | None = None) -> list[str]:
    """Apply the migrations that are missing, each in its own transaction, one migrator at a time.

    A migration waits a few seconds for a lock on a table: what comes after it in the queue would wait as well.

    Args:
        url: connection string of the database.
        notify: called with a line if another migrator is waited for.

    Returns:
        Names of the migrations applied now.

    Raises:
        ConfigurationError: pgvector is missing or too old, an applied migration was changed, or the database is newer
            than this code.
        LockWaitError: another migrator took too long, or a migration did not get its locks; it changed nothing.
        DependencyError: PostgreSQL does not answer.
    """
    with connect(
        url, application="freshet-migrate", limits=MAINTENANCE_LIMITS
    ) as connection:
        take_lock(
            connection,
            _MIGRATION_LOCK,
            wanted="migrations",
            seconds=MIGRATION_WAIT_SECONDS,
            whole_session=True,
            notify=notify,
        )
        _ensure_pgvector(connection)
        connection.execute(query("create_migration_table"))
        applied = applied_migrations(connection)
        known = migrations()
        _check_history(applied, dict(known))
        missing = [(name, text) for name, text in known if name not in applied]
        for name, text in missing:
            _apply(connection, name, text)
        return [name for name, _ in missing]


def _apply(connection: Connection, name: str, text: str) -> None:
    seconds = DEFAULT_LIMITS.lock
    # What wants a table after a migration waits for as long as the migration waits.
    limit = {"limit": f"{seconds}s"}
    values = {"name": name, "sha256": _checksum(text)}
    try:
        with connection.transaction():
            connection.execute(query("limit_lock_waits"), limit)
            connection.execute(cast("LiteralString", text))
            connection.execute(query("record_migration"), values)
    except psycopg.errors.LockNotAvailable as error:
        raise LockWaitError(
            f"migration {name} did not get its locks within {seconds} s and changed nothing: "
            f"{describe_error(error)}. Run `freshet migrate` again when no long transaction is under way."
        ) from error


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
        expected = _checksum(known[name])
        if checksum != expected:
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
            f"pgvector is not available on this server: {one_line(error)}. Install pgvector 0.8.4 or newer."
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
