"""Number the access lists of documents that were published before lists had numbers.

After the migrations and before row-level security: until then such a document counts as one that states no list. Page
by page, each a transaction that holds the source's lock of publishing, so that no batch waits for more than one page.
Each chunk that changes is a new entry of the vector index, some milliseconds. A run that was interrupted is continued
by the next one.
"""

import logging
from dataclasses import dataclass

from psycopg.rows import class_row

from corpus.sessions.rows import Connection, fetch_one
from corpus.sql import query

logger = logging.getLogger(__name__)

_ROWS_AT_ONCE = (
    100  # documents and chunks, which a publish may wait for: about a second
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _First:
    """A row of the query `next_without_list`."""

    document_key: int
    source: str


def fill_access_lists(connection: Connection) -> None:
    """Number them; nothing is done where all have numbers.

    Args:
        connection: in autocommit mode.

    Raises:
        psycopg.Error: PostgreSQL does not answer; the rest is done by the next run.
    """
    first = _first_from(connection, 0)
    if first is not None:
        logger.info("access lists are numbered", extra={"action": "access_lists"})
    while first is not None:
        page = {
            "source": first.source,
            "from": first.document_key,
            "limit": _ROWS_AT_ONCE,
        }
        with connection.transaction():
            connection.execute(query("lock_publishing"), {"source": first.source})
            connection.execute(query("fill_access_lists"), page)
        first = _first_from(connection, first.document_key)


def _first_from(connection: Connection, document_key: int) -> _First | None:
    values = {"from": document_key}
    return fetch_one(connection, class_row(_First), "next_without_list", values)
