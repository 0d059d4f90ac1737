"""Withholding: who a record takes a document from cannot read it from the moment when the record is read.

A batch waits behind all that its source sent before it, and its texts are embedded first, which may take minutes. What
widens an access list waits so long; what narrows it does not. The document's row notes which records withhold it and
which groups they leave (`document.withheld`), and the numbers of its access lists are narrowed. When such a record is
published, or is behind the source's position without having changed anything, publishing takes the note away, and the
access list counts as it was published.

What is not withheld: a document that itself waits to be published.
"""

import json
import time
from collections.abc import Iterable

from psycopg.rows import scalar_row

from corpus.access.stated import StatedReaders
from corpus.database import Connection, fetch_all, fetch_one
from corpus.source import SourceSpec
from corpus.sql import query

# Documents of one transaction, which a batch may wait for: a second or two where each has a list of 1,000 groups.
_PAGE = 50
_SECONDS = 20.0  # of all pages; what remains is narrowed with its batch


class WithholdingTakesLongError(Exception):
    """The rest waits for its batch."""


def withhold(
    connection: Connection, spec: SourceSpec, log: str, stated: Iterable[StatedReaders]
) -> int:
    """Narrow who may read what is visible, by records that are not published yet; returns how many documents.

    Page by page, each a transaction that holds the source's lock of publishing.

    Args:
        connection: not in a transaction.
        spec: of the records' source.
        log: `topic/partition/topic id`, of which they are.
        stated: of them; of one document, the last of its greatest version counts.

    Raises:
        psycopg.Error: PostgreSQL does not answer, a batch holds the lock of publishing for too long, or a page takes
            too long. What was done before stays.
        WithholdingTakesLongError: the pages together take too long.
    """
    newest: dict[str, StatedReaders] = {}
    for one in sorted(stated, key=_place):
        newest[one.document_id] = one
    values = {"source": spec.source, "log": log, "own_first": spec.own_first}
    values["said"] = _said(newest.values())
    narrowing = sorted(set(fetch_all(connection, scalar_row, "narrowing", values)))
    documents = 0
    end = time.monotonic() + _SECONDS
    for first in range(0, len(narrowing), _PAGE):
        page = narrowing[first : first + _PAGE]
        if time.monotonic() > end:
            raise WithholdingTakesLongError
        values["said"] = _said(newest[name] for name in page)
        with connection.transaction():
            connection.execute(query("limit_withholding"))
            connection.execute(query("lock_publishing"), {"source": spec.source})
            documents += fetch_one(connection, scalar_row, "withhold", values) or 0
    return documents


def _place(one: StatedReaders) -> tuple[int, int]:
    return one.version, one.record_offset


def _said(stated: Iterable[StatedReaders]) -> str:
    return json.dumps([one._asdict() for one in stated])


def show_all_again(connection: Connection, source: str) -> None:
    """Bring what is withheld in order, after something else than a batch moved positions or changed the source.

    Args:
        connection: not in a transaction.
        source: that changed.

    Raises:
        psycopg.Error: PostgreSQL does not answer, or a batch holds the lock of publishing for a minute.
    """
    values = {"source": source}
    if not fetch_one(connection, scalar_row, "has_withheld", values):
        return
    with connection.transaction():
        connection.execute(query("wait_for_publishing"))
        connection.execute(query("lock_publishing"), values)
        connection.execute(query("show_all_again"), values)
