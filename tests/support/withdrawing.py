"""Many chunks with vectors, written as rows, and many of them withdrawn: a corpus after much has changed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import scalar_row
from psycopg.types.json import Jsonb

from corpus.database import Connection
from corpus.source import SourceSpec
from corpus.upkeep.maintainer import Done, Wish, maintain, plan
from corpus.upkeep.rule import Decision
from corpus.upkeep.standing import read_standing

DIMENSIONS = 8
CHUNKS = 3_000
VECTORS = "chunk_embedding_space_1"
_QUERY = "[" + ",".join(["0.1"] * DIMENSIONS) + "]"
_REGISTER = "SELECT freshet.register_space('f', 'm', 'w', 'mean', '', %s, true, 256)"
_FILL = """
INSERT INTO freshet.chunk (source, document_id, text_sha256, text, token_count, search_text, space_id, dimensions,
    embedding, visible_from, batch)
SELECT 's', 'd' || n, sha256(convert_to('text ' || n, 'UTF8')), 'Text ' || n, 2, to_tsvector('english', 'Text ' || n),
       1, %(dimensions)s, (SELECT array_agg(random() - 0.5 + 0 * (n + g))
                FROM generate_series(1, %(dimensions)s) AS g)::vector,
       now() - interval '1 day', 1
FROM generate_series(1, %(chunks)s) AS n"""


def fill(connection: Connection, chunks: int = CHUNKS) -> None:
    """Chunks of a source, whose space has no vector index yet, and whose counts are known; nothing vacuums them."""
    spec = SourceSpec(source="s", topics=("s",))
    connection.execute(
        "INSERT INTO freshet.source (source, spec) VALUES ('s', %s)", (Jsonb(spec.to_json()),)
    )
    connection.execute(_REGISTER, (DIMENSIONS,))
    connection.execute(
        """INSERT INTO freshet.batch (source, batch, kind, state, workflow_id, run_id, staged_at, published_at)
           VALUES ('s', 1, 'ingest', 'published', 'w', 'r', now(), now())"""
    )
    connection.execute("ALTER TABLE freshet.chunk SET (autovacuum_enabled = off)")
    connection.execute(_FILL.encode(), {"chunks": chunks, "dimensions": DIMENSIONS})
    _count_now(connection)
    connection.execute("VACUUM ANALYZE freshet.chunk")


def withdraw(connection: Connection, share: float) -> int:
    """Withdraw a share of the chunks, as a deletion of their documents does; returns how many."""
    withdrawn = connection.execute(
        """UPDATE freshet.chunk SET visible_to = now()
           WHERE visible_to IS NULL AND chunk_id %% 100 < %s""",
        (round(100 * share),),
    ).rowcount
    _count_now(connection)
    return withdrawn


def remove_withdrawn(connection: Connection) -> int:
    """Remove them for good, as a purge does; returns how many."""
    removed = connection.execute("DELETE FROM freshet.chunk WHERE visible_to IS NOT NULL").rowcount
    _count_now(connection)
    return removed


def index_closed_chunks(connection: Connection) -> None:
    """Closed chunks have a vector index however few they are."""
    definition = "SELECT pg_get_functiondef('freshet.vector_indexes(boolean)'::regprocedure)"
    usual = scalar(connection, definition)
    assert ">= 20000" in usual
    connection.execute(usual.replace(">= 20000", ">= -1").encode())
    connection.execute("ANALYZE freshet.chunk")


def _count_now(connection: Connection) -> None:
    """A session hands in what it has counted once per second, also after a VACUUM that came later."""
    connection.execute("SELECT pg_stat_force_next_flush()")


# ── upkeep of it ────────────────────────────────────────────────────────────────────────────────────────────────────


def decided(connection: Connection, name: str) -> Decision:
    decisions = plan(read_standing(connection), Wish())
    return next(one for one in decisions if one.name == name)


def maintained(url: str, **wish: Any) -> list[Done]:
    done: list[Done] = []
    maintain(url, Wish(**wish), notify=lambda _line: None, report=done.append)
    return done


def actions(done: list[Done]) -> list[tuple[str, str]]:
    return [(one.decision.action.value, one.decision.name) for one in done]


def scalar(connection: Connection, text: str) -> Any:
    return connection.cursor(row_factory=scalar_row).execute(text.encode()).fetchone()


def nearest(connection: Connection) -> list[int]:
    cursor = connection.cursor(row_factory=scalar_row)
    return cursor.execute(
        "SELECT chunk_id FROM freshet.vector_candidates(%s::vector, 10, 1::smallint, NULL, NULL, NULL)",
        (_QUERY,),
    ).fetchall()


def exactly_nearest(connection: Connection) -> list[int]:
    cursor = connection.cursor(row_factory=scalar_row)
    with connection.transaction():
        connection.execute("SET LOCAL enable_indexscan = off")
        return cursor.execute(
            "SELECT chunk_id FROM freshet.chunk WHERE visible_to IS NULL ORDER BY embedding <=> %s::vector LIMIT 10",
            (_QUERY,),
        ).fetchall()


def left_over(connection: Connection) -> list[str]:
    return [one.name for one in read_standing(connection).indexes if one.is_left_over]


@contextmanager
def long_publish(url: str) -> Iterator[psycopg.Connection]:
    """A transaction that has written to the chunks, as a publish does."""
    with psycopg.connect(url) as publishing:
        publishing.execute("UPDATE freshet.chunk SET end_batch = NULL WHERE false")
        yield publishing
        publishing.rollback()
