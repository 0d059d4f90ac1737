"""Waits and commands where searches read a real standby, whose replay is held up where lag is the question."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg.rows import scalar_row

from compose.local.checks import make_check
from compose.local.server_checks import REPLICA_CHECK
from compose.local.state import StackFile, write_stack
from corpus.answer.activities import TeamLook
from corpus.answer.await_replica import Lend, outcome_where_searched
from corpus.database import fetch_one, open_pool
from corpus.service import AwaitFreshRequest, WaitOutcome
from corpus.sessions.server import EVERY_REPLICA_SESSION
from corpus.sql import query
from tests.support.commands import CommandLine
from tests.support.pipeline import Pipeline, make_event
from tests.support.polling import wait_until
from tests.support.replicas import TEAM, Replica, found

pytestmark = pytest.mark.service


# ── waits ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def lent(corpus: Pipeline, replica: Replica) -> Iterator[Lend]:
    """What lends connections to the replica, which has all that there is so far."""
    replica.catch_up(corpus.connection)
    url = replica.url(corpus.database_url)
    with open_pool(url, size=1, rules=EVERY_REPLICA_SESSION) as pool:
        yield pool.connection


def look_for(**target: Any) -> TeamLook:
    request = AwaitFreshRequest(source="s", **target)
    return TeamLook(request=request, team=TEAM, on_replica=True)


def test_a_wait_is_over_once_the_replica_shows_what_was_awaited(
    corpus: Pipeline, replica: Replica, lent: Lend
) -> None:
    targets: list[dict[str, Any]] = [
        {"batch": 2},
        {"document_id": "new", "version": 1},
        {"topic": "s", "partition": 0, "offset": 3},
    ]
    with replica.held_up():
        corpus.ingest(make_event("new", 1, "A new sluice."))
        for target in targets:
            assert (
                outcome_where_searched(corpus.connection, look_for(**target), replica=None).why
                is WaitOutcome.TIMEOUT
            )
            waiting = outcome_where_searched(corpus.connection, look_for(**target), replica=lent)
            assert (waiting.reached, waiting.why) == (False, WaitOutcome.TIMEOUT)
            assert "on the primary, but not on the replica that searches read" in waiting.detail
            assert "bytes behind, its newest commit is" in waiting.detail
    wait_until(lambda: all(is_over(corpus, lent, target) for target in targets), 20)
    with lent() as copy:
        assert "new" in found(copy, corpus, "sluice", mode="text")


def is_over(corpus: Pipeline, lent: Lend, target: dict[str, Any]) -> bool:
    look = look_for(**target)
    return outcome_where_searched(corpus.connection, look, replica=lent).reached


def test_what_never_will_be_and_what_is_not_granted_is_told_by_the_primary(
    corpus: Pipeline, replica: Replica, lent: Lend
) -> None:
    look = look_for(document_id="one", version=1)
    with replica.held_up():
        corpus.ingest(make_event("one", 2, op="delete"))
        ended = outcome_where_searched(corpus.connection, look, replica=lent)
        assert ended.why is WaitOutcome.SUPERSEDED
        present = look_for(document_id="two", version=1)
        assert outcome_where_searched(corpus.connection, present, replica=lent).reached
        corpus.connection.execute(query("end_team"), {"team": TEAM})
        unknown = outcome_where_searched(corpus.connection, present, replica=lent)
        assert unknown.why is WaitOutcome.SOURCE_UNKNOWN


def test_a_wait_is_not_over_where_the_replica_cannot_be_asked_or_is_not_known(
    corpus: Pipeline,
) -> None:
    look = look_for(document_id="one", version=1)
    here = TeamLook(request=look.request, team=TEAM)
    assert outcome_where_searched(corpus.connection, here, replica=None).reached
    unknown = outcome_where_searched(corpus.connection, look, replica=None)
    assert not unknown.reached and "set FRESHET_READ_REPLICA" in unknown.detail
    with open_pool(corpus.database_url, size=1) as pool:
        other = outcome_where_searched(corpus.connection, look, replica=pool.connection)
    assert not other.reached and "it is no standby" in other.detail
    gone = corpus.database_url.replace("@127.0.0.1:", "@127.0.0.1:1")
    with open_pool(gone, size=1, rules=EVERY_REPLICA_SESSION) as pool:

        def lend() -> Any:
            return pool.connection(0.5)

        away = outcome_where_searched(corpus.connection, look, replica=lend)
    assert not away.reached and "cannot be asked" in away.detail


# ── commands ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_doctor_says_how_the_replica_stands(
    corpus: Pipeline, replica: Replica, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = {
        "database_url": corpus.database_url,
        "kafka_bootstrap": "127.0.0.1:1",
        "temporal_address": "127.0.0.1:1",
    }
    write_stack(tmp_path, StackFile(addresses=addresses))
    assert "searches read the primary" in make_check(REPLICA_CHECK, tmp_path).observed
    monkeypatch.setenv("FRESHET_READ_REPLICA", replica.setting)
    replica.catch_up(corpus.connection)
    well = make_check(REPLICA_CHECK, tmp_path)
    assert well.ok, well
    assert f"{replica.setting}: same server, same migrations, 0 bytes behind" in well.observed
    assert "hot_standby_feedback = off" in well.observed
    assert "max_standby_streaming_delay" in well.observed
    with replica.held_up():
        corpus.ingest(make_event("new", 1, "A new sluice."))
        monkeypatch.setenv("FRESHET_READ_REPLICA_MAX_LAG", "2")
        wait_until(lambda: not make_check(REPLICA_CHECK, tmp_path).ok)
        behind = make_check(REPLICA_CHECK, tmp_path)
        assert "at most 2 s are allowed, so the primary answers" in behind.observed
    port = corpus.connection.info.port
    monkeypatch.setenv("FRESHET_READ_REPLICA", f"host=127.0.0.1 port={port}")
    assert "is no standby" in make_check(REPLICA_CHECK, tmp_path).observed
    monkeypatch.setenv("FRESHET_READ_REPLICA", "host=127.0.0.1 port=1")
    gone = make_check(REPLICA_CHECK, tmp_path)
    assert "does not answer" in gone.observed and "pg_stat_replication" in gone.remedy


def test_the_command_searches_the_replica_or_says_that_the_primary_answers(
    corpus: Pipeline, replica: Replica, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    freshet = CommandLine(tmp_path, monkeypatch, capsys)
    settings = {
        "FRESHET_DATABASE_URL": corpus.database_url,
        "FRESHET_KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "TEMPORAL_ADDRESS": "127.0.0.1:1",
        "FRESHET_READ_REPLICA": replica.setting,
    }
    words = ("search", "sluice", "--mode", "text", "--json")
    replica.catch_up(corpus.connection)
    with replica.held_up():
        # A row of the access log is written on the primary before, so the bound has to allow for it.
        done = freshet(*words, **settings)
        assert (done.code, done.stderr) == (0, "")
        corpus.ingest(make_event("new", 1, "A new sluice."))
        assert '"new"' not in freshet(*words, **settings).stdout
        noted = fetch_one(corpus.connection, scalar_row, "access_log", {"source": None, "limit": 1})
        assert noted is not None
        strict = settings | {"FRESHET_READ_REPLICA_MAX_LAG": "2"}
        told = wait_until(lambda: (one := freshet(*words, **strict)).stderr and one)
        assert "the primary answers for the replica: it is" in told.stderr
        assert '"new"' in told.stdout
    gone = freshet(*words, **(settings | {"FRESHET_READ_REPLICA": "host=127.0.0.1 port=1"}))
    assert "does not answer" in gone.stderr and '"new"' in gone.stdout
