"""Connections, pool and migrations: the only module that opens connections for others.

Every session has limits and pinned settings (`corpus/sessions/settings.py`), and goes to a server that Freshet can use
(`corpus/sessions/server.py`). A process that is frozen, or whose host is lost, holds its locks for as long as its
limits allow and no longer, and whoever waits for one of them waits as long as its own limits allow.
"""

import hashlib
import os
import re
import socket
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, LiteralString, cast

import psycopg
from pgvector.psycopg import register_vector
from psycopg.rows import class_row, scalar_row
from psycopg_pool import ConnectionPool

from corpus.disclosure.error_text import public_text
from corpus.disclosure.secret import Secret, revealed
from corpus.errors import (
    ConfigurationError,
    DatabaseRefusalError,
    DependencyError,
    FreshetError,
    LockWaitError,
)
from corpus.sessions.access_lists import fill_access_lists
from corpus.sessions.advisory_lock import take_lock
from corpus.sessions.opening import connection_arguments, observe, open_unchecked
from corpus.sessions.pool import Pool
from corpus.sessions.roles import ensure_roles, secure, secure_functions
from corpus.sessions.rows import Connection, fetch_all, fetch_one
from corpus.sessions.server import (
    EVERY_MIGRATION,
    EVERY_SESSION,
    MIN_PGVECTOR,
    NEW_DATABASE,
    Rule,
    ServerFacts,
    missing_pgvector,
    read_facts,
    require,
    unusable_pgvector,
    with_letters,
)
from corpus.sessions.settings import LIMITS, settings_of
from corpus.sql import query
from corpus.sqlstates import is_transient, without_rows

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


# ── connections ─────────────────────────────────────────────────────────────────────────────────────────────────────


def connect(
    url: str | Secret,
    *,
    application: str = "freshet",
    autocommit: bool = True,
    limits: SessionLimits = DEFAULT_LIMITS,
    rules: tuple[Rule, ...] = EVERY_SESSION,
) -> Connection:
    """Open one connection with its settings pinned and the vector type registered.

    Args:
        url: connection string.
        application: that is shown beside the session.
        autocommit: whether each statement is a transaction.
        limits: of the session.
        rules: which servers are refused; `EVERY_REPLICA_SESSION` for a standby that is searched.

    Raises:
        DependencyError: PostgreSQL does not answer, refuses the connection, or can only be read for now.
        ConfigurationError: Freshet cannot use this server; nothing was done.
    """
    connection, facts = open_unchecked(url, session_name=_session_name(application))
    try:
        with database_errors_translated():
            require(facts, rules)
            _pin_settings(connection, facts, limits)
        connection.autocommit = autocommit
    except BaseException:
        connection.close()
        raise
    return connection


def _pin_settings(
    connection: Connection, facts: ServerFacts, limits: SessionLimits
) -> None:
    vector_schema = facts.vector_schema or "public"
    seconds = (limits.lock, limits.statement, limits.idle)
    limited: dict[str, int] = dict(zip(LIMITS, seconds, strict=True))
    settings = list(settings_of(limited, vector_schema, facts.version))
    values = {
        "names": [setting.name for setting in settings],
        "values": [setting.value for setting in settings],
        "instead_of": [setting.instead_of for setting in settings],
        "needs_right": [setting.needs_right for setting in settings],
    }
    connection.execute(query("pin_settings"), values)
    if facts.vector_schema is not None:  # else `migrate` installs the extension
        register_vector(connection)


def open_pool(
    url: str | Secret,
    *,
    size: int,
    application: str = "freshet",
    limits: SessionLimits = DEFAULT_LIMITS,
    rules: tuple[Rule, ...] = EVERY_SESSION,
) -> ConnectionPool[Connection]:
    """Open a pool of at most `size` connections.

    Broken connections are replaced, so that the pool survives a restart of PostgreSQL. `rules` as for `connect`.

    Raises:
        ConfigurationError: Freshet cannot use this server. One that does not answer is waited for.
    """
    arguments = connection_arguments(revealed(url), _session_name(application))

    def prepare(connection: Connection) -> None:
        try:
            facts = observe(connection, revealed(url), arguments)
            require(facts, rules)
            _pin_settings(connection, facts, limits)
        except FreshetError as error:
            pool.refusal = error
            raise
        pool.refusal = None

    pool = Pool(
        lambda: revealed(url),  # read again for each connection: a password is rotated
        min_size=1,
        max_size=size,
        kwargs={"autocommit": True, **arguments},
        configure=prepare,
        check=ConnectionPool.check_connection,
        timeout=_POOL_TIMEOUT_SECONDS,
        reconnect_timeout=_RECONNECT_TIMEOUT_SECONDS,
        open=False,
    )
    _require_usable(url, application, rules)
    pool.open()
    return pool


def _require_usable(
    url: str | Secret, application: str, rules: tuple[Rule, ...]
) -> None:
    with suppress(DependencyError):
        connection, facts = open_unchecked(url, session_name=_session_name(application))
        with connection:
            require(facts, rules)


def _session_name(application: str) -> str:
    """The process behind a session, for whoever looks for the holder of a lock: `freshet-storer@host:pid`."""
    process = f":{os.getpid()}"
    host = f"{application}@{socket.gethostname()}"
    return host[: _MAX_APPLICATION_NAME - len(process)] + process


# ── statements that a query makes ───────────────────────────────────────────────────────────────────────────────────


def execute_made(
    connection: Connection, name: str, values: Mapping[str, Any] | None = None
) -> None:
    """Execute the statement that a named query makes: names and expressions of an index cannot be parameters."""
    text = fetch_one(connection, scalar_row, name, values)
    assert text is not None, f"query {name} made no statement"
    connection.execute(cast("LiteralString", text))


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
            f"PostgreSQL does not answer: {public_text(error)}; `freshet doctor` shows who holds the lock"
        ) from error
    except psycopg.Error as error:
        if is_transient(error):
            raise DependencyError(
                f"PostgreSQL does not answer: {public_text(error)}"
            ) from without_rows(error)
        raise DatabaseRefusalError(
            f"PostgreSQL refuses the statement: {public_text(error)}"
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


def migrate(
    url: str | Secret, *, notify: Callable[[str], None] | None = None
) -> list[str]:
    """Apply the migrations that are missing, each in its own transaction, one migrator at a time.

    A migration waits a few seconds for a lock on a table: what comes after it in the queue would wait as well.

    Args:
        url: connection string of the database.
        notify: called with a line if another migrator is waited for.

    Returns:
        Names of the migrations applied now.

    Raises:
        ConfigurationError: Freshet cannot use this server, roles are missing that this user may not make, an applied
            migration was changed, or the database is newer than this code; nothing was done.
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
        _require_migratable(connection)
        connection.execute(query("create_migration_table"))
        applied = applied_migrations(connection)
        known = migrations()
        _check_history(applied, dict(known))
        ensure_roles(connection)
        missing = [(name, text) for name, text in known if name not in applied]
        for name, text in missing:
            _apply(connection, name, text)
        if fetch_one(connection, scalar_row, "can_be_secured"):
            fill_access_lists(connection)
        with _lock_waits_explained("row-level security is not complete: a table"):
            secure(connection, lock_seconds=DEFAULT_LIMITS.lock)
        return [name for name, _ in missing]


def _require_migratable(connection: Connection) -> None:
    """Look at everything that a migration may need, before the first one."""
    facts = with_letters(connection, read_facts(connection))
    if not facts.has_schema:
        require(facts, NEW_DATABASE)
    require(facts, EVERY_MIGRATION)
    _ensure_pgvector(connection, facts)


def _apply(connection: Connection, name: str, text: str) -> None:
    seconds = DEFAULT_LIMITS.lock
    # What wants a table after a migration waits for as long as the migration waits.
    limit = {"limit": f"{seconds}s"}
    values = {"name": name, "sha256": _checksum(text)}
    with _lock_waits_explained(f"migration {name} changed nothing: it"):
        for is_last in (False, False, False, False, True):
            try:
                with connection.transaction():
                    connection.execute(query("limit_lock_waits"), limit)
                    connection.execute(cast("LiteralString", text))
                    connection.execute(query("record_migration"), values)
                    secure_functions(connection)
                return
            except psycopg.errors.DeadlockDetected:
                # Writers lock tables in another order, and the server ends one of the two.
                if is_last:
                    raise


@contextmanager
def _lock_waits_explained(what: str) -> Generator[None]:
    """Say what did not get its locks in time, and what to do.

    Raises:
        LockWaitError: a statement inside waited too long.
    """
    try:
        yield
    except (
        psycopg.errors.LockNotAvailable,
        psycopg.errors.DeadlockDetected,
    ) as error:
        raise LockWaitError(
            f"{what} did not get its locks within {DEFAULT_LIMITS.lock} s: {public_text(error)}. "
            "Run `freshet migrate` again when no long transaction is under way."
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


def _ensure_pgvector(connection: Connection, facts: ServerFacts) -> None:
    """Install the extension where it is missing, and load it."""
    if facts.vector_version is None:
        try:
            connection.execute(query("create_pgvector"))
        except psycopg.Error as error:
            observed = f"the extension vector cannot be installed: {public_text(error)}"
            raise missing_pgvector(facts, observed).error() from error
        facts = read_facts(connection)
        register_vector(connection)
    refusal = unusable_pgvector(facts, MIN_PGVECTOR)
    if refusal is not None:
        raise refusal.error()
    connection.execute(query("load_pgvector"))
