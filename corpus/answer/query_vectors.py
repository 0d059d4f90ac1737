"""The vectors of the queries that a gateway was asked last: the same question again costs no model.

Each reader has its own. Were they shared, a team could tell by the time of an answer whether another team had asked the
same question. A query's text is not kept, only its hash.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from corpus.embed.embedder import Vectors

MOST_READERS = 64
MOST_OF_A_READER = 256  # 0.4 MB of 384 dimensions

# Model, prefix, SHA-256 of the text.
_Key = tuple[str, str, bytes]


class QueryEmbedder(Protocol):
    """What a search needs of a model."""

    def embed_query(self, text: str) -> Vectors:
        """Return the vector (dimensions,), float32, of a query."""
        ...


# (model, prefix) -> an embedder of queries; they have no context.
EmbedderOf = Callable[[str, str], QueryEmbedder]


class QueryVectors:
    """Vectors by reader, model, prefix and text: of each reader the latest used, of the readers the latest seen.

    Attributes:
        hits: queries whose vector was at hand.
        misses: queries that went through the model.
    """

    def __init__(self) -> None:
        self.hits = 0
        self.misses = 0
        self._of_readers: OrderedDict[str, OrderedDict[_Key, Vectors]] = OrderedDict()
        self._lock = threading.Lock()

    def of_reader(self, reader: str, embedder_of: EmbedderOf) -> EmbedderOf:
        """Embedders that ask those of `embedder_of` for the vectors that this reader does not have."""

        def known_or_embedded(model: str, prefix: str) -> QueryEmbedder:
            return _Remembering(self, reader, model, prefix, embedder_of)

        return known_or_embedded

    def known(self, reader: str, key: _Key) -> Vectors | None:
        """The vector of a query; None where it is not at hand. Counted."""
        with self._lock:
            of_reader = self._of_readers.get(reader)
            if of_reader is None or key not in of_reader:
                self.misses += 1
                return None
            self.hits += 1
            self._of_readers.move_to_end(reader)
            of_reader.move_to_end(key)
            return of_reader[key]

    def keep(self, reader: str, key: _Key, vector: Vectors) -> None:
        """Keep a vector, and forget what was used longest ago where there are too many."""
        with self._lock:
            of_reader = self._of_readers.setdefault(reader, OrderedDict())
            self._of_readers.move_to_end(reader)
            of_reader[key] = vector
            of_reader.move_to_end(key)
            if len(of_reader) > MOST_OF_A_READER:
                of_reader.popitem(last=False)
            if len(self._of_readers) > MOST_READERS:
                self._of_readers.popitem(last=False)


@dataclass(frozen=True, slots=True)
class _Remembering:
    """Embeds the queries of one reader by one model. Two that ask for a new text at once both ask the model."""

    vectors: QueryVectors
    reader: str
    model: str
    prefix: str
    embedder_of: EmbedderOf

    def embed_query(self, text: str) -> Vectors:
        key = (self.model, self.prefix, hashlib.sha256(text.encode()).digest())
        known = self.vectors.known(self.reader, key)
        if known is not None:
            return known
        vector = self.embedder_of(self.model, self.prefix).embed_query(text)
        vector.flags.writeable = False  # who gets it again must get the same
        self.vectors.keep(self.reader, key, vector)
        return vector
