"""The vector index of closed chunks, which searches as of an instant use.

To enter a vector takes several times as long as to close its chunk, so a batch that closes chunks does not wait for it:
a storer does it afterwards, page by page. A search compares with those that wait one by one. Where there are few closed
chunks there is no index (`freshet.vector_indexes` in the schema says how many are few).
"""

import logging
from dataclasses import dataclass

from psycopg.rows import class_row, scalar_row

from corpus.database import Connection, execute_made, fetch_all, fetch_one
from corpus.errors import ConfigurationError

logger = logging.getLogger(__name__)

_AT_ONCE = 100  # chunks, which a purge may wait for: some tenths of a second
_MOST_PAGES = 1_000  # then the other indexes are looked at again


@dataclass(frozen=True, slots=True, kw_only=True)
class _ClosedIndex:
    """A vector index to build or to drop (query `closed_vector_indexes`)."""

    name: str
    state: str


def history_waits(connection: Connection) -> bool:
    """Whether there is something to do."""
    if fetch_all(connection, class_row(_ClosedIndex), "closed_vector_indexes"):
        return True
    return bool(fetch_one(connection, scalar_row, "history_waits"))


def keep_history(connection: Connection, *, is_owner: bool) -> None:
    """Bring closed chunks into their vector index; what belongs into a new index is marked before that is built.

    Raises:
        ConfigurationError: an index is to be built, and the user does not own the tables.
    """
    _bring_closed_chunks(connection)
    for index in fetch_all(
        connection, class_row(_ClosedIndex), "closed_vector_indexes"
    ):
        if not is_owner:
            raise ConfigurationError(
                f"the index {index.name} is {index.state}, and the user {connection.info.user!r} does not own the "
                "tables: run `freshet migrate` as their owner, which sees to it; until then searches as of an instant "
                "compare with each closed chunk of then"
            )
        _replace(connection, index)


def _bring_closed_chunks(connection: Connection) -> None:
    if not fetch_one(connection, scalar_row, "history_waits"):
        return
    for _ in range(_MOST_PAGES):
        values = {"limit": _AT_ONCE}
        if not fetch_one(connection, scalar_row, "bring_into_history", values):
            return


def _replace(connection: Connection, index: _ClosedIndex) -> None:
    context = {"action": "index_build", "index": index.name, "was": index.state}
    logger.info("vector index of closed chunks is built or dropped", extra=context)
    execute_made(connection, "drop_chunk_index", {"name": index.name})
    if index.state != "changing":
        execute_made(connection, "build_closed_vector_index", {"name": index.name})
    context["action"] = "index_built"
    logger.info("vector index of closed chunks is as it should be", extra=context)
