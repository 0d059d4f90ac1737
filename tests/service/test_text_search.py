"""Databases of before: another character type, and search texts that are made anew."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from compose.local.parts.postgres import Postgres
from compose.local.parts.postgres_locale import character_type
from corpus import text_search
from corpus.clean.cleaner import Cleaner
from corpus.database import migrate
from corpus.text_search import rebuild_search_texts, set_character_type
from tests.support.pipeline import Pipeline, make_event

pytestmark = pytest.mark.service

NAME = "of_before"
QUOTED = "The keeper opened the “sluice” of the Öre; gate—then bell."
CHINESE = "水库的闸门在夜间打开。"


@pytest.fixture
def old_url(postgres_server: Postgres, postgres_url: str) -> Iterator[str]:
    """A corpus in a database as `initdb --locale=C` made it."""
    postgres_server.create_database(NAME, template="freshet")
    with psycopg.connect(postgres_server.url_of("postgres"), autocommit=True) as connection:
        connection.execute(
            """UPDATE pg_database SET datlocprovider = 'c', datlocale = NULL, datcollate = 'C', datctype = 'C'
               WHERE datname = %s""",
            (NAME,),
        )
    yield postgres_server.url_of(NAME)
    postgres_server.drop_database(NAME)


def test_a_corpus_with_the_character_type_c_can_be_upgraded(old_url: str) -> None:
    assert migrate(old_url) == []


def forget_terms(pipeline: Pipeline) -> None:
    """The search texts that the version before made."""
    pipeline.connection.execute(
        "UPDATE freshet.chunk SET search_text = to_tsvector('english', text)"
    )


def found(url: str, words: str) -> list[str]:
    """In a session of its own: the character type is that of its beginning."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT document_id FROM freshet.search(NULL, %s, 5, 'text')", (words,)
        ).fetchall()
    return [row[0] for row in rows]


def test_a_local_database_of_before_becomes_one_of_today(
    postgres_server: Postgres, old_url: str, tmp_path: Path, cleaner: Cleaner
) -> None:
    with Pipeline(old_url, tmp_path, cleaner=cleaner) as pipeline:
        pipeline.ingest(make_event("quoted", 1, QUOTED), make_event("zh", 1, CHINESE))
        forget_terms(pipeline)
    assert [found(old_url, words) for words in ("sluice", "gate", "öre", "闸门")] == [[]] * 4
    assert "character type is C" in rebuild_search_texts(old_url).warning
    maintenance = postgres_server.url_of("postgres")
    set_character_type(maintenance, NAME, character_type())
    set_character_type(maintenance, NAME, "never.UTF-8")
    done = rebuild_search_texts(old_url)
    # The Chinese one once more: with C, its full stop was a word.
    assert (done.rebuilt, done.warning) == (2, "")
    for words in ("sluice", "gate", "öre"):
        assert found(old_url, words) == ["quoted"]
    assert found(old_url, "闸门") == ["zh"]
    assert rebuild_search_texts(old_url).rebuilt == 0


def test_the_stack_s_own_database_has_the_letters_of_unicode(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        row = connection.execute(
            "SELECT tsvector_to_array(to_tsvector('simple', '“Öl”—ШЛЮЗ'))"
        ).fetchone()
    assert row is not None
    assert set(row[0]) == {"öl", "шлюз"}


def test_search_texts_are_rebuilt_slice_by_slice(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_search, "_SLICE", 3)
    pipeline.ingest(*(make_event(f"zh{n}", 1, f"{CHINESE}第{n}号。") for n in range(10)))
    pipeline.ingest(make_event("en", 1, QUOTED))
    pipeline.ingest(make_event("zh9", 2, op="delete"))
    right = search_texts(pipeline)
    forget_terms(pipeline)
    assert pipeline.search("闸门", mode="text") == ()
    # Also what is of the past, since searches as of an instant read it.
    assert rebuild_search_texts(pipeline.database_url).rebuilt == 10
    assert search_texts(pipeline) == right
    assert len(pipeline.search("闸门", mode="text", k=20)) == 9
    assert rebuild_search_texts(pipeline.database_url).rebuilt == 0


def search_texts(pipeline: Pipeline) -> list[tuple[object, ...]]:
    return pipeline.connection.execute(
        "SELECT chunk_id, search_text::text FROM freshet.chunk ORDER BY chunk_id"
    ).fetchall()


def test_what_an_older_process_wrote_since_is_rebuilt_next_time(pipeline: Pipeline) -> None:
    pipeline.ingest(make_event("one", 1, CHINESE))
    rebuild_search_texts(pipeline.database_url)
    pipeline.ingest(make_event("two", 1, CHINESE + "村庄。"))
    forget_terms(pipeline)
    assert rebuild_search_texts(pipeline.database_url).rebuilt == 1
    assert [hit.document_id for hit in pipeline.search("闸门", mode="text")] == ["two"]
