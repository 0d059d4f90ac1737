"""Embedding spaces in the database, and the tokenizer that belongs to each.

A space is known by its fingerprint. Its id belongs to one database at one time: a database that was restored may have
given the id to another space. So an id is looked up in the transaction that uses it, and is kept nowhere.
"""

import threading
from dataclasses import asdict, dataclass, replace

from psycopg.rows import scalar_row

from corpus.database import Connection, fetch_one
from corpus.embed.spec import MAX_DIMENSIONS, MAX_HALF_DIMENSIONS, EmbeddingSpec
from corpus.embed.tokenizer import ChunkTokenizer, load_tokenizer, read_embedding_spec
from corpus.errors import ConfigurationError
from corpus.preparation import NO_CONTEXT


@dataclass(frozen=True, slots=True)
class Space:
    """A registered embedding space, with its id of this moment."""

    space_id: int
    fingerprint: str
    spec: EmbeddingSpec
    tokenizer: ChunkTokenizer


@dataclass(frozen=True, slots=True)
class _ModelFiles:
    """What a space's files say; they do not change while a process runs."""

    spec: EmbeddingSpec
    tokenizer: ChunkTokenizer


def register(connection: Connection, spec: EmbeddingSpec) -> int:
    """Register a space; the same space again gives the same id, without a lock.

    A storer builds the vector index of a new space (`corpus.embed.space_indexes`).

    Raises:
        ConfigurationError: the space is new, and has more dimensions than an index holds.
    """
    if registered(connection, spec.fingerprint()) is None:
        require_index(spec)
    parameters = {"fingerprint": spec.fingerprint(), **asdict(spec)}
    space_id = fetch_one(connection, scalar_row, "register_space", parameters)
    assert space_id is not None
    return int(space_id)


def require_index(spec: EmbeddingSpec) -> None:
    """Refuse vectors that no index can hold: each search would compare with every chunk.

    Raises:
        ConfigurationError: names model and dimensions.
    """
    if spec.dimensions > MAX_HALF_DIMENSIONS:
        raise ConfigurationError(
            f"model {spec.model!r} makes vectors of {spec.dimensions:,} dimensions, and a vector index holds at most "
            f"{MAX_HALF_DIMENSIONS:,} ({MAX_DIMENSIONS:,} in full precision); choose a model of fewer dimensions"
        )


def registered(connection: Connection, fingerprint: str) -> int | None:
    """The id of a space in this transaction; None where the database does not know it."""
    values = {"fingerprint": fingerprint}
    return fetch_one(connection, scalar_row, "space_by_fingerprint", values)


class SpaceRegistry:
    """Spaces by (model, prefix, context). A model's files are read once per process."""

    def __init__(self) -> None:
        self._files: dict[tuple[str, str], _ModelFiles] = {}
        self._lock = threading.Lock()

    def of(
        self,
        connection: Connection,
        model: str,
        prefix: str,
        context: str = NO_CONTEXT,
    ) -> Space:
        """Return the space of a model and a context; it is registered first if it is new.

        Raises:
            ConfigurationError: the model's files are not available.
        """
        files = self._files_of(model, prefix)
        spec = replace(files.spec, context=context)
        space_id = register(connection, spec)
        return Space(space_id, spec.fingerprint(), spec, files.tokenizer)

    def _files_of(self, model: str, prefix: str) -> _ModelFiles:
        with self._lock:
            if (model, prefix) not in self._files:
                spec = read_embedding_spec(model, prefix)
                tokenizer = load_tokenizer(model, prefix)
                self._files[model, prefix] = _ModelFiles(spec, tokenizer)
            return self._files[model, prefix]
