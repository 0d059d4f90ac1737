"""Reranking: what a search found is read again, each hit together with the query, and put in that order.

A cross-encoder reads query and passage at once, so it orders what was found better than two vectors of their own do,
and costs a whole pass of the model per hit (Nogueira and Cho: Passage Re-ranking with BERT, arXiv:1901.04085).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from corpus.answer.cancellation import require_caller
from corpus.errors import ConfigurationError
from corpus.service import SearchHit, SearchRequest, SearchResponse

# Hits that the model reads; a request for more gets as many as it asks for.
CANDIDATES = 30


class Reranker(Protocol):
    """What reranking needs of a model."""

    def scores(
        self, query: str, passages: Sequence[str], go_on: Callable[[], None]
    ) -> list[float]:
        """Return how well each passage answers the query; greater is better.

        Args:
            query: as it was asked.
            passages: in any order.
            go_on: called between passes; what it raises ends them.
        """
        ...


# Gives the reranker of the process. Raises ConfigurationError where none is configured, or it cannot be loaded.
RerankerOf = Callable[[], Reranker]
# Answers a request without reranking.
Find = Callable[[SearchRequest], SearchResponse]


def reranked(
    request: SearchRequest, find: Find, reranker_of: RerankerOf
) -> SearchResponse:
    """Answer a request, in the order of the reranker where it asks for that.

    1. the reranker, before anything is searched in vain
    2. candidates, in the order of the request's mode
    3. the score of each; those of one score keep their order
    4. the k best

    Args:
        request: that `search_problem` finds nothing wrong with.
        find: gives the candidates; what it holds (a connection, a transaction) is free while the model reads.
        reranker_of: gives the reranker.

    Raises:
        ConfigurationError: no model is configured, it cannot be loaded, or it gives no numbers.
        DependencyError: the caller is gone.
    """
    if not request.rerank:
        return find(request)
    # Step 1.
    reranker = reranker_of()
    # Step 2.
    found = find(replace(request, rerank="", k=max(request.k, CANDIDATES)))
    # Step 3.
    scores = _scores(reranker, request.query, found.hits)
    scored = [
        replace(hit, score=score) for hit, score in zip(found.hits, scores, strict=True)
    ]
    best_first = sorted(scored, key=lambda hit: -hit.score)
    # Step 4.
    return replace(found, hits=tuple(best_first[: request.k]), reranked=len(scored))


def _scores(reranker: Reranker, query: str, hits: tuple[SearchHit, ...]) -> list[float]:
    scores = reranker.scores(query, [_passage(hit) for hit in hits], require_caller)
    wrong = sum(not math.isfinite(score) for score in scores)
    if wrong:
        raise ConfigurationError(
            f"the reranking model gave no number for {wrong} of {len(scores)} hits; FRESHET_RERANK_MODEL names it"
        )
    return scores


def _passage(hit: SearchHit) -> str:
    """What the model reads of a hit: where the chunk stands, and its text."""
    part = hit.part
    name = hit.title if part is None else part.name
    return "\n".join(filter(None, (name, hit.heading, hit.text)))
