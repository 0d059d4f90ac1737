"""Checks of `freshet doctor` on the PostgreSQL server: each thing that Freshet relies on, and what to change."""

from pathlib import Path
from typing import TYPE_CHECKING

from compose.local.checks import Check, CheckFailedError

if TYPE_CHECKING:
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
