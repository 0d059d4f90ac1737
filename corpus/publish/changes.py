"""Judge the documents that were copied in against the fence, then close what ends and open what begins."""

from dataclasses import dataclass

from psycopg.rows import class_row, scalar_row

from corpus.errors import MissingVectorError, StalePreparationError
from corpus.publish.erasure import check_opened
from corpus.publish.ledger import Counts
from corpus.publish.transaction import PublishTransaction

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
        MissingVectorError: a text has no vector yet.
    """
    if transaction.execute("decide") > _ANALYZE_DECISIONS:
        transaction.execute("analyze_decided")
    stale = transaction.fetch_one(class_row(StaleDocuments), "stale_preparation")
    if stale.documents:
        raise StalePreparationError(
            f"{stale.documents} documents changed after they were prepared, for example {stale.example!r}; "
            "prepare again"
        )
    missing: int = transaction.fetch_one(scalar_row, "missing_vectors")
    if missing:
        raise MissingVectorError(
            f"{missing} texts have no vector in embedding space {transaction.space_id}; embed again"
        )


def write_changes(transaction: PublishTransaction) -> Counts:
    """Close and open chunks and document versions as `judge` decided.

    The order of the queries matters: a document's chunks are counted and referred to after they were opened, and its
    old head is closed before the new one is opened, since an index allows one head per document.

    Raises:
        MissingVectorError: a vector was removed meanwhile.
    """
    chunks_closed = transaction.execute("close_chunks")
    chunks_opened = transaction.execute("open_chunks")
    check_opened(transaction)
    chunks_opened += transaction.fetch_one(scalar_row, "reindex_chunks")
    chunks_opened += transaction.execute("reopen_chunks")
    chunks_reused: int = transaction.fetch_one(scalar_row, "count_reused")
    texts_embedded: int = transaction.fetch_one(scalar_row, "count_embedded")
    in_vain: int = transaction.fetch_one(scalar_row, "count_deletes_without_document")
    transaction.execute("close_heads")
    documents_written = transaction.execute("open_documents")
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
