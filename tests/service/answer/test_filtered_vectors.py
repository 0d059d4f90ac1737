"""Search by vector under filters: what few chunks are left is compared as a whole, the rest is found by the index.

One corpus of 12,000 chunks in vectors of 16 dimensions, around centres. Every filter leaves some part of it, spread
over all centres ("spread") or in centres of its own ("apart").
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from psycopg.rows import scalar_row
from psycopg.types.json import Jsonb

from corpus.access.reader import Reader, reading_as
from corpus.database import Connection, connect
from corpus.embed.space_indexes import build_missing
from tests.support.logins import reader
from tests.support.team_env import make_source

pytestmark = [pytest.mark.service, pytest.mark.timeout(120)]
CHUNKS, DIMENSIONS, CENTRES, QUERIES, K = 12_000, 16, 60, 40, 10
MIN_RECALL = 0.98
INDEX = "freshet.chunk_embedding_space_1"
# Share of the chunks of each filter; at most 3,000 chunks are few.
OPEN = "percent"  # the source whose documents state no access list; the others name their part
PARTS = {"tenth_percent": 0.001, "percent": 0.01, "three": 0.03, "ten": 0.10, "half": 0.50}
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Corpus:
    """Chunk n has vector n, and the part of each kind that it is in."""

    connection: Connection
    vectors: Vectors
    queries: Vectors
    parts: dict[str, list[str]]  # "spread", "apart" -> the part of each chunk


def _parts(places: npt.NDArray[np.int64], chance: np.random.Generator) -> dict[str, list[str]]:
    """Parts by chance, and parts of neighbouring centres; the rest is in none."""
    names = [*PARTS, "rest"]
    shares = [*PARTS.values(), 1 - sum(PARTS.values())]
    spread = chance.choice(names, CHUNKS, p=shares).tolist()
    order = np.argsort(places, kind="stable")
    apart = ["rest"] * CHUNKS
    begin = 0
    for name, share in PARTS.items():
        end = begin + round(share * CHUNKS)
        for n in order[begin:end]:
            apart[n] = name
        begin = end
    return {"spread": spread, "apart": apart}


@pytest.fixture(scope="module")
def corpus(postgres_server: Any, postgres_url: str) -> Iterator[Corpus]:
    """Sources are parts that are apart; access lists and metadata name both kinds."""
    postgres_server.create_database("filtered", template="freshet")
    url = postgres_server.url_of("filtered")
    chance = np.random.default_rng(11)
    centres = chance.normal(size=(CENTRES, DIMENSIONS))
    places = chance.integers(0, CENTRES, CHUNKS)
    vectors = centres[places] + 0.4 * chance.normal(size=(CHUNKS, DIMENSIONS))
    asked = centres[chance.integers(0, CENTRES, QUERIES)]
    queries = asked + 0.4 * chance.normal(size=(QUERIES, DIMENSIONS))
    parts = _parts(places, chance)
    with connect(url) as connection:
        for name in [*PARTS, "rest"]:
            make_source(connection, name)
        connection.execute(
            "SELECT freshet.register_space('f', 'm', 'w', 'mean', '', %s, false, 256)",
            (DIMENSIONS,),
        )
        _fill(connection, vectors, parts)
        build_missing(url)
        connection.execute("VACUUM ANALYZE freshet.chunk")
        connection.execute("ANALYZE freshet.document")
        yield Corpus(connection, vectors.astype(np.float32), queries.astype(np.float32), parts)
    postgres_server.drop_database("filtered")


def _fill(connection: Connection, vectors: Any, parts: dict[str, list[str]]) -> None:
    with connection.transaction():
        connection.execute(
            "CREATE TEMP TABLE made (n integer, source text, spread text, v vector) ON COMMIT DROP"
        )
        rows = zip(parts["apart"], parts["spread"], vectors.tolist(), strict=True)
        with (
            connection.cursor() as cursor,
            cursor.copy("COPY made (n, source, spread, v) FROM STDIN") as copy,
        ):
            for n, (source, spread, vector) in enumerate(rows):
                copy.write_row((n, source, spread, str(vector)))
        for statement in FILL:
            connection.execute(statement)


FILL: tuple[Any, ...] = (
    """INSERT INTO freshet.batch (source, batch, kind, state, workflow_id, run_id, staged_at, published_at)
       SELECT DISTINCT source, 1, 'ingest', 'published', 'w', 'r', now(), now() FROM made""",
    """INSERT INTO freshet.chunk (source, document_id, text_sha256, text, token_count, search_text, space_id,
           dimensions, embedding, visible_from, batch, access_id)
       SELECT m.source, 'd' || m.n, sha256(m.n::text::bytea), m.n::text, 1, '', 1, vector_dims(m.v), m.v, now(), 1,
           CASE WHEN m.source <> 'percent' THEN freshet.access_of(m.source, ARRAY[m.spread]) END
       FROM made m ORDER BY m.n""",
    """INSERT INTO freshet.document (source, document_id, version, kind, is_head, visible_from, acl, observed_at, batch,
           chunk_ids, chunk_starts, chunk_headings, space_id, metadata)
       SELECT c.source, c.document_id, 1, 'document', true, now(), a.acl, now(), 1, ARRAY[c.chunk_id], '{0}', '{""}', 1,
           jsonb_build_object('apart', m.source, 'spread', m.spread)
       FROM freshet.chunk c JOIN made m ON m.n::text = c.text LEFT JOIN freshet.access_list a USING (access_id)""",
)


# ── filters ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Filter:
    """What a search is restricted to, and which part it leaves."""

    kind: str  # of the part
    part: str
    sources: list[str] | None = None
    metadata: dict[str, str] | None = None
    who: Reader | None = None


def filters() -> list[Any]:
    made: list[Filter] = []
    for part in PARTS:
        made.append(Filter("apart", part, sources=[part]))
        made += [Filter(kind, part, metadata={kind: part}) for kind in ("apart", "spread")]
        others = tuple(name for name in (*PARTS, "rest") if name != OPEN)
        made.append(Filter("spread", part, who=reader(part, sources=others)))
    made.append(Filter("apart", OPEN, who=reader(sources=(OPEN,))))
    return [pytest.param(one, id=_name(one)) for one in made]


def _name(one: Filter) -> str:
    ways = {"source": one.sources, "metadata": one.metadata, "access": one.who}
    return "-".join([next(name for name, given in ways.items() if given), one.kind, one.part])


@pytest.mark.parametrize("one", filters())
def test_the_nearest_of_what_a_filter_leaves_are_found(corpus: Corpus, one: Filter) -> None:
    left = np.flatnonzero(_is_left(corpus, one))
    hits, scans = _hits(corpus, one)
    wanted = found = 0
    for query, numbers in zip(corpus.queries, hits, strict=True):
        lengths = np.linalg.norm(corpus.vectors[left], axis=1)
        similarity = corpus.vectors[left] @ query / lengths
        nearest = {int(n) for n in left[np.argsort(-similarity)[:K]]}
        wanted += len(nearest)
        found += len(nearest & set(numbers))
        assert len(numbers) == len(nearest)
        assert set(numbers) <= set(left.tolist())
    assert found / wanted >= MIN_RECALL, (found, wanted)
    # The index is for what is not little, and then it is used.
    assert scans == (QUERIES if len(left) > 3_000 else 0)


def _is_left(corpus: Corpus, one: Filter) -> list[bool]:
    parts = corpus.parts[one.kind]
    if one.who is None:
        return [part == one.part for part in parts]
    return [
        part == one.part and source in one.who.sources
        for part, source in zip(parts, corpus.parts["apart"], strict=True)
    ]


def _hits(corpus: Corpus, one: Filter) -> tuple[list[list[int]], int]:
    """The numbers of the chunks that each query finds, and how often the index was scanned."""
    metadata = None if one.metadata is None else Jsonb(one.metadata)
    statement = (
        "SELECT text::integer FROM freshet.search(%s, NULL, 10, 'vector', 1::smallint, %s, %s)"
    )
    transaction: AbstractContextManager[Any] = (
        corpus.connection.transaction()
        if one.who is None
        else reading_as(corpus.connection, one.who)
    )
    cursor = corpus.connection.cursor(row_factory=scalar_row)
    with transaction:
        before = _scans(cursor)
        hits = [
            cursor.execute(statement, (query, one.sources, metadata)).fetchall()
            for query in corpus.queries
        ]
        return hits, _scans(cursor) - before


def _scans(cursor: Any) -> int:
    cursor.execute("SELECT pg_stat_get_xact_numscans(%s::regclass)", (INDEX,))
    return int(cursor.fetchone())
