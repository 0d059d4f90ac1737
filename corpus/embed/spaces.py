"""Embedding spaces in the database, and the tokenizer that belongs to each."""

import threading
from dataclasses import dataclass

from corpus.database import Connection
from corpus.embed.spec import EmbeddingSpec
from corpus.embed.tokenizer import ChunkTokenizer, load_tokenizer, read_embedding_spec
from corpus.sql import query


@dataclass(frozen=True, slots=True)
class Space:
    """A registered embedding space."""

    space_id: int
    fingerprint: str
    spec: EmbeddingSpec
    tokenizer: ChunkTokenizer


def register(connection: Connection, spec: EmbeddingSpec) -> int:
    """Register a space and its vector index; the same space again gives the same id."""
    row = connection.execute(
        query("register_space"),
        {
            "fingerprint": spec.fingerprint(),
            "model": spec.model,
            "weights": spec.weights,
            "pooling": spec.pooling,
            "prefix": spec.prefix,
            "dimensions": spec.dimensions,
            "normalised": spec.normalised,
            "token_limit": spec.token_limit,
        },
    ).fetchone()
    assert row is not None
    return int(row[0])


class SpaceRegistry:
    """Spaces by (model, prefix); a model's files are read once a process."""

    def __init__(self) -> None:
        self._spaces: dict[tuple[str, str], Space] = {}
        self._lock = threading.Lock()

    def of(self, connection: Connection, model: str, prefix: str) -> Space:
        """The space of a model, registered.

        Raises:
            ConfigurationError: the model's files cannot be had.
        """
        with self._lock:
            space = self._spaces.get((model, prefix))
            if space is None:
                spec = read_embedding_spec(model, prefix)
                space_id = register(connection, spec)
                space = Space(space_id, spec.fingerprint(), spec, load_tokenizer(model, prefix))
                self._spaces[model, prefix] = space
            return space
