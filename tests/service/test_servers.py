"""Servers as they are: migrations and a batch work on each, or it is refused before anything is done."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg_pool import PoolTimeout

from compose.local.machine.ports import free_port
from compose.local.parts.postgres import Postgres
from compose.local.run import running
from corpus import database
from corpus.clean.cleaner import Cleaner
from corpus.database import connect, migrate, open_pool
from corpus.errors import ConfigurationError, DependencyError, LockWaitError
from corpus.sessions import server
from corpus.sessions.settings import pinned_names
from tests.support.commands import CommandLine
from tests.support.polling import wait_until
from tests.support.pooler import Pooler
from tests.support.servers import (
    Standby,
    Tenant,
    checked,
    failed,
    one_batch,
    schemas,
    show,
    tenant,
)

pytestmark = pytest.mark.service


@pytest.fixture
def owner(postgres_server: Postgres) -> Iterator[Tenant]:
    with tenant(postgres_server) as made:
        yield made


# ── no superuser, and pgvector in another schema ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("schema", ["public", "extensions", "Ext of: ours"])
def test_an_owner_without_superuser_where_the_administrator_installed_pgvector(
    owner: Tenant, schema: str, tmp_path: Path, cleaner: Cleaner
) -> None:
    owner.as_admin(
        f'CREATE SCHEMA IF NOT EXISTS "{schema}"',
        f'GRANT USAGE ON SCHEMA "{schema}" TO {owner.name}',
        f'CREATE EXTENSION vector SCHEMA "{schema}"',
    )
    assert migrate(owner.url) == [name for name, _ in database.migrations()]
    one_batch(owner.url, tmp_path, cleaner)
    results = checked(owner.url, tmp_path)
    assert failed(results) == []
    assert schema in results["pgvector"].observed
    assert "GRANT pg_read_all_stats" in results["rights"].observed


def test_what_an_administrator_must_run_is_named_and_nothing_was_done(
    owner: Tenant, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        migrate(owner.url)
    assert "`CREATE EXTENSION vector` in database " + owner.name in str(caught.value)
    assert schemas(owner) == ["public"]
    results = checked(owner.url, tmp_path)
    assert failed(results) == ["pgvector"]
    assert f"`CREATE EXTENSION vector` in database {owner.name}" in results["pgvector"].remedy
    owner.as_admin("CREATE EXTENSION vector")
    assert migrate(owner.url)


def test_rights_that_are_missing_are_named_and_nothing_was_done(
    owner: Tenant, tmp_path: Path
) -> None:
    owner.as_admin(
        "CREATE SCHEMA extensions",
        "CREATE EXTENSION vector SCHEMA extensions",
        f"ALTER DATABASE {owner.name} OWNER TO freshet",
        f"REVOKE ALL ON DATABASE {owner.name} FROM public",
        f"GRANT CONNECT ON DATABASE {owner.name} TO {owner.name}",
    )
    with pytest.raises(ConfigurationError, match="GRANT USAGE ON SCHEMA extensions TO"):
        migrate(owner.url)
    owner.as_admin(f"GRANT USAGE ON SCHEMA extensions TO {owner.name}")
    with pytest.raises(ConfigurationError) as caught:
        migrate(owner.url)
    granted = f"GRANT CREATE, TEMPORARY ON DATABASE {owner.name} TO {owner.name}"
    assert f"`{granted}`" in str(caught.value)
    assert failed(checked(owner.url, tmp_path)) == ["rights"]
    assert schemas(owner) == ["extensions", "public"]
    owner.as_admin(granted)
    assert migrate(owner.url)


def test_a_schema_in_which_everybody_may_put_functions_is_refused(
    owner: Tenant, tmp_path: Path
) -> None:
    owner.as_admin("CREATE EXTENSION vector", "GRANT CREATE ON SCHEMA public TO PUBLIC")
    with pytest.raises(ConfigurationError, match="REVOKE CREATE ON SCHEMA public FROM PUBLIC"):
        migrate(owner.url)
    assert schemas(owner) == ["public"]
    assert failed(checked(owner.url, tmp_path)) == ["rights"]
    owner.as_admin("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    assert migrate(owner.url)


def test_a_corpus_whose_extension_is_moved_is_still_found(
    owner: Tenant, tmp_path: Path, cleaner: Cleaner
) -> None:
    """Clients in SQL too, whatever names they look up."""
    owner.as_admin("CREATE EXTENSION vector")
    migrate(owner.url)
    owner.as_admin(
        "CREATE SCHEMA extensions",
        f"GRANT USAGE ON SCHEMA extensions TO {owner.name}",
        "ALTER EXTENSION vector SET SCHEMA extensions",
    )
    one_batch(owner.url, tmp_path, cleaner)
    with psycopg.connect(owner.url, options="-c search_path=pg_catalog") as client:
        found = client.execute(
            """SELECT n.document_id FROM freshet.chunk c,
                   freshet.search(c.embedding, NULL, 1, 'vector', c.space_id) n
               WHERE c.visible_to IS NULL"""
        ).fetchall()
    assert found == [("three",)]
    assert migrate(owner.url) == []


def test_the_command_ends_with_one_line_and_the_exit_code_of_its_reason(
    owner: Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    freshet = CommandLine(tmp_path, monkeypatch, capsys)
    addresses = {
        "FRESHET_DATABASE_URL": owner.url,
        "FRESHET_KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "TEMPORAL_ADDRESS": "127.0.0.1:1",
    }
    refused = freshet("migrate", **addresses)
    assert refused.code == 2
    assert refused.stderr.count("\n") == 1
    assert "`CREATE EXTENSION vector` in database " + owner.name in refused.stderr
    owner.as_admin("CREATE EXTENSION vector")
    monkeypatch.setattr(database, "MIGRATION_WAIT_SECONDS", 1)
    with psycopg.connect(owner.url, application_name="left over", autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", (database._MIGRATION_LOCK,))
        waited = freshet("migrate", **addresses)
    assert waited.code == 3
    assert waited.stderr.startswith("waits at most 1 s for the lock of migrations; left over (")
    assert freshet("migrate", **addresses).code == 0


def test_who_holds_a_lock_is_named_also_where_its_state_is_hidden(
    owner: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "MIGRATION_WAIT_SECONDS", 1)
    url = owner.server.url_of(owner.name)
    with psycopg.connect(url, application_name="of others") as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", (database._MIGRATION_LOCK,))
        with pytest.raises(
            LockWaitError, match=r"of others \(.*hidden .*`GRANT pg_read_all_stats`"
        ):
            migrate(owner.url)


# ── settings of server, database and user ───────────────────────────────────────────────────────────────────────────

HOSTILE = {
    "search_path": "pg_catalog",
    "TimeZone": "'Asia/Kathmandu'",
    "DateStyle": "'German, DMY'",
    "IntervalStyle": "sql_standard",
    "client_encoding": "LATIN1",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "array_nulls": "off",
    "standard_conforming_strings": "off",
    "default_transaction_isolation": "serializable",
    "synchronous_commit": "off",
    "row_security": "off",
    "gin_fuzzy_search_limit": "1",
    "jit": "on",
    "statement_timeout": "'1s'",
    "lock_timeout": "'1ms'",
    "idle_in_transaction_session_timeout": "'1s'",
    "idle_session_timeout": "'1s'",
    "transaction_timeout": "'1s'",
    "tcp_keepalives_idle": "7000",
    "tcp_keepalives_interval": "7000",
    "tcp_keepalives_count": "99",
    "tcp_user_timeout": "7000000",
}


# Only who may set them has them pinned: `test_a_log_that_may_hold_rows_is_quietened_or_named`.
OF_THE_LOG = {
    *("log_error_verbosity", "log_min_error_statement"),
    *("log_parameter_max_length", "log_parameter_max_length_on_error"),
}


def test_every_setting_that_freshet_relies_on_is_tried() -> None:
    assert HOSTILE.keys() | OF_THE_LOG == set(pinned_names())
    assert not HOSTILE.keys() & OF_THE_LOG


@pytest.mark.parametrize("whose", ["DATABASE", "ROLE"])
def test_settings_of_others_are_pinned_in_each_session(
    owner: Tenant, whose: str, tmp_path: Path, cleaner: Cleaner
) -> None:
    owner.as_admin("CREATE EXTENSION vector")
    usual = shown(owner.url)
    settings = [f"ALTER {whose} {owner.name} SET {n} = {v}" for n, v in HOSTILE.items()]
    owner.as_admin(*settings)
    assert shown(owner.url) == usual
    with open_pool(owner.url, size=1) as pool, pool.connection() as connection:
        assert {n: show(connection, n) for n in HOSTILE} == usual
    migrate(owner.url)
    one_batch(owner.url, tmp_path, cleaner)
    results = checked(owner.url, tmp_path)
    assert failed(results) == []
    assert "DateStyle = German, DMY" in results["settings"].observed


def test_repeatable_read_and_less_durable_commits_are_told_apart(owner: Tenant) -> None:
    """A stronger commit than Freshet's is left as it is."""
    owner.as_admin(
        f"ALTER ROLE {owner.name} SET default_transaction_isolation = 'repeatable read'",
        f"ALTER ROLE {owner.name} SET synchronous_commit = remote_apply",
    )
    found = shown(owner.url)
    assert found["default_transaction_isolation"] == "read committed"
    assert found["synchronous_commit"] == "remote_apply"


def test_the_options_of_a_connection_string_are_kept(owner: Tenant) -> None:
    url = f"{owner.url}?options=-c%20work_mem%3D77kB%20-c%20DateStyle%3DGerman"
    with connect(url) as connection:
        assert show(connection, "work_mem") == "77kB"
        assert show(connection, "DateStyle") == "ISO, MDY"


def test_a_default_against_writing_is_named_with_who_set_it(owner: Tenant, tmp_path: Path) -> None:
    owner.as_admin(
        "CREATE EXTENSION vector",
        f"ALTER DATABASE {owner.name} SET default_transaction_read_only = on",
    )
    with pytest.raises(DependencyError, match=r"read_only is on \(set by: database\)"):
        migrate(owner.url)
    with pytest.raises(DependencyError, match="disk is full"):
        connect(owner.url)
    assert schemas(owner) == ["public"]
    assert failed(checked(owner.url, tmp_path)) == ["writing", "settings"]
    owner.as_admin(
        "SET default_transaction_read_only = off",
        f"ALTER ROLE {owner.name} IN DATABASE {owner.name} SET default_transaction_read_only = off",
    )
    assert migrate(owner.url)


# ── poolers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("own_numbers", [True, False])
def test_a_pooler_that_lends_sessions_to_transactions_is_refused(
    owner: Tenant, own_numbers: bool, tmp_path: Path
) -> None:
    owner.as_admin("CREATE EXTENSION vector")
    with Pooler(url=owner.url, own_numbers=own_numbers).running() as url:
        for refuse in (connect, migrate, lambda it: open_pool(it, size=2)):
            with pytest.raises(ConfigurationError, match="pool_mode = session"):
                refuse(url)
        assert failed(checked(url, tmp_path)) == ["whole sessions", "settings"]
        # Nothing was left behind in the session that the pooler lends to the next one.
        with psycopg.connect(url) as other:
            assert show(other, "statement_timeout") == "0"
            assert other.execute(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
            ).fetchone() == (0,)
    assert schemas(owner) == ["public"]


def test_a_pooler_of_whole_sessions_works(owner: Tenant, tmp_path: Path, cleaner: Cleaner) -> None:
    owner.as_admin("CREATE EXTENSION vector")
    with Pooler(url=owner.url, whole_sessions=True).running() as url:
        migrate(url)
        one_batch(url, tmp_path, cleaner)
        assert failed(checked(url, tmp_path)) == []


def test_the_pooler_of_the_tests_is_one(owner: Tenant) -> None:
    """Two clients take turns in one session, and what the first one has set is there for the second."""
    with (
        Pooler(url=owner.url).running() as url,
        psycopg.connect(url, autocommit=True) as one,
        psycopg.connect(url) as two,
    ):
        one.execute("SET statement_timeout = '7s'")
        assert show(two, "statement_timeout") == "7s"


# ── encodings and versions ──────────────────────────────────────────────────────────────────────────────────────────

OTHER_TYPES = {
    "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'": "encoding",
    "ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'": "encoding",
    "ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'": "character type",
    "ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'POSIX'": "character type",
}


@pytest.mark.parametrize("options", OTHER_TYPES, ids=OTHER_TYPES.values())
def test_a_database_of_other_characters_is_refused(
    postgres_server: Postgres, options: str, tmp_path: Path
) -> None:
    check = OTHER_TYPES[options]
    options = f"TEMPLATE template0 LOCALE_PROVIDER libc {options}"
    with tenant(postgres_server, options=options) as owner:
        owner.as_admin("CREATE EXTENSION vector")
        with pytest.raises(ConfigurationError, match=f"the database's {check} is .*createdb"):
            migrate(owner.url)
        assert schemas(owner) == ["public"]
        assert failed(checked(owner.url, tmp_path)) == [check]


def test_an_old_server_is_refused(owner: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    owner.as_admin("CREATE EXTENSION vector")
    monkeypatch.setattr(server, "MIN_POSTGRES", 99)
    for refuse in (connect, migrate):
        with pytest.raises(ConfigurationError, match=r"PostgreSQL .* is older than 99"):
            refuse(owner.url)
    assert schemas(owner) == ["public"]


# ── standbys ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_standby_says_so_and_several_hosts_lead_to_the_primary(
    postgres_server: Postgres, owner: Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner.as_admin("CREATE EXTENSION vector")
    monkeypatch.setattr(database, "_POOL_TIMEOUT_SECONDS", 1)
    standby = Standby(
        home=tmp_path / "standby", port=free_port(), fsync=False, primary=postgres_server
    )
    with running(standby):
        url = make_conninfo(owner.url, port=standby.port)
        for refuse in (connect, migrate):
            with pytest.raises(DependencyError, match=r"is a standby .* `host=one,two`"):
                refuse(url)
        with open_pool(url, size=1) as pool:
            with pytest.raises(DependencyError, match="is a standby"):
                pool.getconn()
            assert failed(checked(url, tmp_path)) == ["primary", "settings"]
            both = {"host": "127.0.0.1,127.0.0.1", "port": f"{standby.port},{postgres_server.port}"}
            with connect(make_conninfo(owner.url, **both)) as connection:
                assert connection.info.port == postgres_server.port
            # A failover: the same server becomes the primary, and the pool gets its connections.
            with psycopg.connect(standby.url_of("postgres"), autocommit=True) as admin:
                admin.execute("SELECT pg_promote()")
            wait_until(lambda: connection_of(pool), 30, "a connection of the new primary")


def connection_of(pool: Any) -> bool:
    try:
        with pool.connection() as connection:
            return not connection.execute("SELECT pg_is_in_recovery()").fetchone()[0]
    except (DependencyError, PoolTimeout):
        return False


def shown(url: str) -> dict[str, str]:
    with connect(url) as connection:
        return {name: show(connection, name) for name in HOSTILE}


def test_a_log_that_may_hold_rows_is_quietened_or_named(
    postgres_server: Postgres, tmp_path: Path
) -> None:
    with tenant(postgres_server) as owner:
        owner.as_admin(
            "CREATE EXTENSION vector",
            f"ALTER ROLE {owner.name} SET log_error_verbosity = verbose",
            f"ALTER ROLE {owner.name} SET log_parameter_max_length_on_error = 100",
        )
        named = checked(owner.url, tmp_path)["settings"].observed
        assert "may hold text of rows: log_error_verbosity = verbose (user)" in named
        assert "`GRANT SET ON PARAMETER log_error_verbosity TO` this user" in named
        assert "log_parameter_max_length_on_error = 100" not in named.partition("; but")[2]
        owner.as_admin(f"GRANT SET ON PARAMETER log_error_verbosity TO {owner.name}")
        assert "may hold" not in checked(owner.url, tmp_path)["settings"].observed
        owner.as_admin(f"REVOKE SET ON PARAMETER log_error_verbosity FROM {owner.name}")
