"""What a reranker orders, what it is given to read, and when it is not asked."""

import contextvars
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.answer.cancellation import CURRENT, Cancellation
from corpus.answer.rerank import CANDIDATES, Reranker, reranked
from corpus.errors import ConfigurationError, DependencyError
from corpus.service import DocumentPart, SearchHit, SearchRequest, SearchResponse

ASKED = SearchRequest(query="when?", k=3, rerank="model", mode="text", sources=("peps",))


class ByNumber:
    """Gives the number that a passage ends with."""

    def __init__(self, factor: float = 1.0) -> None:
        self.read: list[str] = []
        self._factor = factor

    def scores(self, query: str, passages: Sequence[str], go_on: Callable[[], None]) -> list[float]:
        assert query == ASKED.query
        go_on()
        self.read += passages
        return [float(passage.split()[-1]) * self._factor for passage in passages]


class Corpus:
    """Has these hits, and remembers what it was asked."""

    def __init__(self, *hits: SearchHit, left_out: int = 0) -> None:
        self.asked: list[SearchRequest] = []
        self._hits = hits
        self._left_out = left_out

    def find(self, request: SearchRequest) -> SearchResponse:
        self.asked.append(request)
        return SearchResponse(hits=self._hits[: request.k], hits_left_out=self._left_out)


def hit(text: str, number: int = 0, **fields: str | DocumentPart) -> SearchHit:
    made = SearchHit(
        source="peps",
        document_id=f"d{number}",
        version=1,
        text=text,
        score=-number,
        chunk_id=number,
    )
    return replace(made, **fields)


def hits_with(numbers: Sequence[float]) -> list[SearchHit]:
    return [hit(f"text {number}", place) for place, number in enumerate(numbers)]


def no_reranker() -> Reranker:
    raise ConfigurationError("no reranking model is configured")


@given(st.lists(st.integers(-3, 3), max_size=120), st.integers(1, 100))
def test_the_best_of_the_candidates_come_first_and_equal_ones_keep_their_order(
    numbers: list[int], k: int
) -> None:
    corpus = Corpus(*hits_with(numbers))
    response = reranked(replace(ASKED, k=k), corpus.find, ByNumber)
    candidates = numbers[: max(k, CANDIDATES)]
    best = sorted(range(len(candidates)), key=lambda place: (-candidates[place], place))[:k]
    assert [found.chunk_id for found in response.hits] == best
    assert [found.score for found in response.hits] == [candidates[place] for place in best]
    assert response.reranked == len(candidates)


def test_without_the_wish_no_model_is_asked() -> None:
    corpus = Corpus(*hits_with([1, 2, 3, 4]))
    request = replace(ASKED, rerank="")
    response = reranked(request, corpus.find, no_reranker)
    assert [found.text for found in response.hits] == ["text 1", "text 2", "text 3"]
    assert (response.reranked, corpus.asked) == (0, [request])


def test_the_search_for_candidates_is_the_same_but_for_their_number() -> None:
    corpus = Corpus()
    reranked(ASKED, corpus.find, ByNumber)
    assert corpus.asked == [replace(ASKED, rerank="", k=CANDIDATES)]


def test_nothing_is_searched_where_no_model_is_configured() -> None:
    corpus = Corpus(hit("text 1"))
    with pytest.raises(ConfigurationError, match="no reranking model"):
        reranked(ASKED, corpus.find, no_reranker)
    assert corpus.asked == []


def test_the_model_reads_where_a_chunk_stands() -> None:
    reranker = ByNumber()
    part = DocumentPart(
        number=1, name="levels.pdf", within="Flood", media_type="application/pdf", start=0, end=9
    )
    titled = hit("text 1", title="PEP 1", heading="Rationale > Scope")
    attached = hit("text 2", title="A mail", part=part)
    reranked(ASKED, Corpus(titled, attached, hit("text 3")).find, lambda: reranker)
    assert reranker.read == ["PEP 1\nRationale > Scope\ntext 1", "levels.pdf\ntext 2", "text 3"]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_model_that_gives_no_numbers_is_named(wrong: float) -> None:
    corpus = Corpus(*hits_with([1, 2]))
    with pytest.raises(ConfigurationError, match="no number for 2 of 2 hits"):
        reranked(ASKED, corpus.find, lambda: ByNumber(wrong))


def test_hits_that_were_left_out_stay_counted() -> None:
    response = reranked(ASKED, Corpus(hit("text 1"), left_out=4).find, ByNumber)
    assert response.hits_left_out == 4


def test_the_model_reads_no_further_for_a_caller_who_is_gone() -> None:
    cancellation = Cancellation()

    class GoneMeanwhile(ByNumber):
        def scores(
            self, query: str, passages: Sequence[str], go_on: Callable[[], None]
        ) -> list[float]:
            cancellation.cancel()
            return super().scores(query, passages, go_on)

    reranker = GoneMeanwhile()

    def call() -> None:
        CURRENT.set(cancellation)
        reranked(ASKED, Corpus(*hits_with(range(50))).find, lambda: reranker)

    with pytest.raises(DependencyError, match="does not wait"):
        contextvars.copy_context().run(call)
    assert reranker.read == []
