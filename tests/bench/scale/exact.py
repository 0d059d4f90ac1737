"""What a search should return, computed without the database: exact cosine distances, and exact BM25.

BM25 has k1 = 1.2 and b = 0.75; a chunk's length is its number of tokens, as in Freshet. Its statistics are those of the
space that is searched: the chunks that are visible then, of the sources that are searched, and readable. A filter by
metadata is none of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from corpus.database import Connection
from tests.bench.scale.made import Flags, Made, Vectors
from tests.bench.scale.words import Numbers

K1 = 1.2
B = 0.75
# Of the fusion of two lists, as `freshet.search` says.
FUSED = 50
RANK_CONSTANT = 60

# Makes lexemes of a text.
Analyser = Callable[[str], Sequence[str]]
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Postings:
    """The chunks that hold a term, and how often each one does."""

    chunks: Numbers
    counts: Numbers


class ExactText:
    """BM25 of every chunk of a made corpus."""

    def __init__(self, made: Made, analyse: Analyser) -> None:
        """Analyse each word of the vocabulary once."""
        self._analyse = analyse
        analysed = [analyse(word) for word in made.vocabulary.words]
        # Of each word; None: it is not indexed.
        self.lexemes = [lexemes[0] if lexemes else None for lexemes in analysed]
        distinct = dict.fromkeys(lexeme for lexeme in self.lexemes if lexeme is not None)
        self._numbers = {lexeme: number for number, lexeme in enumerate(distinct)}
        of_words = np.array([self._numbers.get(lexeme or "", -1) for lexeme in self.lexemes])
        self._terms = of_words[made.words]
        self._chunk_of = np.repeat(np.arange(made.chunks), np.diff(made.first_word))
        self._chunks = made.chunks
        self._lengths = made.token_counts().astype(np.float64)
        self._postings: dict[int, Postings] = {}

    def add(self, texts: list[str]) -> None:
        """Prepare the terms of questions, all in one pass over the words."""
        wanted = np.unique([term for text in texts for term in self._terms_of(text)])
        held = np.isin(self._terms, wanted)
        keys, counts = np.unique(
            self._terms[held] * self._chunks + self._chunk_of[held], return_counts=True
        )
        terms, chunks = np.divmod(keys, self._chunks)
        starts = np.searchsorted(terms, wanted)
        ends = np.searchsorted(terms, wanted, side="right")
        for term, start, end in zip(wanted.tolist(), starts, ends, strict=True):
            self._postings[term] = Postings(chunks[start:end], counts[start:end])

    def scores(self, text: str, space: Flags) -> Scores:
        """Of every chunk; 0: it holds no term, or is outside of the space."""
        scores = np.zeros(self._chunks)
        total = int(space.sum())
        average = self._lengths[space].mean() if total else 1.0
        for term in self._terms_of(text):
            postings = self._postings[term]
            inside = space[postings.chunks]
            chunks, counts = postings.chunks[inside], postings.counts[inside]
            rarity = np.log(1 + (total - len(chunks) + 0.5) / (len(chunks) + 0.5))
            lengths = 1 - B + B * self._lengths[chunks] / average
            scores[chunks] += rarity * counts * (K1 + 1) / (counts + K1 * lengths)
        return scores

    def _terms_of(self, text: str) -> list[int]:
        return [self._numbers[lexeme] for lexeme in self._analyse(text) if lexeme in self._numbers]


def fused(of_vectors: Scores, of_texts: Scores, allowed: Flags) -> Scores:
    """Scores of hybrid search: reciprocal ranks in the two lists that it fuses, of which each has the best FUSED."""
    scores = np.zeros(len(allowed))
    for ranked in (of_vectors, of_texts):
        possible = np.flatnonzero(allowed & np.isfinite(ranked))
        best = possible[np.argsort(-ranked[possible], kind="stable")][:FUSED]
        scores[best] += 1 / (RANK_CONSTANT + np.arange(1, len(best) + 1))
    return scores


class Lexemes:
    """The lexemes that PostgreSQL makes of a text; those of the vocabulary are read at once."""

    def __init__(self, connection: Connection, words: Sequence[str]) -> None:
        rows = connection.execute(_LEXEMES, {"words": list(words)}).fetchall()
        self._of_words: dict[str, list[str]] = dict(
            zip(words, (row[0] for row in rows), strict=True)
        )

    def __call__(self, text: str) -> list[str]:
        """Distinct ones; a question consists of words of the vocabulary."""
        lexemes = [lexeme for word in text.split() for lexeme in self._of_words[word]]
        return list(dict.fromkeys(lexemes))


@dataclass(frozen=True, slots=True)
class Judged:
    """What is right and wrong in an answer."""

    wanted: int  # that it should have
    right: int
    foreign: int  # that are outside of what was searched, or can be in no answer


def judge(returned: list[int], scores: Scores, allowed: Flags, k: int, tolerance: float) -> Judged:
    """Compare an answer with exact scores: any chunk is right that scores as the one in the last place does.

    Args:
        returned: chunks.
        scores: of every chunk, greater ones being better; -inf: can be no part of an answer.
        allowed: chunks that match the filter.
        k: how many were asked for.
        tolerance: of scores that are the same but for rounding.
    """
    possible = np.where(allowed, scores, -np.inf)
    count = int(np.isfinite(possible).sum())
    wanted = min(k, count)
    if wanted == 0:
        return Judged(0, 0, len(returned))
    last = np.partition(possible, len(possible) - wanted)[len(possible) - wanted]
    of_returned = possible[returned]
    return Judged(
        wanted=wanted,
        right=int((of_returned >= last - tolerance).sum()),
        foreign=int((~np.isfinite(of_returned)).sum()),
    )


def similarities(vectors: Vectors, asked: Vectors) -> Scores:
    """Cosine similarity to every chunk."""
    return (vectors @ asked).astype(np.float64)


_LEXEMES = b"""
SELECT tsvector_to_array(to_tsvector('english', w.word))
FROM unnest(%(words)s::text[]) WITH ORDINALITY AS w (word, place) ORDER BY w.place"""
