"""Words of a made language: frequencies as Zipf's law says, a vocabulary that grows with the corpus, topics.

A third of the words of a text are English stop words; the others are made of syllables, so that the English dictionary
of PostgreSQL treats them as words that it does not know. Half of the latter come from the whole vocabulary, half from
the words of the text's topic, so that words of one text occur together, as in real texts.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

EXPONENT = 1.07  # of Zipf's law
EXPONENT_OF_TOPIC = 0.8  # among the words of a topic
VOCABULARY_FACTOR = (
    40.0  # of Heaps' law: words of the vocabulary = factor x sqrt(words of the corpus)
)
TOPICS = 1_000
WORDS_OF_TOPIC = 400
SHARE_OF_STOP_WORDS = 0.35
SHARE_OF_TOPIC = 0.5  # of the words that are no stop words
_FIRST_OF_TOPIC = 200  # rank; the more frequent words belong to no topic
_TOPIC_SEED = 17
# A bar is between two of them; a syllable may end with its vowel.
_ONSETS = (
    "b|bl|br|c|ch|cl|cr|d|dr|f|fl|fr|g|gl|gr|h|j|k|l|m|n|p|pl|pr|qu|r|s|sc|sh|sl|sp|st|t|tr|v|w|z"
)
_VOWELS = "a|e|i|o|u|ai|ea|ee|io|oa|ou"
_CODAS = "|b|ck|d|f|g|l|ll|lt|m|mp|n|nd|ng|nt|p|r|rd|rk|rm|rn|s|sk|st|t|th|x"
_STOP_WORDS = (
    "the of and to in a is that for it as was with be by on not he his but at are this have from or had an they "
    "which one you were all her she there would their we him been has when who will no more if out so up what its "
    "about than into them can only other some could these two may then do first any my now such like our over me "
    "even most after also did many before must through where much your how each because those under both between "
    "own while during same few until"
)

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Words by number: stop words first, then the made ones, the most frequent first."""

    words: tuple[str, ...]
    stop_words: int  # how many of them
    cumulated: npt.NDArray[np.float64]  # frequencies of the made words
    of_topics: Numbers  # topic, place -> word
    cumulated_of_topic: npt.NDArray[np.float64]

    def tokens(self) -> Numbers:
        """Tokens of a model that each word takes: frequent ones are one, rare ones are pieces."""
        ranks = np.arange(len(self.words))
        return np.where(ranks < 5_000, 1, np.where(ranks < 30_000, 2, 3))

    def draw(self, chance: np.random.Generator, topics: Numbers) -> Numbers:
        """One word for each of the given topics."""
        count = len(topics)
        kinds = chance.random(count)
        draws = chance.random(count)
        drawn = np.searchsorted(self.cumulated, draws) + self.stop_words
        places = np.searchsorted(self.cumulated_of_topic, draws)
        half = SHARE_OF_STOP_WORDS + (1 - SHARE_OF_STOP_WORDS) * (1 - SHARE_OF_TOPIC)
        drawn = np.where(kinds > half, self.of_topics[topics, places], drawn)
        stop_words = np.minimum(draws**2 * self.stop_words, self.stop_words - 1)
        return np.where(kinds < SHARE_OF_STOP_WORDS, stop_words.astype(np.int64), drawn)


def vocabulary(words_of_corpus: int) -> Vocabulary:
    """The vocabulary of a corpus of so many words; that of a larger one begins with the same words."""
    size = int(VOCABULARY_FACTOR * np.sqrt(words_of_corpus))
    stop_words = _STOP_WORDS.split()
    words = [*stop_words, *_made_words(size, set(stop_words))]
    chance = np.random.default_rng(_TOPIC_SEED)
    ranks = np.exp(
        chance.uniform(np.log(_FIRST_OF_TOPIC), np.log(size), (TOPICS, WORDS_OF_TOPIC))
    ).astype(np.int64)
    ranks.sort(axis=1)
    return Vocabulary(
        words=tuple(words),
        stop_words=len(stop_words),
        cumulated=_zipf(size, EXPONENT),
        of_topics=ranks + len(stop_words),
        cumulated_of_topic=_zipf(WORDS_OF_TOPIC, EXPONENT_OF_TOPIC),
    )


def _zipf(size: int, exponent: float) -> npt.NDArray[np.float64]:
    weights = np.arange(1, size + 1, dtype=np.float64) ** -exponent
    cumulated = np.cumsum(weights / weights.sum())
    cumulated[-1] = 1.0  # not a little less
    return cumulated


def _made_words(size: int, without: set[str]) -> list[str]:
    """Distinct words of one to four syllables, the frequent ones shorter."""
    chance = np.random.default_rng(_TOPIC_SEED)
    parts = [one.split("|") for one in (_ONSETS, _VOWELS, _CODAS)]
    taken = set(without)
    words: list[str] = []
    while len(words) < size:
        for draws in chance.random((10_000, 4, 3)).tolist():
            rank = len(words)
            syllables = 1 + (rank > 300) + (rank > 10_000) + (draws[3][2] < 0.2)
            word = "".join(_syllable(parts, draw) for draw in draws[:syllables])
            if len(word) > 2 and word not in taken:
                taken.add(word)
                words.append(word)
    return words[:size]


def _syllable(parts: list[list[str]], draws: list[float]) -> str:
    chosen = [some[int(draw * len(some))] for some, draw in zip(parts, draws, strict=True)]
    return "".join(chosen)
