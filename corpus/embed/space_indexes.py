"""The vector index of each embedding space, and the indexes of chunks that a migration leaves to a storer.

They are built beside publishing, on a connection of their own.

`CREATE INDEX CONCURRENTLY` lets every source publish meanwhile. It waits for transactions that are under way, so it
takes as long as the longest of them and belongs into no hot path. A search before the index exists is exact, and
slower. An index whose build was interrupted is invalid: PostgreSQL does not use it, and it is built again.
"""

import logging
from dataclasses import dataclass
from enum import StrEnum

from psycopg.rows import class_row, scalar_row

from corpus.database import (
    MAINTENANCE_LIMITS,
    Connection,
    connect,
    database_errors_translated,
    execute_made,
    fetch_all,
    fetch_one,
)
from corpus.disclosure.secret import Secret
from corpus.errors import ConfigurationError
from corpus.sql import query

logger = logging.getLogger(__name__)

_BUILD_LOCK = 0x6672_6573_6869_6478  # "freshidx": one builder at a time
# A builder that stands still after its work loses its session, and with it the lock.
_IDLE_SESSION_SECONDS = 60
_FIRST_WITH_IDLE_SESSIONS = 14_00_00  # PostgreSQL 14
# The query that makes the statement which builds an index of the chunks.
_CHUNK_INDEXES = {
    "chunk_ended": "build_chunk_ended",
    "chunk_vector": "build_chunk_vector",
}


class IndexState(StrEnum):
    """The state of a space's vector index."""

    BUILT = "built"
    BUILDING = "building"
    MISSING = "missing"  # a storer builds it
    INTERRUPTED = "interrupted"  # a storer drops it and builds it again
    IMPOSSIBLE = "impossible"  # more dimensions than an index of pgvector takes


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceIndex:
    """A space and its vector index (query `space_indexes`)."""

    space_id: int
    model: str
    prefix: str
    fingerprint: str
    state: IndexState
    phase: str | None  # of a build, in PostgreSQL's words
    percent: int | None  # of the phase
    builder: int | None  # process id of the session that builds it

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", IndexState(self.state))

    @property
    def is_wanted(self) -> bool:
        """Whether a build is to be started."""
        return self.state in (IndexState.MISSING, IndexState.INTERRUPTED)

    def describe(self) -> str:
        """One line for a person."""
        line = f"{self.model} (space {self.space_id}): {self.state}"
        if self.state is not IndexState.BUILDING:
            return line
        percent = "" if self.percent is None else f", {self.percent} %"
        return f"{line}, {self.phase}{percent}, by server process {self.builder}"


def space_indexes(connection: Connection) -> list[SpaceIndex]:
    """Every registered space with the state of its index."""
    return fetch_all(connection, class_row(SpaceIndex), "space_indexes")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkIndex:
    """An index of the chunks (query `chunk_indexes`)."""

    name: str
    state: str  # an `IndexState`

    @property
    def is_wanted(self) -> bool:
        """Whether a build is to be started."""
        return self.state != IndexState.BUILT


def chunk_indexes(connection: Connection) -> list[ChunkIndex]:
    """The indexes that purges and look-ups of vectors need."""
    return fetch_all(connection, class_row(ChunkIndex), "chunk_indexes")


def build_missing(url: str | Secret) -> list[int]:
    """Build every index that is missing or was interrupted; blocks for as long as that takes.

    1. leave if nothing is to be built, or another process builds
    2. drop what an interrupted build left
    3. build, without a lock that a publish would wait for

    A user that does not own the tables has the database build them while the corpus is small.

    Returns:
        Ids of the spaces whose index was built.

    Raises:
        ConfigurationError: the user does not own the tables, and the corpus is large.
        DependencyError: PostgreSQL does not answer.
        DatabaseRefusalError: PostgreSQL refuses to build it.
    """
    with (
        database_errors_translated(),
        connect(
            url, application="freshet-index", limits=MAINTENANCE_LIMITS
        ) as connection,
    ):
        # Step 1.
        indexes = [*space_indexes(connection), *chunk_indexes(connection)]
        if not any(index.is_wanted for index in indexes):
            return []
        if not _is_only_builder(connection):
            return []
        # Looked up again: the builder before may have just ended.
        is_owner = bool(fetch_one(connection, scalar_row, "owns_tables"))
        built = _build_of_spaces(connection, is_owner=is_owner)
        _build_of_chunks(connection, is_owner=is_owner)
    return built


def _is_only_builder(connection: Connection) -> bool:
    if connection.info.server_version >= _FIRST_WITH_IDLE_SESSIONS:
        limit = {"seconds": _IDLE_SESSION_SECONDS}
        connection.execute(query("limit_idle_session"), limit)
    values = {"key": _BUILD_LOCK}
    return bool(fetch_one(connection, scalar_row, "try_lock_session", values))


def _have_built(connection: Connection, index: SpaceIndex) -> None:
    values = {"space_id": index.space_id}
    if not fetch_one(connection, scalar_row, "build_small_index", values):
        raise ConfigurationError(
            f"the vector index of {index.model} is {index.state}, and the user {connection.info.user!r} does not "
            "own the tables: run `freshet migrate` as their owner, which builds it; until then searches are exact, "
            "and slower"
        )


def _build_of_spaces(connection: Connection, *, is_owner: bool) -> list[int]:
    wanted = [index for index in space_indexes(connection) if index.is_wanted]
    build = _build if is_owner else _have_built
    for index in wanted:
        build(connection, index)
    return [index.space_id for index in wanted]


def _build_of_chunks(connection: Connection, *, is_owner: bool) -> None:
    for index in chunk_indexes(connection):
        if index.is_wanted:
            _build_index_of_chunks(connection, index, is_owner=is_owner)


def _build_index_of_chunks(
    connection: Connection, index: ChunkIndex, *, is_owner: bool
) -> None:
    name = index.name
    if not is_owner:
        raise ConfigurationError(
            f"the index {name} is {index.state}, and the user {connection.info.user!r} does not own the tables: run "
            "`freshet migrate` as their owner, which builds it; until then purges wait, and vectors are stored twice"
        )
    context = {"action": "index_build", "index": name}
    logger.info("index of chunks is built", extra=context)
    # Step 2.
    execute_made(connection, "drop_chunk_index", {"name": name})
    # Step 3.
    execute_made(connection, _CHUNK_INDEXES[name])
    logger.info("index of chunks is ready", extra=context | {"action": "index_built"})


def _build(connection: Connection, index: SpaceIndex) -> None:
    context = {
        "action": "index_build",
        "space": index.space_id,
        "model": index.model,
        "was": index.state.value,
    }
    logger.info("vector index is built", extra=context)
    values = {"space_id": index.space_id}
    # Step 2.
    execute_made(connection, "drop_space_index", values)
    # Step 3.
    execute_made(connection, "build_space_index", values)
    logger.info("vector index is ready", extra=context | {"action": "index_built"})
