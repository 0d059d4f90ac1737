"""The vector index of each embedding space, and the indexes of chunks that a migration leaves to a storer.

They are built beside publishing, on a connection of their own. Where another precision was chosen for a space, the
index of the former choice serves until the new one is there, and the vectors follow page by page.

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
from corpus.embed.build_memory import DEFAULT_BUILD, BuildLimits
from corpus.embed.graph_build import build_graph
from corpus.embed.history_index import history_waits, keep_history
from corpus.errors import ConfigurationError
from corpus.sql import query

logger = logging.getLogger(__name__)

# "freshidx": one builder at a time. Two would wait for each other's transactions.
BUILD_LOCK = 0x6672_6573_6869_6478
# A builder that stands still after its work loses its session, and with it the lock.
IDLE_SESSION_SECONDS = 60
_NARROWED_AT_ONCE = 100  # chunks, which a publish may wait for: some tenths of a second
_FIRST_WITH_IDLE_SESSIONS = 14_00_00  # PostgreSQL 14
# The query that makes the statement which builds an index of the chunks.
_CHUNK_INDEXES = {
    "chunk_access": "build_chunk_access",
    "chunk_closing": "build_chunk_closing",
    "chunk_ended": "build_chunk_ended",
    "chunk_ended_text": "build_chunk_ended_text",
    "chunk_lifetime": "build_chunk_lifetime",
    "chunk_open": "build_chunk_open",
    "chunk_opened": "build_chunk_opened",
    "chunk_vector": "build_chunk_vector",
    "document_metadata_ended": "build_document_metadata_ended",
}


class IndexState(StrEnum):
    """The state of a space's vector index."""

    BUILT = "built"
    BUILDING = "building"
    MISSING = "missing"  # a storer builds it
    INTERRUPTED = "interrupted"  # a storer drops it and builds it again
    CHANGING = "changing"  # that of another choice serves; a storer replaces it
    NARROWING = "narrowing"  # built; a storer brings vectors into half precision
    IMPOSSIBLE = "impossible"  # more dimensions than an index of pgvector takes


_WANTED = frozenset({IndexState.MISSING, IndexState.INTERRUPTED, IndexState.CHANGING})


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceIndex:
    """A space and its vector index (query `space_indexes`)."""

    space_id: int
    model: str
    prefix: str
    fingerprint: str
    vectors: str = "full"  # the choice; see `corpus.embed.spec.Precision`
    state: IndexState
    phase: str | None  # of a build, in PostgreSQL's words
    percent: int | None  # of the phase, or of the chunks that were looked at
    builder: int | None  # process id of the session that builds it

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", IndexState(self.state))

    @property
    def is_wanted(self) -> bool:
        """Whether a build is to be started."""
        return self.state in _WANTED

    @property
    def is_narrowed(self) -> bool:
        """Whether its vectors are to be brought into half precision now."""
        return self.state is IndexState.NARROWING

    def describe(self) -> str:
        """One line for a person."""
        line = f"{self.model} (space {self.space_id}): {self.state}"
        percent = "" if self.percent is None else f", {self.percent} %"
        if self.state is IndexState.BUILDING:
            return f"{line}, {self.phase}{percent}, by server process {self.builder}"
        if self.state is IndexState.CHANGING:
            return f"{line} to vectors = {self.vectors}"
        if self.state is IndexState.NARROWING:
            return f"{line} vectors{percent}"
        return line


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


def build_missing(url: str | Secret, limits: BuildLimits = DEFAULT_BUILD) -> list[int]:
    """Build every index that is missing or was interrupted; blocks for as long as that takes.

    1. leave if nothing is to be built, or another process builds
    2. drop what an interrupted build left
    3. build, without a lock that a publish would wait for
    4. drop the index of another choice, once searches use the new one
    5. bring vectors into half precision where that was chosen
    6. bring closed chunks into their vector index

    A user that does not own the tables has the database build them while the corpus is small.

    Args:
        url: connection string of the database.
        limits: of the memory and the processes of a build.

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
        spaces = space_indexes(connection)
        indexes = [*spaces, *chunk_indexes(connection)]
        is_wanted = any(index.is_wanted for index in indexes)
        is_narrowed = any(space.is_narrowed for space in spaces)
        if not is_wanted and not is_narrowed and not history_waits(connection):
            return []
        if not _is_only_builder(connection):
            return []
        return build_as_only(connection, limits)


def build_as_only(connection: Connection, limits: BuildLimits) -> list[int]:
    """Steps 2 to 6 of `build_missing`, in a session that holds `BUILD_LOCK`."""
    # Looked up again: the builder before may have just ended.
    is_owner = bool(fetch_one(connection, scalar_row, "owns_tables"))
    wanted = [index for index in space_indexes(connection) if index.is_wanted]
    for index in wanted:
        if is_owner:
            _build(connection, index, limits)
        else:
            _have_built(connection, index)
    _build_of_chunks(connection, is_owner=is_owner)
    _narrow_vectors(connection)
    keep_history(connection, limits, is_owner=is_owner)
    return [index.space_id for index in wanted]


def _is_only_builder(connection: Connection) -> bool:
    if connection.info.server_version >= _FIRST_WITH_IDLE_SESSIONS:
        limit = {"seconds": IDLE_SESSION_SECONDS}
        connection.execute(query("limit_idle_session"), limit)
    values = {"key": BUILD_LOCK}
    return bool(fetch_one(connection, scalar_row, "try_lock_session", values))


def _have_built(connection: Connection, index: SpaceIndex) -> None:
    values = {"space_id": index.space_id}
    if not fetch_one(connection, scalar_row, "build_small_index", values):
        is_served = index.state is IndexState.CHANGING
        meanwhile = "use the one before" if is_served else "are exact, and slower"
        raise ConfigurationError(
            f"the vector index of {index.model} is {index.state}, and the user {connection.info.user!r} does not "
            "own the tables: run `freshet migrate` as their owner, which builds it; "
            f"until then searches {meanwhile}"
        )


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
            "`freshet migrate` as their owner, which builds it; until then purges wait, vectors are stored twice, or "
            "searches of few chunks miss some"
        )
    context = {"action": "index_build", "index": name}
    logger.info("index of chunks is built", extra=context)
    # Step 2.
    execute_made(connection, "drop_chunk_index", {"name": name})
    # Step 3.
    execute_made(connection, _CHUNK_INDEXES[name])
    logger.info("index of chunks is ready", extra=context | {"action": "index_built"})


@dataclass(frozen=True, slots=True)
class _WantedIndex:
    """The row of `wanted_index`."""

    name: str
    is_valid: bool


def _build(connection: Connection, index: SpaceIndex, limits: BuildLimits) -> None:
    context = {
        "action": "index_build",
        "space": index.space_id,
        "model": index.model,
        "was": index.state.value,
    }
    logger.info("vector index is built", extra=context)
    values = {"space_id": index.space_id}
    wanted = fetch_one(connection, class_row(_WantedIndex), "wanted_index", values)
    assert wanted is not None, f"space {index.space_id} has an index that is wanted"
    if not wanted.is_valid:
        # Step 2.
        execute_made(connection, "drop_space_index", values)
        # Step 3.
        build_graph(
            connection,
            wanted.name,
            limits,
            build=lambda: execute_made(connection, "build_space_index", values),
            undo=lambda: execute_made(connection, "drop_space_index", values),
        )
    # Step 4.
    execute_made(connection, "drop_other_space_index", values)
    logger.info("vector index is ready", extra=context | {"action": "index_built"})


@dataclass(frozen=True, slots=True)
class _NarrowedPage:
    """The row of `narrow_vectors`."""

    looked_at: int  # chunks
    narrowed: int


def _narrow_vectors(connection: Connection) -> None:
    # Step 5.
    for index in space_indexes(connection):
        if not index.is_narrowed:
            continue
        context = {"space": index.space_id, "model": index.model}
        narrowed = _narrow_vectors_of(connection, index.space_id)
        logger.info(
            "vectors are in half precision",
            extra=context | {"action": "vectors_narrowed", "chunks": narrowed},
        )


def _narrow_vectors_of(connection: Connection, space_id: int) -> int:
    """Page by page, each a transaction; returns the number of chunks."""
    values = {"space_id": space_id, "limit": _NARROWED_AT_ONCE}
    narrowed = 0
    while True:
        page = fetch_one(connection, class_row(_NarrowedPage), "narrow_vectors", values)
        if page is None or not page.looked_at:
            return narrowed
        narrowed += page.narrowed
