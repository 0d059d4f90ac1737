"""Documents that their source has sent again and that wait to be published."""

import logging
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from psycopg.rows import namedtuple_row

from corpus.errors import StagedFileError
from corpus.publish.transaction import PublishTransaction
from corpus.staging.frames import read_columns
from corpus.staging.layout import staged_range
from corpus.staging.store import StagingStore

_COLUMNS = ("offset", "timestamp_ms", "outcome", "op", "document_id")

logger = logging.getLogger(__name__)


def waiting_documents(
    store: StagingStore, transaction: PublishTransaction, age_seconds: int
) -> list[str]:
    """Ids of documents with a staged, unpublished record that is younger than the source's age.

    What is staged is in the store before its reference reaches the source, so nothing that a consumer has read is
    missed. A file that cannot be read is left out and logged: its batch names the reason.

    Raises:
        DependencyError: the store does not answer.
    """
    source = transaction.batch.source
    rows: list[Any] = transaction.fetch_all(
        namedtuple_row, "positions_of_sources", sources=[source]
    )
    published = {(row.topic, row.partition): row.next_offset for row in rows}
    since = transaction.published_at - timedelta(seconds=age_seconds)
    documents: set[str] = set()
    for name in store.names(f"events/{source}"):
        staged = staged_range(name)
        if staged is None:
            continue
        next_offset = published.get((staged.topic, staged.partition), 0)
        if staged.next_offset > next_offset:
            documents |= _sent_since(store, name, next_offset, since)
    return sorted(documents)


def _sent_since(
    store: StagingStore, name: str, next_offset: int, since: datetime
) -> set[str]:
    try:
        frame = read_columns(store, name, _COLUMNS)
    except StagedFileError as error:
        context = {"action": "staged_file_unread", "file": name, "error": str(error)}
        logger.warning("a staged file cannot be read", extra=context)
        return set()
    if frame is None:  # published meanwhile
        return set()
    sent = frame.filter(
        pl.col("offset") >= next_offset,
        pl.col("outcome") == "event",
        pl.col("op") == "upsert",
        pl.col("timestamp_ms") > round(since.timestamp() * 1000),
    )
    return set(sent["document_id"].drop_nulls())
