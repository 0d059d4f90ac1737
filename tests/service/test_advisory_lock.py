"""A lock that one process at a time holds: a bounded wait, and the name of the session that holds it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg.rows import namedtuple_row

from corpus import database
from corpus.database import Connection, connect, migrate
from corpus.errors import LockWaitError
from corpus.sessions.advisory_lock import take_lock
from tests.support.polling import wait_until

pytestmark = pytest.mark.service
KEY = 7_000_000_000_007


@pytest.fixture
def holder(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, application_name="left over", autocommit=True) as opened:
        yield opened


def test_a_free_lock_is_held_until_the_transaction_ends(database_url: str) -> None:
    with connect(database_url) as first, connect(database_url) as second:
        with first.transaction():
            take_lock(first, KEY, wanted="the thing")
            assert not free(second)
        assert free(second)


def test_who_waits_is_told_the_holder_and_gets_the_lock_after_it(database_url: str) -> None:
    lines: list[str] = []
    with (
        connect(database_url, application="first", autocommit=False) as first,
        connect(database_url) as second,
        connect(database_url) as looking,
        ThreadPoolExecutor(1) as threads,
    ):
        take_lock(first, KEY, wanted="the thing")

        def take() -> str:
            with second.transaction():
                take_lock(second, KEY, wanted="the thing", notify=lines.append)
                limit = second.execute("SHOW lock_timeout").fetchone()
            assert limit is not None
            return str(limit[0])

        taking = threads.submit(take)
        wait_until(lambda: waiting(looking), 10, "the second one waits")
        assert len(lines) == 1
        assert "for the lock of the thing; first@" in lines[0]
        first.rollback()
        assert taking.result() == "5s"  # the session's own limit, as before


def test_the_wait_has_an_end_and_the_transaction_goes_on(
    database_url: str, holder: psycopg.Connection
) -> None:
    pid = holder.info.backend_pid
    holder.execute("SELECT pg_advisory_lock(%s)", (KEY,))
    with connect(database_url) as connection, connection.transaction():
        with pytest.raises(LockWaitError) as caught:
            take_lock(connection, KEY, wanted="the thing", seconds=1)
        assert connection.execute("SELECT 1").fetchone() == (1,)
    message = str(caught.value)
    assert "the lock of the thing was not free within 1 s" in message
    assert f"left over (server process {pid}) holds it, idle since 20" in message
    assert "pg_terminate_backend" in message


def test_migrate_names_the_session_that_left_its_lock_behind(
    database_url: str, holder: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a pooler does that lends sessions to transactions: the lock stays, and its process has gone."""
    holder.execute("SELECT pg_advisory_lock(%s)", (database._MIGRATION_LOCK,))
    monkeypatch.setattr(database, "MIGRATION_WAIT_SECONDS", 1)
    with pytest.raises(LockWaitError, match=r"lock of migrations .* left over \(server process"):
        migrate(database_url)
    holder.close()
    assert migrate(database_url) == []


def free(connection: Connection) -> bool:
    cursor = connection.cursor(row_factory=namedtuple_row)
    row = cursor.execute("SELECT pg_try_advisory_xact_lock(%s) AS free", (KEY,)).fetchone()
    return row is not None and row.free


def waiting(connection: Connection) -> bool:
    row = connection.execute(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    ).fetchone()
    return row == (1,)
