"""Functions of the schema: who may call them, what names mean inside of them, and triggers of other tables."""

import psycopg
import pytest

from corpus import database
from corpus.database import Connection
from corpus.sessions.roles import AUDITOR, GATEWAY, READER, WRITER
from tests.support.logins import grant, session
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
    "erasure_of": EVERYBODY,
    "event_is_readable": EVERYBODY,
    "head_is_readable": EVERYBODY,
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
