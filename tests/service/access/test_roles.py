"""Row-level security: without an identity no rows, no right that widens itself, nothing left for the next user."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from compose.local.machine.ports import free_port
from compose.local.parts.postgres import Postgres
from compose.local.run import running
from corpus.access.log import rows, verify
from corpus.access.reader import reading_as
from corpus.access.teams import team_rows
from corpus.database import Connection, connect, migrate, open_pool
from corpus.disclosure.secret import Secret
from corpus.embed.space_indexes import build_missing
from corpus.errors import ConfigurationError
from corpus.sessions.logins import sessions_with_excess
from corpus.sessions.roles import AUDITOR, GATEWAY, READER, ROLES, WRITER, held_roles
from corpus.sql import query
from tests.support.logins import grant, login, reader, seen, session
from tests.support.pipeline import Pipeline, make_event
from workers.migrations import make_logins

READABLE = ("document", "chunk", "source", "dead_letter", "batch", "source_position")


@pytest.fixture
def corpus(pipeline: Pipeline) -> Pipeline:
    """An open document, one of a group, one of nobody, and a dead letter."""
    pipeline.ingest(
        make_event("open", 1, "The mill."),
        make_event("hr", 1, "The wages.", acl=["hr"]),
        make_event("nobody", 1, "The key.", acl=[]),
        b"no json",
    )
    return pipeline


def count(connection: Connection, table: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM freshet.{table}".encode()).fetchone()
    assert row is not None
    return int(row[0])


def documents(connection: Connection) -> set[str]:
    rows = connection.execute("SELECT document_id FROM freshet.document").fetchall()
    return {row[0] for row in rows}


@pytest.fixture
def gateway(corpus: Pipeline) -> Iterator[Connection]:
    with session(corpus.database_url, GATEWAY) as connection:
        yield connection


def test_every_table_has_row_level_security_forced(corpus: Pipeline) -> None:
    rows = corpus.connection.execute(
        """SELECT c.relname::text, pg_get_userbyid(c.relowner) FROM pg_class c
           WHERE c.relnamespace = 'freshet'::regnamespace AND c.relkind IN ('r', 'p')
             AND NOT (c.relrowsecurity AND c.relforcerowsecurity)"""
    ).fetchall()
    assert [row[0] for row in rows] == ["migration"]
    owners = corpus.connection.execute(
        """SELECT DISTINCT pg_get_userbyid(p.proowner) FROM pg_proc p
           WHERE p.pronamespace = 'freshet'::regnamespace"""
    ).fetchall()
    assert owners == [("freshet_owner",)]


def test_functions_with_their_owners_rights_pin_their_search_path(corpus: Pipeline) -> None:
    rows = corpus.connection.execute(
        """SELECT p.proname::text FROM pg_proc p
           WHERE p.pronamespace = 'freshet'::regnamespace AND p.prosecdef
             AND NOT coalesce(p.proconfig::text LIKE '%search_path=pg_catalog,%pg_temp%', false)"""
    ).fetchall()
    assert rows == []


def test_without_an_identity_there_are_no_rows(corpus: Pipeline, gateway: Connection) -> None:
    assert [count(gateway, table) for table in READABLE if table not in ("batch", "source")] == [
        0
    ] * 4
    for name in ("batch", "source"):
        assert gateway.execute(f"SELECT source FROM freshet.{name}".encode()).fetchall() == []
    found = gateway.execute(
        "SELECT * FROM freshet.search(NULL, 'mill wages key', p_mode => 'text')"
    )
    assert found.fetchall() == []


def test_a_strangers_login_sees_nothing(corpus: Pipeline) -> None:
    with session(corpus.database_url) as stranger:
        for table in READABLE:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                stranger.execute(f"SELECT * FROM freshet.{table}".encode())
        with pytest.raises(ConfigurationError, match="may not read for others"):
            seen(stranger, reader("hr"))


@pytest.mark.parametrize("name", ["lock_publishing", "lock_purging"])
def test_only_our_roles_take_the_locks_of_publishing_and_purging(
    corpus: Pipeline, name: str
) -> None:
    lock = query(name)
    for roles in ((), (READER,), (AUDITOR,), (GATEWAY,)):
        with (
            session(corpus.database_url, *roles) as other,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            other.execute(lock, {"source": "s"})
    with session(corpus.database_url, WRITER) as writer:
        writer.execute(lock, {"source": "s"})
    with session(corpus.database_url, GATEWAY) as gateway, reading_as(gateway, reader()):
        gateway.execute("SELECT freshet.settle(now(), '{s}')")


def test_nothing_is_left_for_the_next_user_of_a_pooled_connection(corpus: Pipeline) -> None:
    with login(corpus.database_url, GATEWAY) as url, open_pool(url, size=1) as pool:
        with pool.connection() as connection:
            assert seen(connection, reader("hr")) == {"open", "hr"}
        with pool.connection() as connection:
            assert documents(connection) == set()
        with pool.connection() as connection:
            assert seen(connection, reader()) == {"open"}
        with (
            pytest.raises(ZeroDivisionError),
            pool.connection() as connection,
            reading_as(connection, reader("hr")),
        ):
            raise ZeroDivisionError
        with pool.connection() as connection:
            assert documents(connection) == set()


def test_a_readers_transaction_is_no_part_of_another_one(gateway: Connection) -> None:
    with gateway.transaction(), pytest.raises(RuntimeError), reading_as(gateway, reader("hr")):
        pass


@pytest.mark.parametrize("role", [GATEWAY, READER, AUDITOR])
def test_who_reads_changes_nothing(corpus: Pipeline, role: str) -> None:
    with session(corpus.database_url, role) as connection:
        for statement in (
            "UPDATE freshet.document SET acl = NULL",
            "DELETE FROM freshet.chunk",
            "INSERT INTO freshet.reader_grant (login, sources) VALUES (session_user, '{s}')",
            "UPDATE freshet.source SET state = 'paused'",
            "TRUNCATE freshet.document",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())


def test_a_user_with_every_right_reads_as_the_reader(corpus: Pipeline) -> None:
    assert seen(corpus.connection, reader("hr")) == {"open", "hr"}
    assert documents(corpus.connection) == {"open", "hr", "nobody"}
    with (
        reading_as(corpus.connection, reader()),
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        corpus.connection.transaction(),
    ):
        corpus.connection.execute("UPDATE freshet.document SET acl = NULL")


def test_a_login_of_an_sql_client_sees_what_its_grant_says(corpus: Pipeline) -> None:
    with session(corpus.database_url, READER) as analyst:
        assert documents(analyst) == set()
        # What the gateway may say of itself, it may not.
        with analyst.transaction():
            analyst.execute("""SELECT set_config('freshet.sources', '["s"]', true)""")
            analyst.execute("""SELECT set_config('freshet.groups', '["hr"]', true)""")
            assert documents(analyst) == set()
        grant(corpus.database_url, analyst, sources=["s"], groups=[])
        assert documents(analyst) == {"open"}
        grant(corpus.database_url, analyst, sources=["s"], groups=["hr"])
        assert documents(analyst) == {"open", "hr"}
        found = analyst.execute(
            "SELECT document_id FROM freshet.search(NULL, 'mill wages key', p_mode => 'text')"
        )
        assert {row[0] for row in found.fetchall()} == {"open", "hr"}
        assert analyst.execute("SELECT reason FROM freshet.dead_letter").fetchall()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            analyst.execute("SELECT value FROM freshet.dead_letter")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            analyst.execute("SET ROLE freshet_gateway")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            analyst.execute("SELECT * FROM freshet.embedding")


def test_an_auditor_sees_ledger_and_lineage_and_no_text(corpus: Pipeline) -> None:
    with session(corpus.database_url, AUDITOR) as auditor:
        assert auditor.execute("SELECT records, applied FROM freshet.batch").fetchall() == [(4, 3)]
        lineage = (
            "SELECT document_id, version, batch, topic, record_offset, acl FROM freshet.document"
        )
        assert len(auditor.execute(lineage.encode()).fetchall()) == 3
        assert auditor.execute("SELECT reason FROM freshet.dead_letter").fetchall()
        for column in ("document.title", "chunk.text", "chunk.embedding_half", "dead_letter.value"):
            table, name = column.split(".")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                auditor.execute(f"SELECT {name} FROM freshet.{table}".encode())
        assert (
            auditor.execute(
                "SELECT * FROM freshet.search(NULL, 'mill', p_mode => 'text')"
            ).fetchall()
            == []
        )


def test_the_access_log_grows_by_its_function_only(corpus: Pipeline) -> None:
    entry = '[{"source": "s", "actor": "team:t", "action": "search", "detail": {}}]'
    log = "SELECT freshet.log_access(%s::jsonb)"
    for role in (WRITER, GATEWAY):
        with session(corpus.database_url, role) as connection:
            connection.execute(log, [entry])
            for statement in (
                "INSERT INTO freshet.access_log SELECT * FROM freshet.access_log",
                "DELETE FROM freshet.access_log",
                "UPDATE freshet.access_chain SET number = 0",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement.encode())
    for roles in ((), (READER,), (AUDITOR,)):
        with (
            session(corpus.database_url, *roles) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute(log, [entry])
    with session(corpus.database_url, AUDITOR) as auditor:
        assert [row.number for row in rows(auditor, "s", 10)] == [2, 1]
        assert verify(auditor, "s") == []
    with session(corpus.database_url, GATEWAY) as gateway:
        assert count(gateway, "team") == 0
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            count(gateway, "access_log")


def test_the_keys_of_erasures_are_read_by_functions_of_who_publishes(corpus: Pipeline) -> None:
    corpus.erase("hr")
    lists = corpus.connection.execute("SELECT acl FROM freshet.access_list").fetchall()
    assert (["hr"],) not in lists, "who could read it is remembered otherwise"
    for role in (WRITER, GATEWAY, READER, AUDITOR):
        with (
            session(corpus.database_url, role) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute("SELECT FROM freshet.erasure_key")
    for role in (GATEWAY, READER, AUDITOR):
        with session(corpus.database_url, role) as connection:
            for called in ("signing_key()", "erased_hash('s', 'hr')"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(f"SELECT freshet.{called}".encode())
    with session(corpus.database_url, GATEWAY) as connection:
        asked = "SELECT count(*) FROM freshet.erasure_of('s', 'hr')"
        found: list[tuple[int] | None] = []
        for who in (reader("hr"), reader(), reader("hr", sources=())):
            with reading_as(connection, who):
                found.append(connection.execute(asked).fetchone())
        assert found == [(1,), (0,), (0,)]
    with session(corpus.database_url, WRITER) as writer:
        assert writer.execute("SELECT octet_length(freshet.signing_key())").fetchone() == (32,)


def test_a_login_that_only_publishes_carries_a_batch_from_end_to_end(
    database_url: str, tmp_path: Path
) -> None:
    with login(database_url, WRITER) as url, Pipeline(url, tmp_path) as publishing:
        assert held_roles(publishing.connection).excess is None
        publishing.ingest(make_event("d", 1, "The mill.", acl=["hr"]), make_event("e", 1, "Wages."))
        publishing.ingest(
            make_event("d", 1, "The mill.", acl=["it"]), make_event("e", 2, op="delete")
        )
        publishing.correct("d", 1, 0)
        publishing.expire(after_seconds=1)
        assert publishing.visible() == {}
        for statement in (
            "UPDATE freshet.reader_grant SET groups = '{}'",
            "UPDATE freshet.team SET state = 'active'",
            "INSERT INTO freshet.team (team, spec) VALUES ('mine', '{}')",
            "DELETE FROM freshet.team",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                publishing.connection.execute(statement.encode())
        assert team_rows(publishing.connection) == []


# ── logins of the processes ─────────────────────────────────────────────────────────────────────────────────────────


def test_logins_of_the_processes_are_made_with_what_they_need(
    database_url: str, tmp_path: Path
) -> None:
    name = f"work_{secrets.token_hex(4)}"
    writer_url = make_conninfo(database_url, user=name, password="first")
    gateway_url = make_conninfo(database_url, user=f"{name}_gateway", password="other")
    with psycopg.connect(database_url, autocommit=True) as admin:
        try:
            make_logins(database_url, Secret.of(writer_url), Secret.of(gateway_url))
            with Pipeline(writer_url, tmp_path) as publishing:
                publishing.ingest(make_event("d", 1, "The mill."))
                assert build_missing(writer_url) == [1]
                assert build_missing(writer_url) == []
                assert held_roles(publishing.connection).excess is None
                assert seen(publishing.connection, reader()) == {"d"}
                with connect(database_url, application="freshet-storer") as storer:
                    lines = sessions_with_excess(storer)
                    assert [line for line in lines if "freshet-storer" in line]
                with (
                    connect(writer_url, application="freshet-storer"),
                    connect(writer_url, application="freshet-gateway-search"),
                    connect(gateway_url, application="freshet-gateway-log"),
                ):
                    lines = sessions_with_excess(publishing.connection)
                    # A database of the server's superuser; sessions of other tests are not of this database.
                    own = [line for line in lines if name in line]
                    assert own == [f"freshet-gateway-search connects as {name}, which may publish"]
                admin.execute(f"ALTER ROLE {name} CREATEROLE".encode())
                with connect(writer_url, application="freshet-consumer"):
                    lines = sessions_with_excess(publishing.connection)
                    assert f"freshet-consumer connects as {name}, which may make roles" in lines
                admin.execute(f"ALTER ROLE {name} NOCREATEROLE".encode())
            with connect(gateway_url) as gateway:
                assert held_roles(gateway).roles == [GATEWAY]
                assert documents(gateway) == set()
            # Made again with another password, it has that one.
            changed = make_conninfo(writer_url, password="second")
            make_logins(database_url, Secret.of(changed), Secret.of(""))
            connect(changed).close()
            with connect(changed) as connection:
                logged = connection.execute("SHOW lock_timeout").fetchone()
                assert logged == ("5s",)
        finally:
            for user in (name, f"{name}_gateway"):
                admin.execute(f"DROP ROLE IF EXISTS {user}".encode())


# ── roles that are missing ──────────────────────────────────────────────────────────────────────────────────────────


def test_roles_that_the_user_may_not_make_are_named_before_anything_is_done(
    service_home: Path,
) -> None:
    server = Postgres(home=service_home / "without-roles", port=free_port(), fsync=False)
    with running(server):
        with psycopg.connect(server.url_of("postgres"), autocommit=True) as admin:
            admin.execute("CREATE ROLE tenant LOGIN PASSWORD 'p'")
            admin.execute("CREATE DATABASE theirs OWNER tenant")
        with psycopg.connect(server.url_of("theirs"), autocommit=True) as admin:
            admin.execute("CREATE EXTENSION vector")
        url = f"postgresql://tenant:p@127.0.0.1:{server.port}/theirs"
        with pytest.raises(ConfigurationError) as refused:
            migrate(url)
        for role in ROLES:
            assert f"CREATE ROLE {role} NOLOGIN;" in str(refused.value)
        statements = str(refused.value).split("run: ")[1].split(" Then run")[0]
        with psycopg.connect(server.url_of("theirs"), autocommit=True) as admin:
            tables = "SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('freshet')"
            assert admin.execute(tables).fetchone() in (
                (0,),
                (2,),
            )  # the table of migrations at most
            admin.execute(statements.encode())
        assert migrate(url)
        with Pipeline(url, service_home / "staged") as theirs:
            theirs.ingest(make_event("open", 1, "The mill."), make_event("hr", 1, "x", acl=["hr"]))
            assert seen(theirs.connection, reader()) == {"open"}
            assert held_roles(theirs.connection).excess == "owns the tables"
            assert len(theirs.visible()) == 2
        with connect(url) as again:
            assert held_roles(again).roles == [GATEWAY]
