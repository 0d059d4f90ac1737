"""Every session has limits: a process that stands still holds up the others for a bounded time, and commits nothing."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg.rows import namedtuple_row

from corpus import database
from corpus.database import (
    DEFAULT_LIMITS,
    EMBEDDER_LIMITS,
    MAINTENANCE_LIMITS,
    SHORT_LIMITS,
    STORER_LIMITS,
    Connection,
    SessionLimits,
    connect,
    database_errors_translated,
    migrate,
    open_pool,
)
from corpus.errors import DependencyError, LockWaitError
from corpus.sql import query
from ingest.consume.positions import Positions
from tests.support.polling import wait_until

pytestmark = pytest.mark.service
ALL_LIMITS = (DEFAULT_LIMITS, SHORT_LIMITS, STORER_LIMITS, EMBEDDER_LIMITS, MAINTENANCE_LIMITS)


def settings(connection: Connection) -> dict[str, str]:
    rows = connection.execute("SELECT name, setting || coalesce(unit, '') FROM pg_settings")
    return dict(rows.fetchall())


@pytest.mark.parametrize("limits", ALL_LIMITS)
def test_a_session_has_the_limits_of_its_role(database_url: str, limits: SessionLimits) -> None:
    with connect(database_url, limits=limits) as connection:
        alone = settings(connection)
    with open_pool(database_url, size=1, limits=limits) as pool, pool.connection() as connection:
        pooled = settings(connection)
    for found in (alone, pooled):
        assert found["lock_timeout"] == f"{limits.lock * 1000}ms"
        assert found["statement_timeout"] == f"{limits.statement * 1000}ms"
        assert found["idle_in_transaction_session_timeout"] == f"{limits.idle * 1000}ms"


def test_no_limit_of_a_role_is_missing() -> None:
    """Only maintenance may wait without a limit, and no session may hold a transaction open without one."""
    assert all(limits.idle for limits in ALL_LIMITS)
    working = [limits for limits in ALL_LIMITS if limits is not MAINTENANCE_LIMITS]
    assert all(limits.lock and limits.statement for limits in working)


def test_a_lost_host_is_noticed_within_seconds(database_url: str) -> None:
    """Both ends ask the other whether it is there; the server's own settings are shown where the session is by TCP."""
    with connect(database_url) as connection:
        found = settings(connection)
        parameters = connection.info.get_parameters()
    by_tcp = not parameters.get("host", "").startswith("/")
    assert int(parameters["keepalives_idle"]) <= 10
    assert int(parameters["keepalives_interval"]) * int(parameters["keepalives_count"]) <= 15
    assert int(parameters["tcp_user_timeout"]) <= 30_000
    if by_tcp:
        assert found["tcp_keepalives_idle"] == "10s"
        assert found["tcp_user_timeout"] == "30000ms"


def test_the_settings_of_database_and_user_come_after_those_of_the_session(
    database_url: str,
) -> None:
    with connect(database_url) as connection:
        name = connection.info.dbname
        for setting in ("default_transaction_isolation = 'repeatable read'", "lock_timeout = 0"):
            connection.execute(f"ALTER DATABASE {name} SET {setting}".encode())
    with connect(database_url) as connection:
        found = settings(connection)
    assert found["default_transaction_isolation"] == "read committed"
    assert found["lock_timeout"] == f"{DEFAULT_LIMITS.lock * 1000}ms"


def test_a_session_names_its_process(database_url: str) -> None:
    with connect(database_url, application="freshet-storer") as connection:
        name = settings(connection)["application_name"]
    assert name.startswith("freshet-storer@")
    assert len(database._session_name("x" * 100)) == 63


def _stand_still(connection: Connection) -> None:
    connection.execute("SELECT pg_sleep(3)")


def _wait_for_a_lock(connection: Connection) -> None:
    connection.execute("SELECT pg_advisory_lock(1)")


@pytest.mark.parametrize("work", [_stand_still, _wait_for_a_lock])
def test_what_takes_too_long_ends_and_is_tried_again(
    database_url: str, work: Callable[[Connection], Any]
) -> None:
    limits = SessionLimits(lock=1, statement=2, idle=1)
    with connect(database_url) as holder, connect(database_url, limits=limits) as connection:
        holder.execute("SELECT pg_advisory_lock(1)")
        with pytest.raises(DependencyError), database_errors_translated():
            work(connection)


def test_who_stands_still_in_a_transaction_loses_its_locks_and_commits_nothing(
    database_url: str,
) -> None:
    limits = replace(DEFAULT_LIMITS, idle=1)
    with connect(database_url) as other:
        other.execute("CREATE TABLE public.mark (n int)")
        frozen = connect(database_url, autocommit=False, limits=limits)
        frozen.execute("INSERT INTO public.mark VALUES (1)")
        frozen.execute("SELECT pg_advisory_xact_lock(1)")
        wait_until(lambda: got_lock(other), 10, "the lock of a session that stands still")
        with pytest.raises(DependencyError), database_errors_translated():
            frozen.execute("INSERT INTO public.mark VALUES (2)")
        frozen.close()
        assert other.execute("SELECT count(*) FROM public.mark").fetchone() == (0,)


def got_lock(connection: Connection) -> bool:
    cursor = connection.cursor(row_factory=namedtuple_row)
    row = cursor.execute("SELECT pg_try_advisory_lock(1) AS taken").fetchone()
    return row is not None and row.taken


def test_a_migration_waits_seconds_for_a_table_and_changes_nothing_then(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever wants the table after it would wait for as long."""
    known = database.migrations()
    text = "CREATE TABLE freshet.beside (n int); LOCK TABLE freshet.chunk IN ACCESS EXCLUSIVE MODE"
    monkeypatch.setattr(database, "migrations", lambda: [*known, ("9000_locks.sql", text)])
    monkeypatch.setattr(database, "DEFAULT_LIMITS", SessionLimits(lock=1))
    with psycopg.connect(database_url) as publishing:
        publishing.execute("LOCK TABLE freshet.chunk IN ROW EXCLUSIVE MODE")
        with pytest.raises(DependencyError, match="lock timeout"):
            migrate(database_url)
        assert publishing.execute("SELECT to_regclass('freshet.beside')").fetchone() == (None,)
    assert migrate(database_url) == ["9000_locks.sql"]


def test_a_held_source_does_not_keep_the_consumers_connections(database_url: str) -> None:
    """Halting a source wants its row, which a publish holds; three halts are as many as there are connections."""
    no_cluster: Any = None
    with (
        connect(database_url) as connection,
        connect(database_url, autocommit=False) as publishing,
        open_pool(database_url, size=3, limits=replace(SHORT_LIMITS, lock=1)) as pool,
        ThreadPoolExecutor(3) as threads,
    ):
        connection.execute("INSERT INTO freshet.source (source, spec) VALUES ('s', '{}')")
        publishing.execute(query("lock_source"), {"source": "s"})
        positions = Positions(pool, no_cluster)
        halts = [threads.submit(positions.halt, "s", 0, "why") for _ in range(3)]
        assert positions.of_sources(["s"]) == []  # waits for a connection, not for the publish
        for halt in halts:
            assert isinstance(halt.exception(), LockWaitError)
        publishing.rollback()
        assert positions.halt("s", 0, "why")
