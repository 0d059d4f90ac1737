"""Access lists of documents of before get their numbers beside publishing, and before anybody is kept out by them."""

from collections.abc import Sequence
from itertools import pairwise

import psycopg
import pytest
from psycopg.types.json import Jsonb

from corpus import database
from corpus.database import Connection, connect, migrate
from corpus.embed import space_indexes
from corpus.sessions import access_lists
from corpus.source import SourceSpec

pytestmark = pytest.mark.service

LONG = [f"group-{n:032x}" for n in range(300)]
DOCUMENT = """INSERT INTO freshet.document (source, document_id, version, kind, is_head, visible_from, visible_to,
        end_reason, observed_at, batch, acl, chunk_ids, chunk_starts, chunk_headings)
    VALUES (%(source)s, %(id)s, 1, 'document', %(is_visible)s, '2025-01-01', %(visible_to)s, %(end)s, now(), 1, %(acl)s,
        %(chunks)s, %(starts)s, %(headings)s)"""
CHUNK = """INSERT INTO freshet.chunk (source, document_id, text_sha256, text, token_count, search_text, space_id,
        dimensions, embedding, visible_from, visible_to, batch)
    VALUES (%(source)s, %(id)s, sha256(%(text)s::bytea), %(text)s, 1, 'x', 1, 2, '[1,2]', '2025-01-01', %(visible_to)s,
        1)
    RETURNING chunk_id"""


def put(
    connection: Connection, source: str, name: str, acl: list[str] | None, chunks: Sequence[str]
) -> None:
    """A version of a document, and its chunks; those whose text ends with "ended" were closed with it."""
    is_visible = not name.endswith("ended")
    values = {
        "source": source,
        "id": name.split("-")[0],
        "is_visible": is_visible,
        "visible_to": None if is_visible else "2026-01-01T00:00:00Z",
        "end": None if is_visible else "replaced",
        "acl": acl,
        "starts": [0 for _ in chunks],
        "headings": ["" for _ in chunks],
    }
    made: list[int] = []
    for text in chunks:
        row = connection.execute(CHUNK, values | {"text": text}).fetchone()
        assert row is not None
        made.append(row[0])
    connection.execute(DOCUMENT, values | {"chunks": made})


@pytest.fixture
def before(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database of the version before access lists, with documents of two sources."""
    old = [one for one in database.migrations() if one[0] < "0021"]
    with monkeypatch.context() as patched:
        patched.setattr(database, "migrations", lambda: old)
        migrate(empty_database_url)
    with connect(empty_database_url) as connection:
        connection.execute(
            """INSERT INTO freshet.embedding_space (fingerprint, model, weights, pooling, prefix, dimensions,
                   normalised, token_limit) VALUES ('f', 'm', '', '', '', 2, true, 256)"""
        )
        for source in ("s", "t"):
            spec = SourceSpec(source=source, topics=(source,))
            connection.execute(
                "INSERT INTO freshet.source (source, spec) VALUES (%s, %s)",
                (source, Jsonb(spec.to_json())),
            )
            connection.execute(
                """INSERT INTO freshet.batch (source, batch, kind, state, workflow_id, run_id, staged_at, published_at)
                   VALUES (%s, 1, 'ingest', 'published', '', '', now(), now())""",
                (source,),
            )
            put(connection, source, "open", None, ["open"])
            put(connection, source, "hr-ended", ["it"], ["hr, ended"])
            for n in range(5):
                put(connection, source, f"hr{n}", ["hr", "it"], [f"hr{n}", f"hr{n} two"])
            put(connection, source, "long", LONG, ["long"])
    return empty_database_url


def test_they_are_numbered_in_pages_after_the_migrations(
    before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill = access_lists.fill_access_lists
    pages: list[int] = []

    def watched(connection: Connection) -> None:
        """Other sessions read and write meanwhile."""
        with psycopg.connect(before, options="-c lock_timeout=2s") as other:
            counted = other.execute("SELECT count(access_id), count(*) FROM freshet.document")
            assert counted.fetchone() == (0, 16)
            other.execute("UPDATE freshet.chunk SET token_count = 2")
        fill(connection)
        pages.append(1)

    monkeypatch.setattr(database, "fill_access_lists", watched)
    monkeypatch.setattr(access_lists, "_ROWS_AT_ONCE", 4)
    migrate(before)
    assert pages == [1]
    with connect(before) as connection:
        unlike = connection.execute(
            """SELECT d.document_id, d.acl, a.acl, c.access_id FROM freshet.document d
               JOIN freshet.chunk c ON c.chunk_id = ANY(d.chunk_ids)
               LEFT JOIN freshet.access_list a ON a.access_id = d.access_id AND a.source = d.source
               WHERE a.acl IS DISTINCT FROM d.acl OR c.access_id IS DISTINCT FROM d.access_id"""
        )
        assert unlike.fetchall() == []
        lists = connection.execute("SELECT count(*) FROM freshet.access_list").fetchone()
        assert lists == (6,)


def test_a_page_holds_few_rows_and_the_next_run_continues(
    before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "fill_access_lists", lambda _: None)
    migrate(before)
    with connect(before) as connection:
        monkeypatch.setattr(access_lists, "_ROWS_AT_ONCE", 6)
        left = "SELECT count(*) FROM freshet.document WHERE acl IS NOT NULL AND access_id IS NULL"
        numbered: list[int] = []
        looked = access_lists._first_from

        def counted(connection: Connection, document_key: int) -> object:
            row = connection.execute(left.encode()).fetchone()
            assert row is not None
            numbered.append(row[0])
            return looked(connection, document_key)

        monkeypatch.setattr(access_lists, "_first_from", counted)
        access_lists.fill_access_lists(connection)
    assert numbered[0] == 14
    assert numbered[-1] == 0
    assert max(one - other for one, other in pairwise(numbered)) <= 2


def test_every_index_of_chunks_that_a_migration_leaves_can_be_built(database_url: str) -> None:
    with connect(database_url) as connection:
        names = {index.name for index in space_indexes.chunk_indexes(connection)}
        assert names == set(space_indexes._CHUNK_INDEXES)
        for name in names:
            connection.execute(f"DROP INDEX freshet.{name}".encode())
        space_indexes.build_missing(database_url)
        built = space_indexes.chunk_indexes(connection)
        assert {index.name for index in built if not index.is_wanted} == names
