"""Migrations: a chain without holes that says why, applies once, and refuses a database that it does not understand."""

import hashlib
import re
import threading

import psycopg
import pytest

from corpus import database
from corpus.database import applied_migrations, connect, migrate, migrations
from corpus.errors import ConfigurationError, DependencyError

ALL = migrations()
NAMES = [name for name, _ in ALL]
NEWER = (
    "9999_from_the_future.sql",
    "-- 9999 from the future.\n-- Why: a test. Locks: none. Phase: pre.\nSELECT 1;\n",
)


def test_numbers_have_no_holes() -> None:
    assert [int(name[:4]) for name in NAMES] == list(range(1, len(NAMES) + 1))


@pytest.mark.parametrize(("name", "text"), ALL, ids=NAMES)
def test_header_says_why_and_what_it_locks(name: str, text: str) -> None:
    head = text.split("\n\n", 1)[0]
    assert all(line.startswith("--") for line in head.splitlines()), (
        "comment lines, then an empty one"
    )
    number, words = name.removesuffix(".sql").split("_", 1)
    assert head.startswith(f"-- {number} {words.replace('_', ' ')}: "), (
        "the first line: number, name, what it brings"
    )
    for word in ("Why:", "Locks:", "Phase:"):
        assert re.search(rf"{word} \S", head), f"the header lacks {word}"
    assert re.search(r"Phase: (pre|post)\b", head), (
        "pre: before new code runs; post: after the old code is gone"
    )


@pytest.mark.parametrize(("name", "text"), ALL, ids=NAMES)
def test_the_runner_holds_the_transaction(name: str, text: str) -> None:
    assert not re.search(
        r"^\s*(BEGIN|COMMIT|ROLLBACK)\s*;", text, flags=re.MULTILINE | re.IGNORECASE
    )
    assert "CONCURRENTLY" not in text, "not possible in a transaction"


def test_objects_are_schema_qualified() -> None:
    """A client with another search_path must never meet, or make, another table."""
    for name, text in ALL:
        made = re.findall(r"CREATE (?:TABLE|FUNCTION|VIEW)(?: IF NOT EXISTS)? (\S+)", text)
        assert [thing for thing in made if not thing.startswith("freshet.")] == [], name


def test_an_empty_database_becomes_current_once(empty_database_url: str) -> None:
    assert migrate(empty_database_url) == NAMES
    before = dump(empty_database_url)
    assert migrate(empty_database_url) == []
    assert dump(empty_database_url) == before
    with connect(empty_database_url) as connection:
        assert applied_migrations(connection) == {
            name: hashlib.sha256(text.encode()).hexdigest() for name, text in ALL
        }


def test_one_at_a_time_is_the_same_as_all_at_once(
    empty_database_url: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for count in range(1, len(ALL) + 1):
        monkeypatch.setattr(database, "migrations", lambda count=count: ALL[:count])
        assert migrate(empty_database_url) == [NAMES[count - 1]]
    assert dump(empty_database_url) == dump(postgres_url)


def test_two_migrators_at_once_apply_each_once(empty_database_url: str) -> None:
    done: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda: done.append(migrate(empty_database_url))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done, key=len) == [[], [], [], NAMES]


def test_a_changed_migration_is_refused(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = [(ALL[0][0], ALL[0][1] + "\n-- a word more"), *ALL[1:]]
    monkeypatch.setattr(database, "migrations", lambda: changed)
    with pytest.raises(ConfigurationError, match=f"{NAMES[0]} was changed after it was applied"):
        migrate(database_url)


def test_a_newer_database_is_refused(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(database, "migrations", lambda: [*ALL, NEWER])
        assert migrate(database_url) == [NEWER[0]]
    with pytest.raises(ConfigurationError, match=f"has migration {NEWER[0]}, this code does not"):
        migrate(database_url)


def test_a_migration_that_fails_leaves_nothing_behind(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = (NEWER[0], "CREATE TABLE freshet.half (a integer); SELECT 1 / 0;")
    with monkeypatch.context() as patch:
        patch.setattr(database, "migrations", lambda: [*ALL, broken])
        with pytest.raises(psycopg.errors.DivisionByZero):
            migrate(database_url)
    with connect(database_url) as connection:
        assert connection.execute("SELECT to_regclass('freshet.half')").fetchone() == (None,)
    assert migrate(database_url) == []


def test_a_database_that_is_down_is_said_to_be() -> None:
    with pytest.raises(DependencyError, match="PostgreSQL does not answer"):
        migrate("host=127.0.0.1 port=1")


def test_an_old_pgvector_is_refused(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "MIN_PGVECTOR", (99, 0, 0))
    with pytest.raises(ConfigurationError, match=r"pgvector .* is too old"):
        migrate(database_url)


def dump(url: str) -> dict[str, list[tuple[object, ...]]]:
    """What the catalogue says of schema freshet: columns, constraints, indexes, functions."""
    looks = {
        "columns": """SELECT table_name, column_name, data_type, is_nullable, column_default, is_identity,
                             generation_expression
                      FROM information_schema.columns WHERE table_schema = 'freshet'
                      ORDER BY table_name, ordinal_position""",
        "constraints": """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
                          WHERE connamespace = 'freshet'::regnamespace ORDER BY 1, 2""",
        "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'freshet' ORDER BY 1, 2",
        "functions": """SELECT proname, pg_get_function_identity_arguments(oid), md5(pg_get_functiondef(oid))
                        FROM pg_proc WHERE pronamespace = 'freshet'::regnamespace ORDER BY 1, 2""",
        "options": """SELECT relname, reloptions::text FROM pg_class
                      WHERE relnamespace = 'freshet'::regnamespace ORDER BY 1""",
    }
    with connect(url) as connection:
        return {name: connection.execute(text).fetchall() for name, text in looks.items()}
