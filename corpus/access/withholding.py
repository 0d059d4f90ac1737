"""Withholding: who a record takes a document from cannot read it from the moment when the record is read.

A batch waits behind all that its source sent before it, and its texts are embedded first, which may take minutes. What
widens an access list waits so long; what narrows it does not. The document's row notes which records withhold it and
which groups they leave (`document.withheld`), and the numbers of its access lists are narrowed. When such a record is
published, or is behind the source's position without having changed anything, publishing takes the note away, and the
access list counts as it was published.

What is not withheld: a document that itself waits to be published.
"""

import json
from collections.abc import Iterable, Sequence

from psycopg.rows import scalar_row

from corpus.access.stated import StatedReaders
from corpus.database import Connection, fetch_all, fetch_one
from corpus.sql import query


def withhold(
    connection: Connection,
    source: str,
    log: str,
    stated: Iterable[StatedReaders],
    default_acl: Sequence[str] | None,
) -> int:
    """Narrow who may read what is visible, by records that are not published yet; returns how many documents.

    Args:
        connection: not in a transaction.
        source: of the records.
        log: `topic/partition/topic id`, of which they are.
        stated: of them; of one document, the last of its greatest version counts.
        default_acl: who may read a document of the source that states no access list. None: every reader.

    Raises:
        psycopg.Error: PostgreSQL does not answer, or a batch holds the lock of publishing for too long.
    """
    newest: dict[str, StatedReaders] = {}
    for one in sorted(stated, key=_place):
        newest[one.document_id] = one
    values = {
        "source": source,
        "log": log,
        "default_acl": None if default_acl is None else sorted(default_acl),
        "said": _said(newest.values()),
    }
    narrowing = set(fetch_all(connection, scalar_row, "narrowing", values))
    if not narrowing:
        return 0
    values["said"] = _said(newest[name] for name in narrowing)
    with connection.transaction():
        connection.execute(query("lock_publishing"), {"source": source})
        return fetch_one(connection, scalar_row, "withhold", values) or 0


def _place(one: StatedReaders) -> tuple[int, int]:
    return one.version, one.record_offset


def _said(stated: Iterable[StatedReaders]) -> str:
    return json.dumps([one._asdict() for one in stated])
