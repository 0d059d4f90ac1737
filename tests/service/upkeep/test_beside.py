"""`freshet maintain` beside others: publishes, another maintainer, an old transaction, a kill, a user without right."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from corpus.database import Connection
from corpus.embed.space_indexes import build_missing
from corpus.errors import ConfigurationError, LockWaitError
from corpus.sessions.roles import WRITER
from corpus.upkeep import maintainer
from corpus.upkeep.maintainer import Done
from corpus.upkeep.rule import Action
from tests.support.commands import ROOT, CommandLine
from tests.support.logins import login, session
from tests.support.pipeline import Pipeline, make_event
from tests.support.polling import wait_until
from tests.support.withdrawing import (
    CHUNKS,
    VECTORS,
    actions,
    decided,
    exactly_nearest,
    left_over,
    long_publish,
    maintained,
    nearest,
    scalar,
    withdraw,
)


@contextmanager
def in_thread(url: str) -> Iterator[list[Done]]:
    """Maintain beside the test; what was done is there when the block has ended."""
    done: list[Done] = []
    thread = threading.Thread(target=lambda: done.extend(maintained(url)))
    thread.start()
    try:
        yield done
    finally:
        thread.join()


def waits(connection: Connection) -> bool:
    return bool(
        scalar(
            connection,
            """SELECT count(*) FROM pg_stat_progress_create_index p JOIN pg_stat_activity a USING (pid)
               WHERE a.application_name LIKE 'freshet-maintain%' AND p.phase LIKE 'waiting for writers%'""",
        )
    )


def test_publishing_and_searches_go_on_while_an_index_is_rebuilt(
    corpus: Connection, database_url: str, tmp_path: Path
) -> None:
    """The rebuild waits for a publish under way, and no publish and no search waits for the rebuild."""
    withdraw(corpus, 0.6)
    corpus.execute("SET lock_timeout = '1s'")
    with (
        Pipeline(database_url, tmp_path, source="t") as pipeline,
        long_publish(database_url) as publishing,
        in_thread(database_url) as done,
    ):
        wait_until(lambda: waits(corpus))
        pipeline.connection.execute("SET lock_timeout = '1s'")
        pipeline.ingest(make_event("beside", 1, "Written beside the rebuild."))
        assert pipeline.search("beside", mode="text", k=1)[0].document_id == "beside"
        assert len(nearest(corpus)) == 10
        publishing.rollback()
    assert [one.problem for one in done] == [None, None]


def test_one_maintainer_at_a_time_and_the_other_says_who(
    corpus: Connection, database_url: str
) -> None:
    withdraw(corpus, 0.6)
    with long_publish(database_url) as publishing, in_thread(database_url):
        wait_until(lambda: waits(corpus))
        with pytest.raises(LockWaitError, match=r"index builds and upkeep.*freshet-maintain@"):
            maintained(database_url, lock_seconds=1)
        assert build_missing(database_url) == []  # nor does a storer build beside it
        publishing.rollback()


def test_an_old_transaction_that_sees_what_is_gone_is_named(
    corpus: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corpus.upkeep.standing.HELD_SECONDS", 0)
    with psycopg.connect(database_url, application_name="a report") as old:
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT count(*) FROM freshet.chunk")
        withdraw(corpus, 0.6)
        done = maintained(database_url)
        assert [one.problem and "a report (server process" in one.problem for one in done] == [
            True,
            True,
        ]


def test_dead_rows_that_a_vacuum_had_to_leave_are_a_problem(
    corpus: Connection, database_url: str
) -> None:
    corpus.execute(
        """INSERT INTO freshet.embedding (space_id, text_sha256, dimensions, embedding, source, batch)
           SELECT space_id, text_sha256, dimensions, embedding, source, batch FROM freshet.chunk"""
    )
    corpus.execute("VACUUM ANALYZE freshet.embedding")
    with psycopg.connect(database_url) as old:
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT count(*) FROM freshet.embedding")
        corpus.execute("DELETE FROM freshet.embedding")
        corpus.execute("SELECT pg_stat_force_next_flush()")
        (done,) = maintained(database_url, only=frozenset({"embedding"}))
    assert f"{CHUNKS:,} of {CHUNKS:,} dead rows stayed" in (done.problem or "")


def test_a_publish_that_never_ends_stops_nothing_for_ever(
    corpus: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = maintainer.SessionLimits(lock=1, statement=0)
    monkeypatch.setattr(maintainer, "UPKEEP_LIMITS", limits)
    withdraw(corpus, 0.6)
    with long_publish(database_url):
        rebuilt, vacuumed, dropped = maintained(database_url)
    for done in (rebuilt, dropped):
        assert "lock" in (done.problem or "")
    assert "waits for the rebuild of its vector index" in (vacuumed.problem or "")
    done = maintained(database_url)
    assert actions(done)[-2:] == [("rebuild", VECTORS), ("vacuum", "chunk")]
    assert left_over(corpus) == []


def test_a_maintainer_that_is_killed_leaves_no_session_and_the_next_one_ends_its_work(
    corpus: Connection, database_url: str, freshet: CommandLine
) -> None:
    withdraw(corpus, 0.6)
    environment = freshet.environment() | {"FRESHET_DATABASE_URL": database_url}
    command = [sys.executable, "-m", "workers", "maintain"]
    with long_publish(database_url) as publishing:
        process = subprocess.Popen(command, cwd=ROOT, env=environment)
        try:
            wait_until(lambda: waits(corpus), 30)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        # Its rebuild still waits; the server looks every few seconds whether anybody waits for that.
        wait_until(lambda: not waits(corpus), 20)
        publishing.rollback()
    wait_until(lambda: left_over(corpus) == [f"{VECTORS}_ccnew"], 10)
    assert decided(corpus, f"{VECTORS}_ccnew").action is Action.DROP
    done = maintained(database_url)
    assert actions(done) == [
        ("drop", f"{VECTORS}_ccnew"),
        ("rebuild", VECTORS),
        ("vacuum", "chunk"),
    ]
    assert [one.problem for one in done] == [None, None, None]
    assert sorted(nearest(corpus)) == sorted(exactly_nearest(corpus))


def test_a_user_without_the_right_changes_nothing(corpus: Connection, database_url: str) -> None:
    withdraw(corpus, 0.6)
    with (
        login(database_url, WRITER) as writer_url,
        pytest.raises(ConfigurationError, match="does not own the tables"),
    ):
        maintained(writer_url)
    with session(database_url, WRITER) as writer:  # it sees what is due, and shows it as a metric
        assert decided(writer, VECTORS) == decided(corpus, VECTORS)
    assert decided(corpus, VECTORS).action is Action.REBUILD
