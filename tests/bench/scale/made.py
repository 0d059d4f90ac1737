"""A made corpus: documents of several chunks about topics, sources and metadata of chosen shares, and a history."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from tests.bench.scale.words import TOPICS, Numbers, Vocabulary, vocabulary

DIMENSIONS = 384
SOURCES = {"s50": 0.5, "s30": 0.3, "s10": 0.1, "s3": 0.03, "s1": 0.01, "s01": 0.001, "rest": 0.059}
# Key of the metadata -> share of the documents that have it. `by_topic`: the documents of so many topics.
SELECTIVITIES = {"50": 0.5, "10": 0.1, "3": 0.03, "1": 0.01, "01": 0.001}
# The two access lists, each of one group; documents without a list are for those that the source lets read by
# default, which is the first group.
GROUPS = ("staff", "board")
SHARES_OF_LISTS = (0.6, 0.3, 0.1)  # of the documents: without a list, of the first, of the second
CLOSED = 0.25  # share of the chunks that belong to a former version
BATCHES = 100  # of each source, one per day
DAY = timedelta(days=1)
FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
WORDS_OF_CHUNK = (40, 250)
_CHUNKS_OF_DOCUMENT = 5.0  # mean
_MAX_CHUNKS_OF_DOCUMENT = 40
_SPREAD_OF_DOCUMENT = (
    0.35  # of vectors, around the centre of the topic, whose parts have a spread of 1
)
_SPREAD_OF_CHUNK = 0.5
_CHUNKS_AT_ONCE = 10_000

Vectors = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Documents:
    """One row per version of a document."""

    source: Numbers  # place in SOURCES
    name: Numbers  # versions of one document have the same
    version: Numbers
    topic: Numbers
    first_chunk: Numbers
    chunks: Numbers
    first_batch: Numbers  # that it is visible from
    end_batch: Numbers  # that it is no longer visible from; 0: visible
    access: Numbers  # 0: no access list; else the place in GROUPS, from 1
    random: npt.NDArray[np.float64]  # decides about the metadata


@dataclass(frozen=True, slots=True)
class Made:
    """A corpus; texts are numbers of words until they are loaded."""

    seed: int
    chunks: int
    vocabulary: Vocabulary
    documents: Documents
    document_of: Numbers  # of each chunk
    first_word: Numbers  # of each chunk, and the end of the last one
    words: npt.NDArray[np.int32]
    vectors: Vectors

    def text(self, chunk: int) -> str:
        """Sentences of about a dozen words."""
        numbers = self.words[self.first_word[chunk] : self.first_word[chunk + 1]].tolist()
        words = [self.vocabulary.words[number] for number in numbers]
        sentences = [" ".join(words[n : n + 12]).capitalize() for n in range(0, len(words), 12)]
        return ". ".join(sentences) + "."

    def token_counts(self) -> Numbers:
        """Tokens of each chunk."""
        tokens = self.vocabulary.tokens()[self.words]
        return np.add.reduceat(tokens, self.first_word[:-1])

    def visible(self, batch: int | None = None) -> Flags:
        """Chunks that are visible now, or were as of a batch."""
        documents = self.documents
        if batch is None:
            return (documents.end_batch == 0)[self.document_of]
        begun = documents.first_batch <= batch
        ended = (documents.end_batch > 0) & (documents.end_batch <= batch)
        return (begun & ~ended)[self.document_of]

    def has_metadata(self, kind: str, selectivity: str) -> Flags:
        """Chunks whose document has a key of the metadata."""
        return metadata(self.documents, kind, selectivity)[self.document_of]


def metadata(documents: Documents, kind: str, selectivity: str) -> Flags:
    """Which documents have a key: drawn at `random`, or `by_topic`."""
    share = SELECTIVITIES[selectivity]
    if kind == "random":
        return documents.random < share
    return documents.topic < share * TOPICS


def batch_time(batch: int) -> datetime:
    """When a batch was published."""
    return FIRST_DAY + batch * DAY


def make(chunks: int, seed: int) -> Made:
    """Make a corpus of so many chunks, of which CLOSED belong to history."""
    chance = np.random.default_rng(seed)
    documents = _documents(chance, chunks)
    document_of = np.repeat(np.arange(len(documents.chunks)), documents.chunks)
    lengths = chance.integers(WORDS_OF_CHUNK[0], WORDS_OF_CHUNK[1] + 1, chunks)
    first_word = np.concatenate([[0], np.cumsum(lengths)])
    made = vocabulary(int(first_word[-1]))
    topics = documents.topic[document_of]
    words = np.empty(first_word[-1], np.int32)
    for first in range(0, chunks, _CHUNKS_AT_ONCE):
        until = min(first + _CHUNKS_AT_ONCE, chunks)
        of_words = np.repeat(topics[first:until], lengths[first:until])
        words[first_word[first] : first_word[until]] = made.draw(chance, of_words)
    return Made(
        seed=seed,
        chunks=chunks,
        vocabulary=made,
        documents=documents,
        document_of=document_of,
        first_word=first_word,
        words=words,
        vectors=_vectors(chance, topics, document_of),
    )


def _documents(chance: np.random.Generator, chunks: int) -> Documents:
    sizes = _sizes(chance, chunks)
    count = len(sizes)
    # The first ones are former versions of those that follow them.
    former = int(np.searchsorted(np.cumsum(sizes), CLOSED * chunks))
    name = np.concatenate([np.arange(former), np.arange(count - former)])
    names = count - former
    topic = chance.integers(0, TOPICS, names)[name]
    source = chance.choice(len(SOURCES), names, p=list(SOURCES.values()))[name]
    access = chance.choice(3, names, p=SHARES_OF_LISTS)[name]
    first_batch = chance.integers(1, BATCHES + 1, count)
    end_batch = np.zeros(count, np.int64)
    # A former version came in the first six tenths, and was replaced on any later day.
    first_batch[:former] = chance.integers(1, BATCHES * 6 // 10 + 1, former)
    end_batch[:former] = chance.integers(first_batch[:former] + 1, BATCHES + 1)
    first_batch[former : 2 * former] = end_batch[:former]
    version = np.ones(count, np.int64)
    version[former : 2 * former] = 2
    return Documents(
        source=source,
        name=name,
        version=version,
        topic=topic,
        first_chunk=np.cumsum(sizes) - sizes,
        chunks=sizes,
        first_batch=first_batch,
        end_batch=end_batch,
        access=access,
        random=chance.random(names)[name],
    )


def _sizes(chance: np.random.Generator, chunks: int) -> Numbers:
    """Chunks of each document, whose sum is right."""
    drawn = chance.geometric(1 / _CHUNKS_OF_DOCUMENT, chunks).clip(1, _MAX_CHUNKS_OF_DOCUMENT)
    count = int(np.searchsorted(np.cumsum(drawn), chunks)) + 1
    sizes = drawn[:count]
    sizes[-1] -= sizes.sum() - chunks
    return sizes


def _vectors(chance: np.random.Generator, topics: Numbers, document_of: Numbers) -> Vectors:
    """Unit vectors, near one another within a topic, and nearer within a document."""
    centres = chance.standard_normal((TOPICS, DIMENSIONS), np.float32)
    offsets = chance.standard_normal((int(document_of[-1]) + 1, DIMENSIONS), np.float32)
    vectors = chance.standard_normal((len(topics), DIMENSIONS), np.float32)
    vectors *= _SPREAD_OF_CHUNK
    for first in range(0, len(topics), _CHUNKS_AT_ONCE):
        some = slice(first, first + _CHUNKS_AT_ONCE)
        vectors[some] += centres[topics[some]] + _SPREAD_OF_DOCUMENT * offsets[document_of[some]]
        vectors[some] /= np.linalg.norm(vectors[some], axis=1, keepdims=True)
    return vectors


def near(chance: np.random.Generator, vectors: Vectors) -> Vectors:
    """Vectors of questions about these chunks."""
    drawn = chance.standard_normal(vectors.shape, np.float32)
    drawn *= _SPREAD_OF_CHUNK / np.sqrt(DIMENSIONS)
    asked = vectors + drawn
    return asked / np.linalg.norm(asked, axis=1, keepdims=True)


def pages(made: Made) -> Iterator[tuple[int, int]]:
    """Ranges of chunks that are loaded at once."""
    for first in range(0, made.chunks, _CHUNKS_AT_ONCE):
        yield first, min(first + _CHUNKS_AT_ONCE, made.chunks)
