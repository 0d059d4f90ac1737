"""Loads a made corpus as a restore does: rows first, then indexes; the rows are those that publishing leaves."""

import hashlib
import time
from typing import Any

import numpy as np
from psycopg.types.json import Jsonb

from corpus.database import Connection
from corpus.source import SourceSpec
from tests.bench.scale.made import (
    BATCHES,
    DAY,
    FIRST_DAY,
    GROUPS,
    SELECTIVITIES,
    SOURCES,
    Made,
    batch_time,
    metadata,
    pages,
)
from tests.bench.scale.revision import Revision

FIRST_CHUNK = 1_000  # id of the first one that is loaded
_ORDER_OF_LISTS = (None, *GROUPS)
_BYTES_OF_VECTOR = 4_000  # that building the index takes in memory, generously
_TYPES = ("int8", "text", "text", "bytea", "text", "int4", "vector", "int8", "int8", "int4")


def load(revision: Revision, made: Made) -> dict[str, Any]:
    """Fill an empty database.

    Returns:
        Seconds of each step.
    """
    connection = revision.connection
    seconds: dict[str, Any] = {}

    def timed(name: str, began: float) -> None:
        seconds[name] = round(time.monotonic() - began, 2)

    began = time.monotonic()
    lists = _sources(connection)
    definitions = _drop_indexes(connection)
    _chunks(connection, made, lists)
    timed("rows", began)
    connection.execute(f"SET maintenance_work_mem = '{_memory(made.chunks)}MB'".encode())
    connection.execute(
        f"ALTER ROLE CURRENT_USER SET maintenance_work_mem = '{_memory(made.chunks)}MB'".encode()
    )
    indexes: dict[str, float] = {}
    for name, definition in definitions.items():
        began = time.monotonic()
        connection.execute(definition.encode())
        indexes[name] = round(time.monotonic() - began, 2)
    indexes["vectors"] = round(revision.do("index"), 2)
    seconds["indexes"] = indexes
    began = time.monotonic()
    _documents(connection, made)
    timed("documents", began)
    began = time.monotonic()
    connection.execute("VACUUM ANALYZE")
    timed("vacuum", began)
    return seconds


def _memory(chunks: int) -> int:
    """An index of vectors takes many times as long where its graph does not fit in memory."""
    return 64 + chunks * _BYTES_OF_VECTOR // 1_000_000


def _sources(connection: Connection) -> dict[tuple[str, str | None], int | None]:
    """Sources, their batches and access lists; returns the ids of the lists."""
    for name in SOURCES:
        spec = SourceSpec(source=name, topics=(name,), default_acl=(GROUPS[0],))
        connection.execute(
            "INSERT INTO freshet.source (source, spec, last_batch, last_published_at) VALUES (%s, %s, %s, %s)",
            (name, Jsonb(spec.to_json()), BATCHES, batch_time(BATCHES)),
        )
        connection.execute(
            """INSERT INTO freshet.batch (source, batch, kind, state, workflow_id, run_id, staged_at, published_at)
               SELECT %s, n, 'ingest', 'published', 'w', 'r', at, at
               FROM generate_series(1, %s) AS n CROSS JOIN LATERAL (SELECT %s::timestamptz + n * %s AS at) t""",
            (name, BATCHES, FIRST_DAY, DAY),
        )
    lists: dict[tuple[str, str | None], int | None] = {(name, None): None for name in SOURCES}
    for name in SOURCES:
        for group in GROUPS:
            row = connection.execute("SELECT freshet.access_of(%s, %s)", (name, [group])).fetchone()
            assert row is not None
            lists[name, group] = row[0]
    return lists


def _drop_indexes(connection: Connection) -> dict[str, str]:
    """Those of the chunks that no constraint needs; returns the statements that make them again."""
    rows = connection.execute(
        """SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid)
           FROM pg_index i WHERE i.indrelid = 'freshet.chunk'::regclass AND NOT i.indisprimary"""
    ).fetchall()
    for name, _ in rows:
        connection.execute(f"DROP INDEX {name}".encode())
    return {name.removeprefix("freshet."): definition for name, definition in rows}


def _chunks(
    connection: Connection, made: Made, lists: dict[tuple[str, str | None], int | None]
) -> None:
    documents = made.documents
    names = list(SOURCES)
    access = [
        lists[names[source], _ORDER_OF_LISTS[place]]
        for source, place in zip(documents.source, documents.access, strict=True)
    ]
    token_counts = made.token_counts()
    connection.execute(_STAGED)
    for first, until in pages(made):
        with connection.transaction(), connection.cursor() as cursor:
            with cursor.copy("COPY staged FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types(_TYPES)
                for chunk in range(first, until):
                    document = made.document_of[chunk]
                    text = made.text(chunk)
                    copy.write_row(
                        (
                            FIRST_CHUNK + chunk,
                            names[documents.source[document]],
                            f"d{documents.name[document]}",
                            hashlib.sha256(text.encode()).digest(),
                            text,
                            int(token_counts[chunk]),
                            made.vectors[chunk],
                            int(documents.first_batch[document]),
                            int(documents.end_batch[document]) or None,
                            access[document],
                        )
                    )
            cursor.execute(_OPEN_CHUNKS, {"first_day": FIRST_DAY, "day": DAY})
            cursor.execute("TRUNCATE staged")
    connection.execute(
        "SELECT setval(pg_get_serial_sequence('freshet.chunk', 'chunk_id'), max(chunk_id)) FROM freshet.chunk"
    )


def _documents(connection: Connection, made: Made) -> None:
    documents = made.documents
    names = list(SOURCES)
    keys = {
        f"{kind}{selectivity}": metadata(documents, kind, selectivity)
        for kind in ("random", "topic")
        for selectivity in SELECTIVITIES
    }
    connection.execute(_STAGED_DOCUMENTS)
    with connection.transaction(), connection.cursor() as cursor:
        with cursor.copy("COPY staged_document FROM STDIN") as copy:
            for n in range(len(documents.chunks)):
                copy.write_row(
                    (
                        n,
                        names[documents.source[n]],
                        f"d{documents.name[n]}",
                        int(documents.version[n]),
                        int(documents.first_batch[n]),
                        int(documents.end_batch[n]) or None,
                        Jsonb({key: True for key, has in keys.items() if has[n]}),
                        _ORDER_OF_LISTS[documents.access[n]],
                        int(FIRST_CHUNK + documents.first_chunk[n]),
                        int(documents.chunks[n]),
                    )
                )
        cursor.execute(_OPEN_DOCUMENTS, {"first_day": FIRST_DAY, "day": DAY})


def made_chunk(chunk_id: int) -> int:
    """The number of a chunk that has this id in the database."""
    return chunk_id - FIRST_CHUNK


def require_same_lexemes(connection: Connection, made: Made, lexemes: list[str | None]) -> None:
    """Some chunks hold the lexemes of their words, in the number in which these occur.

    Args:
        connection: to a database that was loaded.
        made: what was loaded.
        lexemes: of each word of the vocabulary.

    Raises:
        RuntimeError: a chunk holds other ones.
    """
    for chunk in np.linspace(0, made.chunks - 1, 200).astype(int).tolist():
        numbers = made.words[made.first_word[chunk] : made.first_word[chunk + 1]].tolist()
        wanted: dict[str, int] = {}
        for number in numbers:
            if (lexeme := lexemes[number]) is not None:
                wanted[lexeme] = wanted.get(lexeme, 0) + 1
        rows = connection.execute(
            """SELECT l.lexeme, cardinality(l.positions) FROM freshet.chunk c, unnest(c.search_text) l
               WHERE c.chunk_id = %s""",
            (FIRST_CHUNK + chunk,),
        ).fetchall()
        if dict(rows) != wanted:
            raise RuntimeError(f"chunk {chunk} holds other lexemes than its words have")


_STAGED = b"""
CREATE TEMP TABLE staged (chunk_id bigint, source text, document_id text, text_sha256 bytea, text text,
    token_count integer, embedding vector, batch bigint, end_batch bigint, access_id integer)"""
_OPEN_CHUNKS = b"""
INSERT INTO freshet.chunk (chunk_id, source, document_id, text_sha256, text, token_count, search_text, space_id,
    dimensions, embedding, vector_hash, visible_from, visible_to, batch, end_batch, language, headings, access_id)
OVERRIDING SYSTEM VALUE
SELECT s.chunk_id, s.source, s.document_id, s.text_sha256, s.text, s.token_count,
       freshet.search_text('english', s.text, ''), 1, vector_dims(s.embedding), s.embedding,
       freshet.hash_of_vector(s.embedding), %(first_day)s::timestamptz + s.batch * %(day)s,
       %(first_day)s::timestamptz + s.end_batch * %(day)s, s.batch, s.end_batch, 'english', '', s.access_id
FROM staged s ORDER BY s.chunk_id"""
_STAGED_DOCUMENTS = b"""
CREATE TEMP TABLE staged_document (n bigint, source text, document_id text, version bigint, batch bigint,
    end_batch bigint, metadata jsonb, acl text, first_chunk bigint, chunks integer)"""
_OPEN_DOCUMENTS = b"""
INSERT INTO freshet.document (source, document_id, version, kind, is_head, visible_from, visible_to, end_reason,
    end_batch, title, metadata, acl, space_id, chunk_ids, chunk_starts, chunk_headings, observed_at, batch, language)
SELECT s.source, s.document_id, s.version, 'document', s.end_batch IS NULL,
       %(first_day)s::timestamptz + s.batch * %(day)s, %(first_day)s::timestamptz + s.end_batch * %(day)s,
       CASE WHEN s.end_batch IS NOT NULL THEN 'replaced' END, s.end_batch, 'Document ' || s.document_id, s.metadata,
       CASE WHEN s.acl IS NOT NULL THEN ARRAY[s.acl] END, 1,
       ARRAY(SELECT s.first_chunk + n FROM generate_series(0, s.chunks - 1) n),
       ARRAY(SELECT n * 1000 FROM generate_series(0, s.chunks - 1) n),
       ARRAY(SELECT '' FROM generate_series(0, s.chunks - 1) n),
       %(first_day)s::timestamptz + s.batch * %(day)s, s.batch, 'english'
FROM staged_document s ORDER BY s.n"""
