"""Judge the documents that were copied in against the fence, then close what ends and open what begins."""

from dataclasses import dataclass

import psycopg
from psycopg.rows import class_row, scalar_row

from corpus.errors import MissingVectorError, StalePreparationError
from corpus.publish.ledger import Counts
from corpus.publish.transaction import PublishTransaction

_MISSING_VECTOR = "FR005"  # SQLSTATE of freshet.missing_vector
# The planner takes decisions for rare; above this many, real figures are worth an ANALYZE.
_ANALYZE_DECISIONS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleDocuments:
    """Documents whose preparation is out of date (query `stale_preparation`)."""

    documents: int
    example: str | None  # id of one of them


def judge(transaction: PublishTransaction) -> None:
    """Decide what becomes of every document; nothing is changed yet.

    Raises:
        StalePreparationError: a document's preparation used a row of the corpus that has changed since.
    """
    if transaction.execute("decide") > _ANALYZE_DECISIONS:
        transaction.execute("analyze_decided")
    stale = transaction.fetch_one(class_row(StaleDocuments), "stale_preparation")
    if stale.documents:
        raise StalePreparationError(
            f"{stale.documents} documents changed after they were prepared, for example {stale.example!r}; "
            "prepare again"
        )


def _open_chunks(transaction: PublishTransaction) -> int:
    """Open the chunks that are new; each vector is then stored once, with its chunk."""
    try:
        opened = transaction.execute("open_chunks")
    except psycopg.DatabaseError as error:
        if error.sqlstate != _MISSING_VECTOR:
            raise
        raise MissingVectorError(
            f"a text has no vector in embedding space {transaction.space_id}; embed again"
        ) from error
    if opened:
        transaction.execute("forget_held_vectors")
    return opened


def write_changes(transaction: PublishTransaction) -> Counts:
    """Close and open chunks and document versions as `judge` decided.

    The order of the queries matters: a document's chunks are counted and referred to after they were opened, and its
    old head is closed before the new one is opened, since an index allows one head per document.

    Raises:
        MissingVectorError: a text has no vector yet, or none any more.
    """
    chunks_closed = transaction.execute("close_chunks")
    chunks_opened = _open_chunks(transaction)
    chunks_opened += transaction.fetch_one(scalar_row, "reindex_chunks")
    chunks_opened += transaction.execute("reopen_chunks")
    chunks_reused: int = transaction.fetch_one(scalar_row, "count_reused")
    texts_embedded: int = transaction.fetch_one(scalar_row, "count_embedded")
    in_vain: int = transaction.fetch_one(scalar_row, "count_deletes_without_document")
    transaction.execute("close_heads")
    documents_written = transaction.execute("open_documents")
    transaction.execute("keep_columns")
    transaction.execute("keep_deleted_columns")
    transaction.execute("keep_fetched")
    transaction.execute("note_languages")
    documents_written += transaction.execute("open_renewed")
    transaction.execute("open_ended")
    documents_deleted: int = transaction.fetch_one(scalar_row, "open_tombstones")
    transaction.execute("observe_heads")
    transaction.execute("settle_events")
    return Counts(
        documents_written=documents_written,
        documents_deleted=documents_deleted,
        deletes_without_document=in_vain,
        chunks_opened=chunks_opened,
        chunks_closed=chunks_closed,
        chunks_reused=chunks_reused,
        texts_embedded=texts_embedded,
    )
