"""What `freshet doctor` says of servers that Freshet cannot use: each check fails with what to change."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compose.local import server_checks
from compose.local.checks import CheckResult, make_check
from compose.local.server_checks import SERVER_CHECKS
from corpus.sessions.server import ServerFacts

CHECKS = {check.name: check for check in SERVER_CHECKS}
USABLE = ServerFacts(
    version=18_00_04,
    backend_pid=7,
    database="corpus",
    user="app",
    is_standby=False,
    is_read_only=False,
    read_only_by=None,
    encoding="UTF8",
    character_type="C.UTF-8",
    has_schema=False,
    may_create=True,
    may_use_temporary=True,
    vector_schema="public",
    vector_version="0.8.5",
    may_use_vector=True,
    sees_sessions=True,
)
# Check, what is otherwise, what is observed, what to do.
REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    ("postgres", {"version": 14_00_20}, "PostgreSQL 14.20 is older than 15", "pg_upgrade"),
    (
        "whole sessions",
        {"is_transaction_pooled": True},
        "pool_mode = transaction",
        "pool_mode = session",
    ),
    ("primary", {"is_standby": True}, "standby", "target_session_attrs"),
    (
        "writing",
        {"is_read_only": True, "read_only_by": "user"},
        "default_transaction_read_only is on (set by: user)",
        "ALTER ROLE app IN DATABASE corpus SET default_transaction_read_only = off",
    ),
    ("encoding", {"encoding": "LATIN1"}, "LATIN1, not UTF8", "createdb -T template0 -E UTF8"),
    (
        "character type",
        {"character_type": "C", "knows_letters": False},
        "type is C: text search does not find words beside quotes",
        "--lc-ctype=C.UTF-8",
    ),
    (
        "rights",
        {"may_create": False, "may_use_temporary": False},
        "user app lacks rights on database corpus: CREATE, TEMPORARY",
        "GRANT CREATE, TEMPORARY ON DATABASE corpus TO app",
    ),
    (
        "rights",
        {"vector_schema": "extensions", "may_use_vector": False},
        "user app may not use schema extensions",
        "GRANT USAGE ON SCHEMA extensions TO app",
    ),
    (
        "rights",
        {"schema_of_everybody": "public"},
        "every login may create functions in schema public",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    ),
    (
        "pgvector",
        {"vector_schema": None, "vector_version": None},
        "not in the database",
        "`CREATE EXTENSION vector` in database corpus",
    ),
    ("pgvector", {"vector_version": "0.8.3"}, "0.8.3 is too old", "ALTER EXTENSION vector UPDATE"),
    ("pgvector", {"vector_version": "0.7"}, "0.7 is too old", "ALTER EXTENSION vector UPDATE"),
]


@pytest.mark.parametrize(("name", "facts", "observed", "remedy"), REFUSED)
def test_a_server_that_freshet_cannot_use(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    facts: dict[str, Any],
    observed: str,
    remedy: str,
) -> None:
    monkeypatch.setattr(server_checks, "_facts", lambda _: replace(USABLE, **facts))
    result = result_of(name, tmp_path)
    assert not result.ok
    assert observed in result.observed
    assert remedy in result.remedy
    monkeypatch.setattr(server_checks, "_facts", lambda _: USABLE)
    assert result_of(name, tmp_path).ok


def test_a_user_who_does_not_see_the_sessions_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_checks, "_facts", lambda _: replace(USABLE, sees_sessions=False))
    result = result_of("rights", tmp_path)
    assert result.ok
    assert "`GRANT pg_read_all_stats TO app`" in result.observed


def result_of(name: str, home: Path) -> CheckResult:
    return make_check(CHECKS[name], home)


def test_every_check_is_made_to_fail() -> None:
    assert {name for name, *_ in REFUSED} == CHECKS.keys()
