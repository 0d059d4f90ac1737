"""Questions to a made corpus: some words of one of its chunks, and a vector near that chunk."""

from dataclasses import dataclass

import numpy as np

from tests.bench.scale.made import Made, Vectors, near

KINDS = ("rare", "mixed", "common")
MIN_WORDS = 3
MAX_WORDS = 12
_COMMON = 150  # so many of the most frequent words are common
_SEED = 23


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for."""

    kind: str  # one of KINDS
    text: str
    vector: Vectors


def questions(made: Made, count: int) -> list[Question]:
    """Questions of each kind in turn, about chunks that are visible."""
    chance = np.random.default_rng([made.seed, _SEED])
    chunks = chance.choice(np.flatnonzero(made.visible()), count, replace=False)
    vectors = near(chance, made.vectors[chunks])
    return [
        Question(KINDS[n % len(KINDS)], _text(chance, made, chunk, KINDS[n % len(KINDS)]), vector)
        for n, (chunk, vector) in enumerate(zip(chunks.tolist(), vectors, strict=True))
    ]


def _text(chance: np.random.Generator, made: Made, chunk: int, kind: str) -> str:
    stop_words = made.vocabulary.stop_words
    words = np.unique(made.words[made.first_word[chunk] : made.first_word[chunk + 1]])
    words = words[words >= stop_words]  # the most frequent first
    count = min(int(chance.integers(MIN_WORDS, MAX_WORDS + 1)), len(words))
    if kind == "rare":
        words = words[-count:]
    elif kind == "common":
        # A chunk has few of them, so others come in.
        held = words[words < stop_words + _COMMON]
        others = chance.choice(_COMMON, count, replace=False) + stop_words
        words = np.unique(np.concatenate([held, others]))
        words = chance.choice(words, count, replace=False)
    else:
        words = chance.choice(words, count, replace=False)
    return " ".join(made.vocabulary.words[word] for word in chance.permutation(words).tolist())
