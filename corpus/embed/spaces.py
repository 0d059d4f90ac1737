"""Embedding spaces in the database, and the tokenizer that belongs to each."""

import threading
from dataclasses import asdict, dataclass

from psycopg.rows import scalar_row

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
    parameters = {"fingerprint": spec.fingerprint(), **asdict(spec)}
    with connection.cursor(row_factory=scalar_row) as cursor:
        cursor.execute(query("register_space"), parameters)
        space_id = cursor.fetchone()
    assert space_id is not None
    return int(space_id)


class SpaceRegistry:
    """Spaces by (model, prefix). A model's files are read once per process."""

    def __init__(self) -> None:
        self._spaces: dict[tuple[str, str], Space] = {}
        self._lock = threading.Lock()

    def of(self, connection: Connection, model: str, prefix: str) -> Space:
        """Return the space of a model; it is registered first if it is new.

        Raises:
            ConfigurationError: the model's files are not available.
        """
        with self._lock:
            if (model, prefix) not in self._spaces:
                self._spaces[model, prefix] = _space(connection, model, prefix)
            return self._spaces[model, prefix]


def _space(connection: Connection, model: str, prefix: str) -> Space:
    spec = read_embedding_spec(model, prefix)
    space_id = register(connection, spec)
    return Space(space_id, spec.fingerprint(), spec, load_tokenizer(model, prefix))
