"""The vector index of closed chunks, which searches as of an instant use.

To enter a vector takes several times as long as to close its chunk, so a batch that closes chunks does not wait for it:
a storer does it afterwards, page by page. A search compares with those that wait one by one: where nobody brings them,
searches of the past get slower and stay right, so only what is said here shows it. Where there are few closed chunks
there is no index (`freshet.vector_indexes` in the schema says how many are few).
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg.rows import class_row, scalar_row

from corpus.database import Connection, execute_made, fetch_all, fetch_one
from corpus.embed.build_memory import BuildLimits
from corpus.embed.graph_build import build_graph
from corpus.errors import ConfigurationError

logger = logging.getLogger(__name__)

_AT_ONCE = 100  # chunks, which a purge may wait for: some tenths of a second
_MOST_PAGES = 1_000  # then the other indexes are looked at again
_MOST_COUNTED = 10_000  # of the chunks that wait
# A storer looks every ten seconds; it may be busy with the build of another index.
_LATE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedIndex:
    """A vector index of closed chunks (query `closed_vector_indexes`)."""

    name: str
    state: str  # an `IndexState` of `corpus.embed.space_indexes`

    @property
    def is_wanted(self) -> bool:
        """Whether it is to be built or dropped."""
        return self.state not in {"built", "building"}

    def describe(self) -> str:
        """One line for a person."""
        if self.state == "changing":
            return f"closed chunks, {self.name}: no longer used, to be dropped"
        return f"closed chunks, {self.name}: {self.state}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedChunksWaiting:
    """Closed chunks that are not in their vector index yet (query `closed_chunks_waiting`)."""

    chunks: int  # no more than 10,000 are counted
    since: datetime | None  # the first was closed; None: none waits

    def seconds(self, now: datetime) -> float:
        """For how long the first has waited."""
        return 0.0 if self.since is None else (now - self.since).total_seconds()

    def is_late(self, now: datetime) -> bool:
        """Whether a storer should have brought it long ago."""
        return self.seconds(now) > _LATE.total_seconds()

    def describe(self) -> str:
        """One line for a person."""
        if self.since is None:
            return "no closed chunk waits for its index"
        number = f"{self.chunks:,}"
        if self.chunks >= _MOST_COUNTED:
            number = f"{number} or more"
        return f"{number} closed chunks wait for their index, the first since {self.since:%Y-%m-%d %H:%M:%S}Z"


def closed_indexes(connection: Connection) -> list[ClosedIndex]:
    """Every vector index of closed chunks that is there or should be."""
    return fetch_all(connection, class_row(ClosedIndex), "closed_vector_indexes")


def closed_chunks_waiting(connection: Connection) -> ClosedChunksWaiting:
    """What waits for a storer; reads no more than it counts."""
    values = {"limit": _MOST_COUNTED}
    row = class_row(ClosedChunksWaiting)
    waiting = fetch_one(connection, row, "closed_chunks_waiting", values)
    assert waiting is not None, "a count has a row"
    return waiting


def history_waits(connection: Connection) -> bool:
    """Whether there is something to do."""
    if any(index.is_wanted for index in closed_indexes(connection)):
        return True
    return bool(fetch_one(connection, scalar_row, "history_waits"))


def keep_history(
    connection: Connection, limits: BuildLimits, *, is_owner: bool
) -> None:
    """Bring closed chunks into their vector index; what belongs into a new index is marked before that is built.

    Args:
        connection: a session that holds the lock of index builds.
        limits: of the memory and the processes of a build.
        is_owner: whether its user owns the tables.

    Raises:
        ConfigurationError: an index is to be built, and the user does not own the tables.
    """
    _bring_closed_chunks(connection)
    for index in closed_indexes(connection):
        if not index.is_wanted:
            continue
        if not is_owner:
            raise ConfigurationError(
                f"the index {index.name} is {index.state}, and the user {connection.info.user!r} does not own the "
                "tables: run `freshet migrate` as their owner, which sees to it; until then searches as of an instant "
                "compare with each closed chunk of then"
            )
        _replace(connection, index, limits)


def _bring_closed_chunks(connection: Connection) -> None:
    if not fetch_one(connection, scalar_row, "history_waits"):
        return
    for _ in range(_MOST_PAGES):
        values = {"limit": _AT_ONCE}
        if not fetch_one(connection, scalar_row, "bring_into_history", values):
            return


def _replace(connection: Connection, index: ClosedIndex, limits: BuildLimits) -> None:
    context = {"action": "index_build", "index": index.name, "was": index.state}
    logger.info("vector index of closed chunks is built or dropped", extra=context)
    values = {"name": index.name}

    def build() -> None:
        execute_made(connection, "build_closed_vector_index", values)

    def drop() -> None:
        execute_made(connection, "drop_chunk_index", values)

    drop()
    if index.state != "changing":
        build_graph(connection, index.name, limits, build, undo=drop)
    context["action"] = "index_built"
    logger.info("vector index of closed chunks is as it should be", extra=context)
