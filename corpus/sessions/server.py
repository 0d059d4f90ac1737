"""The servers that Freshet can use: what a server says of itself, and why one is refused, before anything is done.

Each refusal names what was observed, with its value, and what to change. `connect` makes those that concern every
session, `migrate` all of them, and `freshet doctor` shows each as a check.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from psycopg.rows import class_row, scalar_row

from corpus.errors import ConfigurationError, DependencyError, FreshetError
from corpus.sessions.rows import Connection, fetch_all, fetch_one
from corpus.sessions.settings import SETTINGS, pinned_names

# The oldest version that the tests of all migrations and one batch were run with.
MIN_POSTGRES = 15
# pgvector before 0.8.4 corrupts an HNSW index when rows are inserted beside vacuum, which is all that Freshet does.
MIN_PGVECTOR = (0, 8, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """What a server, its database and its user are (query `server_facts`)."""

    version: int  # as `server_version_num` has it
    backend_pid: int  # of the process that serves the session
    database: str  # names are quoted as identifiers
    user: str
    is_standby: bool
    is_read_only: bool
    read_only_by: str | None  # what sets it, in PostgreSQL's words
    encoding: str
    character_type: str
    has_schema: bool  # Freshet's
    may_create: bool  # schemas
    may_use_temporary: bool  # tables
    vector_schema: str | None  # None: the extension is not in the database
    vector_version: str | None
    may_use_vector: bool
    sees_sessions: bool  # what the sessions of other users do
    # Of those that sessions look up names in, one that every login may create objects in; None: there is none.
    schema_of_everybody: str | None = None
    # Observed by statements of their own.
    is_transaction_pooled: bool = False
    knows_letters: bool = True  # outside ASCII


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a server cannot be used.

    Attributes:
        observed: what it is, with the value.
        remedy: what to change.
        may_pass: it may end without a change, so a retry may help.
    """

    observed: str
    remedy: str
    may_pass: bool = False

    def error(self) -> FreshetError:
        """The refusal as an error."""
        message = f"{self.observed}. {self.remedy}"
        if self.may_pass:
            return DependencyError(message)
        return ConfigurationError(message)


def read_facts(connection: Connection) -> ServerFacts:
    """What every session needs to know; one statement."""
    facts = fetch_one(connection, class_row(ServerFacts), "server_facts")
    assert facts is not None
    return facts


def with_letters(connection: Connection, facts: ServerFacts) -> ServerFacts:
    """The facts, and whether text search knows letters outside ASCII."""
    if facts.encoding != "UTF8":
        return facts
    knows = fetch_one(connection, scalar_row, "knows_letters")
    return replace(facts, knows_letters=bool(knows))


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherSetting:
    """What a database, a user or a connection string says of a setting that sessions pin."""

    name: str
    value: str
    source: str  # in PostgreSQL's words: database, user, database user, client

    def describe(self) -> str:
        """One line for a person."""
        return f"{self.name} = {self.value} ({self.source})"


def other_settings(connection: Connection) -> list[OtherSetting]:
    """What sessions replace; the connection has pinned nothing yet."""
    values = {"names": [name.lower() for name in pinned_names()]}
    return fetch_all(connection, class_row(OtherSetting), "other_settings", values)


def unpinned_settings(connection: Connection) -> list[OtherSetting]:
    """What a session would pin and may not; the connection has pinned the others."""
    needed = [setting for setting in SETTINGS if setting.needs_right]
    values = {
        "names": [setting.name for setting in needed],
        "values": [setting.value for setting in needed],
    }
    factory = class_row(OtherSetting)
    return fetch_all(connection, factory, "unpinned_settings", values)


# ── refusals of every session ───────────────────────────────────────────────────────────────────────────────────────


def old_server(facts: ServerFacts) -> Refusal | None:
    """A version of PostgreSQL that Freshet was not tested with."""
    major, minor = divmod(facts.version, 10_000)
    if major >= MIN_POSTGRES:
        return None
    return Refusal(
        observed=f"PostgreSQL {major}.{minor} is older than {MIN_POSTGRES}",
        remedy=f"Upgrade the server to PostgreSQL {MIN_POSTGRES} or newer (`pg_upgrade`).",
    )


def transaction_pooler(facts: ServerFacts) -> Refusal | None:
    """A pooler that lends a session to one transaction at a time.

    Settings, temporary tables and locks of a session are then lost, or left to another client.
    """
    if not facts.is_transaction_pooled:
        return None
    return Refusal(
        observed=(
            "a pooler between Freshet and PostgreSQL lends a server's session to one transaction at a time "
            "(PgBouncer: `pool_mode = transaction` or `statement`)"
        ),
        remedy=(
            "Name PostgreSQL itself in FRESHET_DATABASE_URL, or a pool of whole sessions "
            "(`pool_mode = session`): locks, limits and temporary tables belong to a session."
        ),
    )


def standby(facts: ServerFacts) -> Refusal | None:
    """A server that copies another one."""
    if not facts.is_standby:
        return None
    return Refusal(
        observed="the server is a standby (pg_is_in_recovery), which can only be read",
        remedy=(
            "Name the primary in FRESHET_DATABASE_URL, or all servers: `host=one,two` finds the one that is the "
            "primary (`target_session_attrs=primary` is set where several are named)."
        ),
        may_pass=True,
    )


def primary(facts: ServerFacts) -> Refusal | None:
    """A server that is to be searched as a replica, and copies no other one."""
    if facts.is_standby:
        return None
    return Refusal(
        observed="the server is no standby (pg_is_in_recovery): it was promoted, or is another one",
        remedy="Name a standby of the primary in FRESHET_READ_REPLICA, or unset it.",
        may_pass=True,
    )


def read_only(facts: ServerFacts) -> Refusal | None:
    """A default that somebody has set against writing; providers set it when the disk is full."""
    if not facts.is_read_only or facts.is_standby:
        return None
    role, database = facts.user, facts.database
    return Refusal(
        observed=f"default_transaction_read_only is on (set by: {facts.read_only_by})",
        remedy=(
            "A provider sets it when the disk is full: free space first. Else "
            f"`SET default_transaction_read_only = off; ALTER ROLE {role} IN DATABASE {database} "
            "SET default_transaction_read_only = off`."
        ),
        may_pass=True,
    )


def hidden_vector(facts: ServerFacts) -> Refusal | None:
    """A schema of pgvector that the user may not use."""
    if facts.vector_schema is None or facts.may_use_vector:
        return None
    return Refusal(
        observed=f"user {facts.user} may not use schema {facts.vector_schema}, where the extension vector is",
        remedy=f"Its owner runs `GRANT USAGE ON SCHEMA {facts.vector_schema} TO {facts.user}`.",
    )


# ── refusals of a migration ─────────────────────────────────────────────────────────────────────────────────────────


def other_encoding(facts: ServerFacts) -> Refusal | None:
    """A database that cannot hold every character."""
    if facts.encoding == "UTF8":
        return None
    return Refusal(
        observed=f"the database's encoding is {facts.encoding}, not UTF8",
        remedy=f"{_NEW_DATABASE}.",
    )


_NEW_DATABASE = (
    "Make another database, `createdb -T template0 -E UTF8 --locale-provider=libc --lc-collate=C "
    "--lc-ctype=C.UTF-8 NEW`, and move what is there with `pg_dump OLD | psql NEW`; then `freshet migrate`"
)


def unknown_letters(facts: ServerFacts) -> Refusal | None:
    """A character type for which every character outside ASCII is a small letter, quotes and dashes included."""
    if facts.knows_letters:
        return None
    return Refusal(
        observed=(
            f"the database's character type is {facts.character_type}: text search does not find words beside quotes "
            "and dashes, nor capitals outside ASCII"
        ),
        remedy=(
            "Local stack: `freshet down`, then `freshet up` with a UTF-8 locale on the system. Another server: "
            f"{_NEW_DATABASE}."
        ),
    )


def missing_rights(facts: ServerFacts) -> Refusal | None:
    """A user that may not do what Freshet does."""
    wanted = {
        "CREATE": facts.may_create or facts.has_schema,
        "TEMPORARY": facts.may_use_temporary,
    }
    missing = ", ".join(right for right, granted in wanted.items() if not granted)
    if not missing:
        return None
    where = f"DATABASE {facts.database}"
    return Refusal(
        observed=f"user {facts.user} lacks rights on {where.lower()}: {missing}",
        remedy=f"Its owner runs `GRANT {missing} ON {where} TO {facts.user}`.",
    )


def open_schema(facts: ServerFacts) -> Refusal | None:
    """A schema in which any login can put a function that sessions take for one of PostgreSQL.

    So had `public` of databases that were made before PostgreSQL 15.
    """
    schema = facts.schema_of_everybody
    if schema is None:
        return None
    return Refusal(
        observed=(
            f"every login may create functions in schema {schema}, and Freshet's sessions would call them with their "
            "rights"
        ),
        remedy=f"Its owner runs `REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC`.",
    )


def unusable_pgvector(
    facts: ServerFacts, oldest: tuple[int, ...] = MIN_PGVECTOR
) -> Refusal | None:
    """An extension that is missing or too old."""
    if facts.vector_version is None:
        return missing_pgvector(facts, "the extension vector is not in the database")
    numbers = re.findall(r"\d+", facts.vector_version)
    version = tuple(int(number) for number in numbers[:3])
    if version >= oldest:
        return None
    return Refusal(
        observed=(
            f"pgvector {facts.vector_version} is too old: before 0.8.4, inserts beside vacuum can corrupt an index"
        ),
        remedy=(
            f"Install a newer one on the server, then its owner runs `ALTER EXTENSION vector UPDATE` in database "
            f"{facts.database}."
        ),
    )


def missing_pgvector(facts: ServerFacts, observed: str) -> Refusal:
    """How to install the extension where this user may not, or where the server does not have it."""
    return Refusal(
        observed=observed,
        remedy=(
            f"Install pgvector 0.8.4 or newer on the server; then an administrator runs `CREATE EXTENSION vector` in "
            f"database {facts.database}, in any schema that user {facts.user} may use, and you `freshet migrate`."
        ),
    )


Rule = Callable[[ServerFacts], Refusal | None]
EVERY_SESSION: tuple[Rule, ...] = (
    old_server,
    transaction_pooler,
    standby,
    read_only,
    hidden_vector,
)
# A standby can only be read, so its defaults against writing do not matter.
EVERY_REPLICA_SESSION: tuple[Rule, ...] = (
    old_server,
    transaction_pooler,
    primary,
    hidden_vector,
)
# Of a database that has no schema yet: the others have data, and a newer version must be able to serve it.
NEW_DATABASE: tuple[Rule, ...] = (other_encoding, unknown_letters)
EVERY_MIGRATION: tuple[Rule, ...] = (missing_rights, open_schema)


def require(facts: ServerFacts, rules: tuple[Rule, ...]) -> None:
    """Refuse a server for the first rule that does.

    Raises:
        ConfigurationError: it must be changed.
        DependencyError: the state may pass.
    """
    for rule in rules:
        refusal = rule(facts)
        if refusal is not None:
            raise refusal.error()
