"""Checks of `freshet doctor` on the PostgreSQL server: each thing that Freshet relies on, and what to change."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from compose.local.checks import Check, CheckFailedError

if TYPE_CHECKING:
    from corpus.database import Connection
    from corpus.disclosure.secret import Secret
    from corpus.sessions.server import Rule, ServerFacts

_APPLICATION = "freshet-doctor"


def _facts(home: Path) -> "ServerFacts":
    """What the server is, also where Freshet could not use it."""
    from corpus.sessions.opening import open_unchecked
    from corpus.sessions.server import with_letters
    from workers.config.settings import load

    url = load(home).database_url
    connection, facts = open_unchecked(url, session_name=_APPLICATION)
    with connection:
        return with_letters(connection, facts)


def _refuse(facts: "ServerFacts", rule: "Rule") -> None:
    refusal = rule(facts)
    if refusal is not None:
        raise CheckFailedError(refusal.observed, refusal.remedy)


def _postgres(home: Path) -> str:
    from corpus.sessions.server import old_server

    facts = _facts(home)
    _refuse(facts, old_server)
    major, minor = divmod(facts.version, 10_000)
    return f"{major}.{minor}"


def _sessions(home: Path) -> str:
    from corpus.sessions.server import transaction_pooler

    _refuse(_facts(home), transaction_pooler)
    return "a client keeps its own"


def _primary(home: Path) -> str:
    from corpus.sessions.server import standby

    _refuse(_facts(home), standby)
    return "not a standby"


def _writing(home: Path) -> str:
    from corpus.sessions.server import read_only

    _refuse(_facts(home), read_only)
    return "allowed"


def _encoding(home: Path) -> str:
    from corpus.sessions.server import other_encoding

    facts = _facts(home)
    _refuse(facts, other_encoding)
    return facts.encoding


def _character_type(home: Path) -> str:
    from corpus.sessions.server import unknown_letters

    facts = _facts(home)
    _refuse(facts, unknown_letters)
    return facts.character_type


def _rights(home: Path) -> str:
    from corpus.sessions.server import hidden_vector, missing_rights, open_schema

    facts = _facts(home)
    for rule in (missing_rights, hidden_vector, open_schema):
        _refuse(facts, rule)
    if facts.sees_sessions:
        return f"user {facts.user} has all that are needed"
    return (
        f"user {facts.user} has all that are needed; the check of locks does not see what sessions of other users do "
        f"(`GRANT pg_read_all_stats TO {facts.user}`)"
    )


def _pgvector(home: Path) -> str:
    from corpus.sessions.server import unusable_pgvector

    facts = _facts(home)
    _refuse(facts, unusable_pgvector)
    return f"{facts.vector_version} in schema {facts.vector_schema}"


def _settings(home: Path) -> str:
    """A session has Freshet's settings; what server, database and user say otherwise is shown."""
    from corpus.database import connect
    from corpus.sessions.opening import open_unchecked
    from corpus.sessions.server import other_settings, unpinned_settings
    from workers.config.settings import load

    url = load(home).database_url
    unchecked, _ = open_unchecked(url, session_name=_APPLICATION)
    with unchecked:
        others = other_settings(unchecked)
    with connect(url, application=_APPLICATION) as connection:
        unpinned = unpinned_settings(connection)
    observed = "pinned in each session"
    if others:
        shown = ", ".join(other.describe() for other in others)
        observed += f", over {shown}"
    if unpinned:
        shown = ", ".join(setting.describe() for setting in unpinned)
        names = ", ".join(setting.name for setting in unpinned)
        observed += (
            f"; but the server's log may hold text of rows: {shown}; let an administrator change it in "
            f"postgresql.conf, or `GRANT SET ON PARAMETER {names} TO` this user"
        )
    return observed


def _replica(home: Path) -> str:
    """The standby that searches read: it answers, copies this primary with all migrations, and is not far behind."""
    from corpus.database import applied_migrations, connect, database_errors_translated
    from corpus.sessions.server import EVERY_REPLICA_SESSION
    from workers.calls.one_search import is_within, lag_now
    from workers.config.replica import replica_url
    from workers.config.settings import load

    settings = load(home)
    url = replica_url(settings, settings.database_url)
    if url is None:
        return "searches read the primary (FRESHET_READ_REPLICA is not set)"
    with (
        connect(settings.database_url, application=_APPLICATION) as primary,
        connect(url, application=_APPLICATION, rules=EVERY_REPLICA_SESSION) as replica,
        database_errors_translated(),
    ):
        lag = lag_now(primary, replica)
        if not is_within(lag, settings.read_replica_max_lag):
            raise CheckFailedError(
                f"it is {lag.describe()}; at most {settings.read_replica_max_lag} s are allowed, so the primary answers"
            )
        lacking = applied_migrations(primary).keys() - applied_migrations(replica)
        if lacking:
            raise CheckFailedError(f"it lacks the migration {min(lacking)}")
        servers = _servers_behind(url)
        if len(servers) > 1:
            raise CheckFailedError(
                f"{len(servers)} servers answer at its address: one may tell a wait that it is over, and another be "
                "searched that has not replayed as much",
                "name one standby in FRESHET_READ_REPLICA, not a balanced address",
            )
        delays = _replay_settings(replica, settings.read_replica_max_lag)
    return f"{settings.read_replica}: same server, same migrations, {lag.describe()}; {delays}"


_LOOKS_AT_ADDRESS = 4  # a balancer that takes servers in turn shows two of them


def _servers_behind(url: "Secret") -> set[tuple[object, ...]]:
    """The servers that sessions of one address came to: by address, port and start."""
    from corpus.database import connect
    from corpus.sessions.server import EVERY_REPLICA_SESSION

    servers: set[tuple[object, ...]] = set()
    for _ in range(_LOOKS_AT_ADDRESS):
        with connect(
            url, application=_APPLICATION, rules=EVERY_REPLICA_SESSION
        ) as session:
            settings = _settings_of(session)
            servers.add((settings.address, settings.port, settings.started_at))
    return servers


def _settings_of(replica: "Connection") -> "ReplicaSettingsRow":
    from psycopg.rows import class_row

    from corpus.database import fetch_one

    settings = fetch_one(replica, class_row(ReplicaSettingsRow), "replica_settings")
    assert settings is not None
    return settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSettingsRow:
    """A row of the query `replica_settings`."""

    has_feedback: bool
    delay_ms: int  # -1: without bound
    started_at: datetime
    address: str | None
    port: int | None


def _replay_settings(replica: "Connection", max_lag: int) -> str:
    """How the standby settles a conflict between a query and what it replays, and what that means for searches."""
    settings = _settings_of(replica)
    delay = f"at most {settings.delay_ms / 1000:g} s"
    if settings.delay_ms < 0:
        delay = "any time"
    feedback = "on" if settings.has_feedback else "off"
    stated = f"hot_standby_feedback = {feedback}, a query holds up replay for {delay}"
    if settings.delay_ms < 0 or settings.delay_ms > max_lag * 1000:
        stated += (
            " (max_standby_streaming_delay): a long query of another client there lets it fall behind, and the primary "
            "answers"
        )
    return stated


SERVER_CHECKS = (
    Check(
        "postgres",
        _postgres,
        "`freshet up`, or check FRESHET_DATABASE_URL, FRESHET_DATABASE_PASSWORD / PG*",
    ),
    Check(
        "whole sessions",
        _sessions,
        "name PostgreSQL itself in FRESHET_DATABASE_URL, or a pool with `pool_mode = session`",
    ),
    Check("primary", _primary, "name the primary in FRESHET_DATABASE_URL"),
    Check(
        "writing",
        _writing,
        "free space on the server, or `ALTER ROLE USER SET default_transaction_read_only = off`",
    ),
    Check("encoding", _encoding, "move to a database with `createdb -E UTF8`"),
    Check(
        "character type",
        _character_type,
        "move to a database with `createdb --lc-ctype=C.UTF-8`",
    ),
    Check("rights", _rights, "`GRANT` what is missing to the user"),
    Check(
        "pgvector",
        _pgvector,
        "install pgvector 0.8.4 or newer, then `ALTER EXTENSION vector UPDATE`",
    ),
)
# What every session must have; the database's own checks are left out where no session can be had.
SESSION_CHECK = Check(
    "settings", _settings, "change what the checks before this one name"
)
REPLICA_CHECK = Check(
    "replica",
    _replica,
    "see that it runs and streams (`SELECT * FROM pg_stat_replication` on the primary), or unset FRESHET_READ_REPLICA",
)
