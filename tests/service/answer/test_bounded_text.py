"""Search by text in a corpus that is too large to count: the ten best by BM25, of a bounded number of chunks.

The corpus has made words whose frequencies follow Zipf's law, some of them common within the subject of a document.
What is best is computed here, from the words, in another way than the database does.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
import pytest

from corpus.access.reader import reading_as
from corpus.database import Connection, connect
from tests.support.logins import reader
from tests.support.team_env import make_source

pytestmark = [pytest.mark.service, pytest.mark.timeout(180)]
SMALL, LARGE, WORDS, SUBJECTS, K = 6_000, 18_000, 8_000, 60, 10
MIN_RECALL = 0.95
# Part of the chunks of each source.
SOURCES = {"half": 0.5, "third": 0.35, "tenth": 0.12, "percent": 0.02, "few": 0.01}
READ = ("third", "tenth")


@dataclass(frozen=True, slots=True)
class Corpus:
    """Chunk n + 1 has the words of texts[n]."""

    connection: Connection
    texts: list[list[str]]
    sources: list[str]
    counts: dict[str, dict[int, int]]  # word -> how often it is in which texts


def _texts(count: int) -> tuple[list[list[str]], list[str]]:
    chance = np.random.default_rng(17)
    shares = 1 / (np.arange(WORDS) + 2.7) ** 1.05
    usual = np.cumsum(shares / shares.sum())
    subjects = [chance.permutation(WORDS // 4)[:300] + 40 for _ in range(SUBJECTS)]
    texts: list[list[str]] = []
    for _ in range(count):
        length = int(chance.integers(20, 90))
        numbers = np.minimum(np.searchsorted(usual, chance.random(length)), WORDS - 1)
        special = chance.random(length) < 0.3
        subject = subjects[int(chance.integers(SUBJECTS))]
        picked = (chance.random(length) ** 2 * 300).astype(int)
        numbers[special] = subject[picked[special]]
        texts.append([f"w{number}" for number in numbers])
    return texts, chance.choice(list(SOURCES), count, p=list(SOURCES.values())).tolist()


def _filled(connection: Connection, size: int) -> Corpus:
    texts, sources = _texts(size)
    for name in SOURCES:
        make_source(connection, name)
    connection.execute('UPDATE freshet.source SET spec = spec || \'{"default_acl": ["*"]}\'')
    connection.execute("SELECT freshet.register_space('f', 'm', 'w', 'mean', '', 3, false, 256)")
    with connection.transaction():
        connection.execute(
            "CREATE TEMP TABLE made (n integer, source text, text text) ON COMMIT DROP"
        )
        with (
            connection.cursor() as cursor,
            cursor.copy("COPY made (n, source, text) FROM STDIN") as copy,
        ):
            for n, (source, words) in enumerate(zip(sources, texts, strict=True)):
                copy.write_row((n, source, " ".join(words)))
        for statement in FILL:
            connection.execute(statement)
    for table in ("chunk", "document"):
        connection.execute(f"VACUUM ANALYZE freshet.{table}".encode())
    counts: dict[str, dict[int, int]] = {}
    for n, words in enumerate(texts):
        for word, count in Counter(words).items():
            counts.setdefault(word, {})[n] = count
    return Corpus(connection, texts, sources, counts)


FILL: tuple[Any, ...] = (
    """INSERT INTO freshet.batch (source, batch, kind, state, workflow_id, run_id, staged_at, published_at)
       SELECT DISTINCT source, 1, 'ingest', 'published', 'w', 'r', now(), now() FROM made""",
    """INSERT INTO freshet.chunk (chunk_id, source, document_id, text_sha256, text, token_count, search_text, space_id,
           dimensions, embedding, visible_from, batch) OVERRIDING SYSTEM VALUE
       SELECT m.n + 1, m.source, 'd' || m.n, sha256(m.n::text::bytea), m.text,
           cardinality(string_to_array(m.text, ' ')), to_tsvector('simple', m.text), 1, 3, '[1,0,0]',
           now() - interval '1 hour', 1
       FROM made m ORDER BY m.n""",
    """INSERT INTO freshet.document (source, document_id, version, kind, is_head, visible_from, observed_at, batch,
           chunk_ids, chunk_starts, chunk_headings, space_id, metadata)
       SELECT c.source, c.document_id, 1, 'document', true, c.visible_from, now(), 1, ARRAY[c.chunk_id], '{0}', '{""}',
           1, jsonb_build_object('ten', c.chunk_id %% 10, 'hundred', c.chunk_id %% 100)
       FROM freshet.chunk c""".replace("%%", "%"),
)


@pytest.fixture(scope="module")
def opened(postgres_server: Any, postgres_url: str) -> Iterator[Callable[[int], Corpus]]:
    """Corpora by their number of chunks, each made once."""
    made: dict[int, Corpus] = {}

    def open_(count: int) -> Corpus:
        if count not in made:
            postgres_server.create_database(f"texts{count}", template="freshet")
            made[count] = _filled(connect(postgres_server.url_of(f"texts{count}")), count)
        return made[count]

    yield open_
    for count, corpus in made.items():
        corpus.connection.close()
        postgres_server.drop_database(f"texts{count}")


def _questions(corpus: Corpus, number: int) -> list[tuple[str, list[str]]]:
    """Words of one document each: all rare, all common, or any."""
    total = len(corpus.texts)
    kinds: dict[str, Callable[[float], bool]] = {
        "rare": lambda share: share < 0.004,
        "common": lambda share: share > 0.01,
        "any": lambda share: True,
    }
    chance = np.random.default_rng(23)
    questions: list[tuple[str, list[str]]] = []
    for kind, suits in kinds.items():
        while sum(name == kind for name, _ in questions) < number:
            words = sorted(set(corpus.texts[int(chance.integers(total))]))
            fitting = [word for word in words if suits(len(corpus.counts[word]) / total)]
            length = int(chance.integers(3, 11))
            if len(fitting) >= length:
                questions.append((kind, chance.choice(fitting, length, replace=False).tolist()))
    return questions


def _scores(corpus: Corpus, words: list[str], within: set[int]) -> dict[int, float]:
    """BM25 of the chunks (numbers) that have a word, by the statistics of `within`."""
    mean = sum(len(corpus.texts[n]) for n in within) / len(within)
    scores: dict[int, float] = {}
    for word in set(words):
        holding = {n: count for n, count in corpus.counts[word].items() if n in within}
        idf = math.log(1 + (len(within) - len(holding) + 0.5) / (len(holding) + 0.5))
        for n, count in holding.items():
            norm = 1.2 * (0.25 + 0.75 * len(corpus.texts[n]) / mean)
            scores[n] = scores.get(n, 0.0) + idf * 2.2 * count / (count + norm)
    return scores


@dataclass(frozen=True, slots=True)
class Narrowed:
    """A search that leaves a part of the corpus; `within`: whose statistics count."""

    name: str
    leaves: Callable[[int, str], bool]
    arguments: str = "NULL, NULL, NULL"
    read: tuple[str, ...] | None = None


SEARCHES = (
    Narrowed("all", lambda n, source: True),
    Narrowed("half", lambda n, source: source == "half", "ARRAY['half'], NULL, NULL"),
    Narrowed("percent", lambda n, source: source == "percent", "ARRAY['percent'], NULL, NULL"),
    Narrowed("tenth", lambda n, source: n % 10 == 2, """NULL, '{"ten": 3}', NULL"""),
    Narrowed("hundredth", lambda n, source: n % 100 == 2, """NULL, '{"hundred": 3}', NULL"""),
    Narrowed("then", lambda n, source: True, "NULL, NULL, now()"),
    Narrowed("team", lambda n, source: source in READ, read=READ),
)


def _reading(connection: Connection, search: Narrowed) -> AbstractContextManager[Any]:
    if search.read is None:
        return nullcontext()
    return reading_as(connection, reader("*", sources=search.read))


@pytest.mark.parametrize("search", SEARCHES, ids=lambda search: search.name)
def test_the_best_are_found(search: Narrowed, opened: Callable[[int], Corpus]) -> None:
    corpus = opened(SMALL)
    everything = set(range(SMALL))
    left = {n for n in everything if search.leaves(n, corpus.sources[n])}
    within = left if search.read else everything
    statement = f"""SELECT s.chunk_id - 1, s.score FROM freshet.search(
        NULL, %s, {K}, 'text', 1::smallint, {search.arguments}, 'simple') s"""
    recalls: list[float] = []
    for _, words in _questions(corpus, 6):
        exact = {n: score for n, score in _scores(corpus, words, within).items() if n in left}
        with _reading(corpus.connection, search):
            found = corpus.connection.execute(statement.encode(), (" ".join(words),)).fetchall()
        wanted = min(K, len(exact))
        assert len(found) == len({n for n, _ in found}) == wanted, words
        assert {n for n, _ in found} <= exact.keys()
        assert [score for _, score in found] == sorted((s for _, s in found), reverse=True)
        if exact:
            last = sorted(exact.values(), reverse=True)[wanted - 1]
            recalls.append(sum(exact[n] >= last - 0.02 for n, _ in found) / wanted)
    assert len(recalls) >= 6
    assert np.mean(recalls) >= MIN_RECALL, recalls


@pytest.mark.parametrize("search", SEARCHES[3:5], ids=lambda search: search.name)
def test_metadata_of_many_documents_find_what_those_of_few_find(
    search: Narrowed, opened: Callable[[int], Corpus]
) -> None:
    """Of more than 30,000 chunks with the metadata no list is made: the document of each candidate is asked."""
    corpus = opened(SMALL)
    connection = corpus.connection
    statement = f"""SELECT s.chunk_id, s.score FROM freshet.search(
        NULL, %s, {K}, 'text', 1::smallint, {search.arguments}, 'simple') s""".encode()
    asked = [" ".join(words) for _, words in _questions(corpus, 3)]
    listed = [connection.execute(statement, (text,)).fetchall() for text in asked]
    assert sum(map(len, listed)) > K
    with connection.transaction(force_rollback=True):
        source: str = _value(
            connection, "SELECT pg_get_functiondef('freshet.text_candidates_in'::regproc)"
        )
        assert "THEN 30000" in source
        connection.execute(source.replace("THEN 30000", "THEN 0").encode())
        assert [connection.execute(statement, (text,)).fetchall() for text in asked] == listed


def test_what_a_search_reads_does_not_grow_with_the_corpus(
    opened: Callable[[int], Corpus],
) -> None:
    """Rows of the table of chunks, by PostgreSQL's own count; three times as many chunks, the same words."""
    read = {count: _rows_read(opened(count)) for count in (SMALL, LARGE)}
    for kind, rows in read[LARGE].items():
        assert rows <= 1.5 * read[SMALL][kind] + 2_000, read
    assert max(read[LARGE].values()) < LARGE


def _rows_read(corpus: Corpus) -> dict[str, float]:
    """The most rows of the chunks that a search of each kind reads."""
    counted = b"""SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)
                  FROM pg_stat_xact_user_tables WHERE relid = 'freshet.chunk'::regclass"""
    most: dict[str, float] = {}
    for kind, words in _questions(corpus, 8):
        with corpus.connection.transaction():
            before = corpus.connection.execute(counted).fetchone()
            corpus.connection.execute(
                "SELECT FROM freshet.text_candidates(%s, 'simple', 10, 1::smallint, NULL, NULL, NULL)",
                (" ".join(words),),
            )
            after = corpus.connection.execute(counted).fetchone()
        assert before is not None and after is not None
        most[kind] = max(most.get(kind, 0.0), after[0] - before[0])
    return most


@pytest.mark.parametrize("search", [SEARCHES[0], SEARCHES[-1]], ids=lambda search: search.name)
@pytest.mark.parametrize(
    "text",
    [
        "w1 " * 300,
        " ".join(f"w{n}" for n in range(900)),
        r"a'b \ c:* & | ! <-> 100% w3 http://a.example/b%20c/%s%L",
    ],
    ids=["one word", "many words", "signs"],
)
def test_whatever_is_asked_is_answered(
    text: str, search: Narrowed, opened: Callable[[int], Corpus]
) -> None:
    connection = opened(SMALL).connection
    statement = (
        b"SELECT FROM freshet.search(NULL, %s, 10, 'text', 1::smallint, NULL, NULL, NULL, 'simple')"
    )
    with _reading(connection, search):
        assert len(connection.execute(statement, (text,)).fetchall()) == K


# ── the parts of a search ───────────────────────────────────────────────────────────────────────────────────────────


def _value(connection: psycopg.Connection[Any], statement: str, *values: Any) -> Any:
    row = connection.execute(statement.encode(), values).fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize("seed", range(12))
def test_a_query_is_met_by_what_reaches_the_threshold(
    seed: int, opened: Callable[[int], Corpus]
) -> None:
    connection = opened(SMALL).connection
    chance = np.random.default_rng(seed)
    units = sorted(chance.integers(1, 17, int(chance.integers(1, 8))).tolist(), reverse=True)
    shares = chance.random(len(units)).tolist()
    terms = [f"'t{n}'" for n in range(len(units))]
    likely = _value(connection, "SELECT freshet.shares_reaching(%s::integer[], %s)", units, shares)
    holds = [
        [bool(number >> n & 1) for n in range(len(units))] for number in range(1 << len(units))
    ]
    weights = [sum(u for u, has in zip(units, row, strict=True) if has) for row in holds]
    chances = [
        math.prod(s if has else 1 - s for s, has in zip(shares, row, strict=True)) for row in holds
    ]
    texts = [" ".join(t for t, has in zip(terms, row, strict=True) if has) for row in holds]
    for threshold in range(1, sum(units) + 1):
        made = _value(
            connection,
            "SELECT freshet.terms_reaching(%s, %s::integer[], %s)",
            terms,
            units,
            threshold,
        )
        met = _value(
            connection,
            """SELECT array_agg(t::tsvector @@ %s::tsquery ORDER BY o)
               FROM unnest(%s::text[]) WITH ORDINALITY AS x (t, o)""",
            made,
            texts,
        )
        assert met == [weight >= threshold for weight in weights], made
        size = _value(
            connection, "SELECT freshet.size_of_reaching(%s::integer[], %s)", units, threshold
        )
        assert size == len(re.findall(r"'t\d'", made))
        expected = sum(c for c, weight in zip(chances, weights, strict=True) if weight >= threshold)
        assert likely[threshold] == pytest.approx(expected)


def test_a_frequency_is_counted_whatever_its_weights(opened: Callable[[int], Corpus]) -> None:
    connection = opened(SMALL).connection
    for count in [*range(30), 100, 200]:
        text = " ".join(f"{n + 1}{'B' if n % 3 == 1 else ''}" for n in range(count)).replace(
            " ", ","
        )
        statement = "SELECT " + _value(
            connection, "SELECT freshet.term_frequency(freshet.term_query('x'))"
        )
        vector = f"'x':{text} 'y':1" if count else "'y':1"
        found = _value(
            connection, f"{statement} FROM (SELECT %s::tsvector AS search_text) h", vector
        )
        assert found == pytest.approx(count, rel=0.02), count
