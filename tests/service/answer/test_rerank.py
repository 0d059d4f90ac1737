"""A search that reranks reads what its reader may read, and holds no connection while the model reads."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from corpus.access.reader import Reader
from corpus.answer.query_vectors import QueryVectors
from corpus.answer.rerank import Reranker
from corpus.database import open_pool
from corpus.errors import ConfigurationError, DependencyError
from corpus.service import SearchRequest
from tests.support.commands import CommandLine
from tests.support.cross_encoders import make_cross_encoder
from tests.support.pipeline import Pipeline, make_event
from workers.cli.console import ExitCode
from workers.roles.gateway import RERANKED_AT_ONCE, answering, with_reranking

OWNER = Reader(name="team:owner", sources=frozenset({"s"}))
NOBODY = Reader(name="team:nobody")
# Nothing asks them.
SERVERS = {"FRESHET_KAFKA_BOOTSTRAP": "127.0.0.1:1", "TEMPORAL_ADDRESS": "127.0.0.1:1"}
ASKED = SearchRequest(query="harbour", k=2, rerank="model", mode="text")


class LastFirst:
    """Prefers the harbour of the greatest number, and does `meanwhile` first."""

    def __init__(self, meanwhile: object = None) -> None:
        self.read: list[str] = []
        self._meanwhile = meanwhile

    def scores(self, query: str, passages: Sequence[str], go_on: Callable[[], None]) -> list[float]:
        go_on()
        if callable(self._meanwhile):
            self._meanwhile()
        self.read += passages
        return [float(passage.split()[-1]) for passage in passages]


@pytest.fixture
def freshet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)


@pytest.fixture
def filled(pipeline: Pipeline) -> Pipeline:
    pipeline.ingest(*(make_event(f"d{n}", 1, f"harbour number {n}") for n in range(7)))
    return pipeline


def test_the_model_orders_what_the_reader_may_read(filled: Pipeline, database_url: str) -> None:
    reranker = LastFirst()
    with open_pool(database_url, size=1) as pool:
        find = answering(pool, pool, filled.embedder.of, QueryVectors())
        answer = with_reranking(find, lambda: reranker)
        response = answer(OWNER, ASKED)
        assert [hit.document_id for hit in response.hits] == ["d6", "d5"]
        assert (response.reranked, len(reranker.read)) == (7, 7)
        assert answer(NOBODY, ASKED).hits == ()
    assert len(reranker.read) == 7


def test_no_connection_is_held_while_the_model_reads(filled: Pipeline, database_url: str) -> None:
    with open_pool(database_url, size=1) as pool:
        find = answering(pool, pool, filled.embedder.of, QueryVectors())
        beside: list[int] = []

        def search_beside() -> None:
            # The only connection of the pool: were it held, this would wait for it and fail.
            beside.append(len(find(OWNER, SearchRequest(query="harbour", mode="text")).hits))

        answer = with_reranking(find, lambda: LastFirst(search_beside))
        assert len(answer(OWNER, ASKED).hits) == 2
    assert beside == [7]


def test_a_gateway_without_a_model_refuses_and_answers_the_others(
    filled: Pipeline, database_url: str
) -> None:
    def none() -> Reranker:
        raise ConfigurationError("no reranking model is configured")

    with open_pool(database_url, size=1) as pool:
        answer = with_reranking(answering(pool, pool, filled.embedder.of, QueryVectors()), none)
        with pytest.raises(ConfigurationError, match="no reranking model"):
            answer(OWNER, ASKED)
        assert answer(OWNER, SearchRequest(query="harbour", mode="text")).hits


def test_the_command_reranks_with_the_configured_model(
    filled: Pipeline, database_url: str, freshet: CommandLine, tmp_path: Path
) -> None:
    words = ("search", "harbour", "--mode", "text", "--k", "3", "--json")
    settings = SERVERS | {"FRESHET_DATABASE_URL": database_url}
    model = make_cross_encoder(tmp_path / "model")
    plain = freshet(*words, **settings)
    done = freshet(*words, "--rerank", **settings, FRESHET_RERANK_MODEL=str(model))
    assert done.code == 0, done.stderr
    hits = json.loads(done.stdout)
    scores = [hit["score"] for hit in hits]
    assert len(hits) == 3
    assert scores == sorted(scores, reverse=True)
    assert scores != [hit["score"] for hit in json.loads(plain.stdout)]


def test_the_command_says_what_is_missing(
    filled: Pipeline, database_url: str, freshet: CommandLine
) -> None:
    done = freshet("search", "harbour", "--rerank", **SERVERS, FRESHET_DATABASE_URL=database_url)
    assert done.code == ExitCode.USAGE
    assert "FRESHET_RERANK_MODEL" in done.stderr


def test_reranking_leaves_threads_for_plain_searches(filled: Pipeline, database_url: str) -> None:
    """A search that is reranked and asks for another one: the next above the bound is told to come again."""
    with open_pool(database_url, size=1) as pool:
        find = answering(pool, pool, filled.embedder.of, QueryVectors())
        refused: list[str] = []
        plain: list[int] = []

        def ask_again() -> None:
            try:
                answer(OWNER, ASKED)
            except DependencyError as error:
                refused.append(str(error))
                plain.append(len(answer(OWNER, SearchRequest(query="harbour", mode="text")).hits))

        answer = with_reranking(find, lambda: LastFirst(ask_again))
        assert answer(OWNER, ASKED).hits
        assert refused == [
            f"{RERANKED_AT_ONCE} searches are being reranked; search again, or without reranking"
        ]
        assert plain == [7]
        # Their places are free again.
        assert with_reranking(find, LastFirst)(OWNER, ASKED).hits
