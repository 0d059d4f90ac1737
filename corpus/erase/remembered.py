"""What must not come back: events of erased documents, by the keyed hashes that are remembered of them.

Preparing leaves them out, so that no text of theirs is cleaned or embedded. Publishing looks once more, under the lock
that an erasure holds, since a batch may have been prepared before.
"""

from collections.abc import Iterable

import polars as pl
from psycopg.rows import scalar_row

from corpus.database import Connection, fetch_all, fetch_one
from corpus.erase.spelling import names_in

RULE = "erased"
"""The rule that ignores such an event."""

# What the rows of such events keep: where they were in the log.
_CLEARED = (
    *("detail", "op", "document_id", "version", "uri", "title", "metadata", "acl"),
    *("content_sha256", "raw_sha256", "key", "value", "headers"),
    *("unavailable", "previous_id", "next_id"),
)
_NAMES = ("outcome", "document_id", "key", "value")
_QUOTE = b'"'


def has_erased(connection: Connection, source: str) -> bool:
    """Whether a source has documents that must not come back."""
    values = {"source": source}
    return bool(fetch_one(connection, scalar_row, "has_erased", values))


def without_erased(
    connection: Connection, source: str, frame: pl.DataFrame
) -> pl.DataFrame:
    """Staged events with those of erased documents as ignored, and without what they say.

    Args:
        connection: to PostgreSQL.
        source: of the events.
        frame: with the columns of `STAGED_EVENTS`.
    """
    if not has_erased(connection, source):
        return frame
    named = [names_of(*row) for row in frame.select(_NAMES).iter_rows()]
    distinct = {name for names in named for name in names}
    values = {"source": source, "names": sorted(distinct)}
    erased = set(fetch_all(connection, scalar_row, "erased_names", values))
    is_erased = pl.Series(
        [not erased.isdisjoint(names) for names in named], dtype=pl.Boolean
    )
    if not is_erased.any():
        return frame
    return frame.with_columns(
        pl.when(is_erased).then(pl.lit(value)).otherwise(pl.col(name)).alias(name)
        for name, value in _ignored().items()
    )


def _ignored() -> dict[str, str | None]:
    cleared = dict.fromkeys(_CLEARED)
    return {"outcome": "ignored", "reason": RULE, **cleared}


def names_of(
    outcome: str, document_id: str | None, key: bytes | None, value: bytes | None
) -> Iterable[bytes]:
    """By what an event may be known as one of an erased document: its id.

    Of an unreadable one: its key, its bytes, and the id that they state, or else what they quote.
    """
    if document_id is not None:
        return {document_id.encode()}
    if outcome != "dead_letter":
        return set()
    names = {name for name in (key, value) if name is not None}
    if key and key.startswith(_QUOTE) and key.endswith(_QUOTE):
        names.add(key[1:-1])
    return names | names_in(value or b"")
