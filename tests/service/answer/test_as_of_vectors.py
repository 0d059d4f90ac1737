"""Search by vector as of an instant: exact enough, within filters and rights, and as cheap beside a long history.

One corpus of 9,000 chunks that are visible, and 20,500 that were closed in the course of 100 days, in vectors of 16
dimensions around centres. So many closed chunks have a vector index, and half of the instants are among few of them.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from psycopg.types.json import Jsonb

from corpus.access.reader import Reader, reading_as
from corpus.database import Connection, connect
from corpus.embed.space_indexes import build_missing
from tests.support.logins import reader
from tests.support.team_env import make_source

pytestmark = [pytest.mark.service, pytest.mark.timeout(240)]
VISIBLE, CLOSED, DIMENSIONS, CENTRES, QUERIES, K = 9_000, 20_500, 16, 60, 25, 10
DAYS = 100
MIN_RECALL = 0.98
INDEX = "freshet.chunk_closed_space_1"
MAX_FETCHED = 8_000  # rows of one search; there are 29,500 and more
MAX_PAGES = 12_000  # of one search; before its plan was told, 17,000 to 20,000
# Days before the end: few were closed since; many; few were there yet.
NEAR, FAR, FIRST = 1.0, 50.0, 97.0
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Corpus:
    """Chunk n was visible from day `opened[n]` until day `closed[n]`, has vector n, and is in the parts of `parts`."""

    connection: Connection
    vectors: Vectors
    queries: Vectors
    opened: npt.NDArray[np.float64]
    closed: npt.NDArray[np.float64]
    parts: dict[str, npt.NDArray[np.str_]]


@pytest.fixture(scope="module")
def corpus(postgres_server: Any, postgres_url: str) -> Iterator[Corpus]:
    """Half of the documents state an access list; sources and metadata are by chance."""
    postgres_server.create_database("as_of_vectors", template="freshet")
    url = postgres_server.url_of("as_of_vectors")
    chance = np.random.default_rng(11)
    count = VISIBLE + CLOSED
    centres = chance.normal(size=(CENTRES, DIMENSIONS))
    vectors = centres[chance.integers(0, CENTRES, count)] + 0.4 * chance.normal(
        size=(count, DIMENSIONS)
    )
    queries = centres[chance.integers(0, CENTRES, QUERIES)] + 0.4 * chance.normal(
        size=(QUERIES, DIMENSIONS)
    )
    times = np.sort(chance.random((count, 2)) * DAYS, axis=1)
    opened, closed = times[:, 0], times[:, 1]
    opened[:VISIBLE] = chance.random(VISIBLE) * DAYS
    closed[:VISIBLE] = np.inf
    parts = {
        "source": chance.choice(["big", "small"], count, p=[0.9, 0.1]),
        "metadata": chance.choice(["half", "tenth", "rest"], count, p=[0.5, 0.1, 0.4]),
        "group": chance.choice(["", "a", "b"], count, p=[0.3, 0.3, 0.4]),
    }
    with connect(url) as connection:
        for name in ("big", "small"):
            make_source(connection, name)
        connection.execute(
            "SELECT freshet.register_space('f', 'm', 'w', 'mean', '', %s, false, 256)",
            (DIMENSIONS,),
        )
        made = Corpus(
            connection,
            vectors.astype(np.float32),
            queries.astype(np.float32),
            opened,
            closed,
            parts,
        )
        _fill(made)
        connection.execute("ANALYZE freshet.chunk, freshet.document")
        build_missing(url)
        yield made
    postgres_server.drop_database("as_of_vectors")


def _fill(corpus: Corpus) -> None:
    connection = corpus.connection
    with connection.transaction():
        connection.execute(
            "CREATE TEMP TABLE made (n integer, source text, part text, acl text, opened float8, closed float8,"
            " v vector) ON COMMIT DROP"
        )
        with (
            connection.cursor() as cursor,
            cursor.copy("COPY made FROM STDIN") as copy,
        ):
            for n, vector in enumerate(corpus.vectors.tolist()):
                parts = [str(corpus.parts[kind][n]) for kind in ("source", "metadata", "group")]
                times = (float(corpus.opened[n]), float(corpus.closed[n]))
                copy.write_row((n, *parts, *times, str(vector)))
        for statement in FILL:
            connection.execute(statement)


# The days end at the beginning of this one.
FILL: tuple[Any, ...] = (
    "CREATE FUNCTION public.day_of(p_day float8) RETURNS timestamptz LANGUAGE sql STABLE AS $$"
    " SELECT CASE WHEN p_day <> 'infinity' THEN"
    " date_trunc('day', now()) - make_interval(secs => 86400 * (100 - p_day)) END $$",
    """INSERT INTO freshet.batch (source, batch, kind, state, workflow_id, run_id, staged_at, published_at)
       SELECT DISTINCT source, 1, 'ingest', 'published', 'w', 'r', now(), now() FROM made""",
    """INSERT INTO freshet.chunk (source, document_id, text_sha256, text, token_count, search_text, space_id,
           dimensions, embedding, visible_from, visible_to, batch, access_id)
       SELECT m.source, 'd' || m.n, sha256(m.n::text::bytea), m.n::text, 1, '', 1, vector_dims(m.v), m.v,
           day_of(m.opened), day_of(m.closed), 1,
           CASE WHEN m.acl <> '' THEN freshet.access_of(m.source, ARRAY[m.acl]) END
       FROM made m ORDER BY m.n""",
    """INSERT INTO freshet.document (source, document_id, version, kind, is_head, visible_from, visible_to, end_reason,
           acl, access_id, observed_at, batch, chunk_ids, chunk_starts, chunk_headings, space_id, metadata)
       SELECT c.source, c.document_id, 1, 'document', true, c.visible_from, c.visible_to,
           CASE WHEN c.visible_to IS NOT NULL THEN 'deleted' END, a.acl, c.access_id, now(), 1, ARRAY[c.chunk_id],
           '{0}', '{""}', 1, jsonb_build_object('part', m.part)
       FROM freshet.chunk c JOIN made m ON m.n::text = c.text LEFT JOIN freshet.access_list a USING (access_id)""",
)


@dataclass(frozen=True, slots=True)
class Filter:
    """What a search is restricted to."""

    name: str
    sources: list[str] | None = None
    metadata: dict[str, str] | None = None
    who: Reader | None = None
    parts: dict[str, set[str]] = field(
        default_factory=dict[str, set[str]]
    )  # kind -> what it leaves


FILTERS = (
    Filter("all"),
    Filter("source", sources=["small"], parts={"source": {"small"}}),
    Filter("half", metadata={"part": "half"}, parts={"metadata": {"half"}}),
    Filter("tenth", metadata={"part": "tenth"}, parts={"metadata": {"tenth"}}),
    Filter("group", who=reader("a", sources=("big", "small")), parts={"group": {"", "a"}}),
    Filter(
        "group-source",
        who=reader("b", sources=("small",)),
        parts={"group": {"", "b"}, "source": {"small"}},
    ),
)


@pytest.mark.parametrize("day", [NEAR, FAR, FIRST])
@pytest.mark.parametrize("one", FILTERS, ids=lambda one: one.name)
def test_the_nearest_of_what_was_visible_then_are_found(
    corpus: Corpus, one: Filter, day: float
) -> None:
    left = np.flatnonzero(_is_left(corpus, one, DAYS - day))
    wanted = found = 0
    for query, numbers in zip(corpus.queries, _hits(corpus, one, DAYS - day), strict=True):
        vectors = corpus.vectors[left]
        similarity = vectors @ query / np.linalg.norm(vectors, axis=1)
        nearest = {int(n) for n in left[np.argsort(-similarity)[:K]]}
        assert set(numbers) <= set(left.tolist())
        assert len(numbers) == len(nearest)
        wanted += len(nearest)
        found += len(nearest & set(numbers))
    assert found / wanted >= MIN_RECALL, (found, wanted, len(left))


def _is_left(corpus: Corpus, one: Filter, day: float) -> npt.NDArray[np.bool_]:
    is_left = (corpus.opened <= day) & (corpus.closed > day)
    for kind, kept in one.parts.items():
        is_left &= np.isin(corpus.parts[kind], list(kept))
    return is_left


def _hits(corpus: Corpus, one: Filter, day: float) -> list[list[int]]:
    metadata = None if one.metadata is None else Jsonb(one.metadata)
    instant = corpus.connection.execute("SELECT public.day_of(%s)", (day,)).fetchone()
    assert instant is not None
    transaction: AbstractContextManager[Any] = (
        corpus.connection.transaction()
        if one.who is None
        else reading_as(corpus.connection, one.who)
    )
    with transaction:
        return [
            [
                int(row[0])
                for row in corpus.connection.execute(
                    "SELECT text FROM freshet.search(%s, NULL, 10, 'vector', 1::smallint, %s, %s, %s)",
                    (query, one.sources, metadata, *instant),
                ).fetchall()
            ]
            for query in corpus.queries
        ]


# ── how much is read ────────────────────────────────────────────────────────────────────────────────────────────────


def _read(corpus: Corpus, day: float) -> tuple[int, int]:
    """Rows of chunks that one search reads, and how often it scans the index of closed chunks."""
    statement = (
        "SELECT pg_stat_get_xact_tuples_returned('freshet.chunk'::regclass)"
        " + pg_stat_get_xact_tuples_fetched('freshet.chunk'::regclass),"
        f" pg_stat_get_xact_numscans('{INDEX}'::regclass)"
    )
    with corpus.connection.transaction():
        before = corpus.connection.execute(statement.encode()).fetchone()
        corpus.connection.execute(
            "SELECT chunk_id FROM freshet.search(%s, NULL, 10, 'vector', 1::smallint, NULL, NULL, public.day_of(%s))",
            (corpus.queries[0], day),
        )
        after = corpus.connection.execute(statement.encode()).fetchone()
    assert before is not None
    assert after is not None
    return after[0] - before[0], after[1] - before[1]


@pytest.mark.parametrize(("day", "scans"), [(NEAR, 0), (FAR, 1), (FIRST, 0)])
def test_what_is_read_does_not_grow_with_what_was_closed_before(
    corpus: Corpus, day: float, scans: int
) -> None:
    read, scanned = _read(corpus, DAYS - day)
    assert scanned == scans
    assert read <= MAX_FETCHED
    with corpus.connection.transaction(force_rollback=True):
        corpus.connection.execute(
            """INSERT INTO freshet.chunk (source, document_id, text_sha256, text, token_count, search_text, space_id,
                   dimensions, embedding, visible_from, visible_to, in_history, batch)
               SELECT source, document_id, sha256(text_sha256), text, 1, '', 1, dimensions, embedding,
                   visible_from - interval '200 days', visible_from - interval '100 days', true, 1
               FROM freshet.chunk LIMIT 10000"""
        )
        later, _ = _read(corpus, DAYS - day)
    assert later <= read + 100


def test_what_its_index_does_not_have_yet_is_found(corpus: Corpus) -> None:
    """Chunks that were closed since the last look of a storer."""
    with corpus.connection.transaction(force_rollback=True):
        before = _hits(corpus, FILTERS[0], DAYS - FAR)
        found = [str(n) for n in {n for numbers in before for n in numbers}]
        corpus.connection.execute(
            "UPDATE freshet.chunk SET in_history = NULL WHERE visible_to IS NOT NULL AND text = ANY(%s)",
            (found,),
        )
        assert _hits(corpus, FILTERS[0], DAYS - FAR) == before


def _pages(corpus: Corpus, day: float) -> int:
    """Pages that one search reads."""
    row = corpus.connection.execute(
        "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM"
        " freshet.search(%s, NULL, 10, 'vector', 1::smallint, NULL, NULL, public.day_of(%s))",
        (corpus.queries[0], day),
    ).fetchone()
    assert row is not None
    plan = row[0][0]["Plan"]
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])


@pytest.mark.parametrize("day", [FAR, 20.0])
def test_the_few_that_wait_are_found_though_the_statistics_say_that_all_do(
    corpus: Corpus, day: float
) -> None:
    """As those say that were made before a storer brought the others into the index."""
    with corpus.connection.transaction(force_rollback=True):
        for null_fraction in (0.0, 0.3, 1.0):
            corpus.connection.execute(
                "SELECT pg_restore_attribute_stats('schemaname', 'freshet', 'relname', 'chunk',"
                " 'attname', 'in_history', 'inherited', false, 'null_frac', %s::real)",
                (null_fraction,),
            )
            assert _pages(corpus, DAYS - day) <= MAX_PAGES
