"""Functions of the schema: who may call them, what names mean inside of them, and triggers of other tables."""

from datetime import timedelta

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from corpus import database
from corpus.access.logins import reader_logins
from corpus.database import Connection, connect
from corpus.sessions.roles import AUDITOR, GATEWAY, READER, WRITER
from tests.support.logins import grant, login, session
from tests.support.pipeline import Pipeline, make_event

ROLES = (WRITER, GATEWAY, READER, AUDITOR)
EVERYBODY = "{freshet_auditor,freshet_gateway,freshet_reader,freshet_writer}"
# Functions that run with the rights of their owner, and who may call them beside it.
CALLERS = {
    "build_small_index": "{freshet_writer}",
    "erased_hash": "{freshet_writer}",
    "signing_key": "{freshet_writer}",
    "log_access": "{freshet_gateway,freshet_writer}",
    "batch_counts": EVERYBODY,
    "dead_letter_is_readable": EVERYBODY,
    "erasure_of": EVERYBODY,
    "head_is_readable": EVERYBODY,
    "newest_event": EVERYBODY,
    "outcome_of": EVERYBODY,
    "reading": EVERYBODY,
    "search": EVERYBODY,
    "settle": EVERYBODY,
}
ALLOWED = """
    SELECT p.proname::text, p.prosecdef, p.prorettype = 'trigger'::regtype AS is_trigger, ARRAY(
        SELECT coalesce(r.rolname, 'public')::text
        FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
        LEFT JOIN pg_roles r ON r.oid = a.grantee
        WHERE a.grantee <> p.proowner ORDER BY 1)::text AS callers
    FROM pg_proc p WHERE p.pronamespace = 'freshet'::regnamespace"""


@pytest.fixture
def corpus(pipeline: Pipeline) -> Pipeline:
    """An open document, one of a group and one of nobody."""
    pipeline.ingest(
        make_event("open", 1, "The mill."),
        make_event("hr", 1, "The wages.", acl=["hr"]),
        make_event("nobody", 1, "The key.", acl=[]),
    )
    return pipeline


def chunks(connection: Connection) -> set[str]:
    rows = connection.execute("SELECT document_id FROM freshet.chunk").fetchall()
    return {row[0] for row in rows}


# ── who may call them ───────────────────────────────────────────────────────────────────────────────────────────────


def test_functions_are_called_by_an_allow_list_of_roles(corpus: Pipeline) -> None:
    found = corpus.connection.execute(ALLOWED).fetchall()
    assert found
    for name, is_definer, is_trigger, callers in found:
        if is_trigger:
            assert callers == "{}", name
        elif is_definer:
            assert callers == CALLERS.get(name, "{freshet_writer}"), name
        else:
            assert callers == EVERYBODY, name


@pytest.mark.parametrize("role", ROLES)
def test_no_login_puts_a_trigger_of_ours_on_a_table_of_its_own(corpus: Pipeline, role: str) -> None:
    columns = "(kind text, acl text[], source text, document_id text, access_id integer)"
    with session(corpus.database_url, role) as connection:
        connection.execute(f"CREATE TEMP TABLE mine {columns}".encode())
        for when, called in (
            ("BEFORE INSERT ON mine FOR EACH ROW", "note_access"),
            ("AFTER INSERT ON mine REFERENCING NEW TABLE AS opened", "pass_access_on"),
            ("AFTER INSERT ON mine REFERENCING NEW TABLE AS added", "note_embedded"),
            ("BEFORE UPDATE ON mine", "refuse_change"),
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(
                    f"CREATE TRIGGER t {when} EXECUTE FUNCTION freshet.{called}()".encode()
                )


def test_a_function_is_for_nobody_else_from_the_migration_on_that_makes_it(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "secure", lambda *_given, **_limits: None)
    database.migrate(empty_database_url)
    with database.connect(empty_database_url) as connection:
        found = connection.execute(ALLOWED).fetchall()
    assert [row[0] for row in found if "public" in row[3]] == []


def test_no_function_says_of_an_id_whether_there_is_a_document(corpus: Pipeline) -> None:
    """That a reader cannot read; by dead letters, readers learn of those that it may know of."""
    corpus.ingest(
        b"no json",
        make_event("hr", 2, "The wages.", acl=["hr"], content_type="application/x-unknown"),
    )
    with session(corpus.database_url, READER) as analyst:
        grant(corpus.database_url, analyst, sources=["s"], groups=[])
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            analyst.execute("SELECT freshet.event_is_readable('s', 'hr')")
        asked = "SELECT freshet.head_is_readable('s', id) FROM unnest('{hr, never}'::text[]) id"
        assert analyst.execute(asked).fetchall() == [(False,), (False,)]
        letters = "SELECT document_id FROM freshet.dead_letter"
        assert analyst.execute(letters).fetchall() == [(None,)]
        grant(corpus.database_url, analyst, sources=["s"], groups=["hr"])
        assert set(analyst.execute(letters).fetchall()) == {(None,), ("hr",)}
        assert analyst.execute("SELECT freshet.dead_letter_is_readable(-1)").fetchone() == (False,)


# ── what they hold up, and what is heard of them ────────────────────────────────────────────────────────────────────


def test_a_login_that_settles_an_instant_holds_up_nobody(corpus: Pipeline) -> None:
    with session(corpus.database_url, READER) as analyst, analyst.transaction():
        analyst.execute("SELECT freshet.settle(clock_timestamp() + interval '20 milliseconds')")
        corpus.connection.execute("SET lock_timeout = '1s'")
        with session(corpus.database_url, GATEWAY) as gateway:
            gateway.execute("SET lock_timeout = '1s'")
            gateway.execute("SELECT freshet.settle(clock_timestamp() + interval '50 milliseconds')")
        answered = corpus.connection.execute(
            "SELECT instant FROM freshet.as_of_answered"
        ).fetchone()
        now = corpus.connection.execute("SELECT clock_timestamp()").fetchone()
        assert answered is not None
        assert now is not None
        assert now[0] - timedelta(seconds=30) < answered[0] <= now[0]
        assert corpus.ingest(make_event("more", 1, "More.")).applied == 1


def test_nobody_hears_of_what_is_published(corpus: Pipeline) -> None:
    """Any login may listen to any channel; subscribers are told by their notices."""
    with session(corpus.database_url) as stranger:
        stranger.execute("LISTEN freshet_published")
        corpus.ingest(make_event("more", 1, "More.", acl=["hr"]))
        assert list(stranger.notifies(timeout=0)) == []


def test_estimates_say_nothing_of_texts(corpus: Pipeline) -> None:
    """A policy hides rows; what the planner knows of all rows, `EXPLAIN` shows to who may read the table."""
    with psycopg.connect(corpus.database_url, autocommit=True) as admin:
        admin.execute("ANALYZE freshet.document, freshet.chunk")
        kept = admin.execute(
            """SELECT attname::text FROM pg_stats WHERE schemaname = 'freshet'
               AND tablename IN ('document', 'chunk') AND attname IN ('title', 'uri', 'text')"""
        ).fetchall()
    assert kept == []


def test_a_policy_that_says_something_else_takes_the_place_of_the_one_before(
    corpus: Pipeline,
) -> None:
    policy = """SELECT oid, pg_get_expr(polqual, polrelid) FROM pg_policy
                WHERE polrelid = 'freshet.chunk'::regclass AND polname = 'reads'"""
    secure = "SELECT freshet.secure_table('chunk')"
    made = corpus.connection.execute(policy).fetchall()
    corpus.connection.execute(secure)
    assert corpus.connection.execute(policy).fetchall() == made
    corpus.connection.execute("ALTER POLICY reads ON freshet.chunk USING (true)")
    corpus.connection.execute("COMMENT ON POLICY reads ON freshet.chunk IS 'true'")
    corpus.connection.execute(secure)
    again = corpus.connection.execute(policy).fetchall()
    assert [row[1] for row in again] == [row[1] for row in made]
    with session(corpus.database_url, READER) as analyst:
        grant(corpus.database_url, analyst, sources=["s"], groups=[])
        assert chunks(analyst) == {"open"}


def test_a_grant_is_of_the_login_and_not_of_the_next_one_with_its_name(corpus: Pipeline) -> None:
    with login(corpus.database_url, READER) as url, connect(corpus.database_url) as admin:
        with connect(url) as analyst:
            grant(corpus.database_url, analyst, sources=["s"], groups=["hr"])
            assert chunks(analyst) == {"open", "hr"}
            user = analyst.info.user
        admin.execute(f"ALTER ROLE {user} RENAME TO {user}_gone".encode())
        password = conninfo_to_dict(url)["password"]
        admin.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{password}' IN ROLE {READER}".encode())
        with connect(url) as other:
            assert chunks(other) == set()
        [row] = reader_logins(admin, user)
        assert row.state == "granted before there was this login: grant it again"
        admin.execute(f"DROP ROLE {user}".encode())
        admin.execute(f"ALTER ROLE {user}_gone RENAME TO {user}".encode())


# ── what names mean inside of them ──────────────────────────────────────────────────────────────────────────────────


def test_functions_with_more_rights_and_those_of_policies_look_up_no_names_of_others(
    corpus: Pipeline,
) -> None:
    found = corpus.connection.execute(
        """SELECT p.proname::text, ARRAY(
               SELECT setting FROM unnest(p.proconfig) AS setting WHERE setting LIKE 'search_path=%'
           ) FROM pg_proc p
           WHERE p.pronamespace = 'freshet'::regnamespace AND (p.prosecdef OR EXISTS (
               SELECT FROM pg_depend d WHERE d.classid = 'pg_policy'::regclass
               AND d.refclassid = 'pg_proc'::regclass AND d.refobjid = p.oid))"""
    ).fetchall()
    names = {row[0] for row in found}
    assert {"search", "granted_sources", "readable_lists", "head_is_readable"} <= names
    assert {row[0]: row[1] for row in found if row[1] != ["search_path=pg_catalog, pg_temp"]} == {}


def test_a_login_with_a_schema_of_its_own_sees_no_more_by_it(corpus: Pipeline) -> None:
    with session(corpus.database_url, READER) as analyst:
        grant(corpus.database_url, analyst, sources=["s"], groups=[])
        assert chunks(analyst) == {"open"}
        user = analyst.info.user
        with psycopg.connect(corpus.database_url, autocommit=True) as admin:
            admin.execute(f"CREATE SCHEMA {user} AUTHORIZATION {user}".encode())
        for kind, everything in (("text", "SELECT 's'"), ("integer", "VALUES (1), (2), (3)")):
            analyst.execute(
                f"""CREATE FUNCTION {user}.unnest({kind}[]) RETURNS SETOF {kind}
                    LANGUAGE sql AS $${everything}$$""".encode()
            )
        analyst.execute(f"SET search_path = {user}, pg_catalog".encode())
        assert chunks(analyst) == {"open"}


def test_a_search_calls_no_function_of_who_may_create_in_public(corpus: Pipeline) -> None:
    """So could everybody in databases of PostgreSQL 14; a function that fits better is preferred there."""
    with psycopg.connect(corpus.database_url, autocommit=True) as admin:
        admin.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
        admin.execute("CREATE TEXT SEARCH CONFIGURATION public.ours (COPY = english)")
    found = "SELECT document_id FROM freshet.search(NULL, 'wages of the mill', 5, 'text'{})"
    with session(corpus.database_url, READER) as analyst:
        grant(corpus.database_url, analyst, sources=["s"], groups=[])
        for parameters in ("bigint[], bigint", "text[], text", "name[], name"):
            analyst.execute(
                f"""CREATE FUNCTION public.array_position({parameters}) RETURNS integer
                    LANGUAGE plpgsql AS $$ BEGIN RAISE 'as %', current_user; END $$""".encode()
            )
        for more in ("", ", p_language => 'english'", ", p_language => 'public.ours'"):
            assert analyst.execute(found.format(more).encode()).fetchall() == [("open",)]
        assert analyst.execute("SELECT freshet.text_config('ours')::text").fetchone() == ("ours",)
