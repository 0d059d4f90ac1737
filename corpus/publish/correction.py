"""Give a document another version in place of one that was a mistake: a batch of kind `correction`."""

from dataclasses import dataclass
from typing import Any

from psycopg.rows import class_row, scalar_row

from corpus.batch import BatchKind, BatchReport, Correct
from corpus.publish.ledger import Counts, record_batch, report
from corpus.publish.transaction import PublishTransaction
from corpus.versions.scale import reach


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A version of the source's documents (queries `middle_version`, `highest_within`)."""

    version: int | None  # None: there is none


def correct(transaction: PublishTransaction, order: Correct) -> BatchReport:
    """Correct a document's version; nothing is changed where the document has another one by now.

    1. close the head, and open it again under the new version, with its chunks
    2. remember the old version, so that no replay brings it back
    3. forget it as the highest of the source: later versions are judged against the others
    4. write the ledger

    Args:
        transaction: that publishes the batch.
        order: to carry out.
    """
    batch = transaction.batch
    values: dict[str, Any] = {
        "document_id": order.document_id,
        "old_version": order.old_version,
        "new_version": order.new_version,
    }
    # Step 1.
    closed = transaction.fetch_first(scalar_row, "close_corrected", **values)
    if closed is None:
        return report(batch, BatchKind.CORRECTION, Counts())
    transaction.execute("open_corrected", head_key=closed, **values)
    transaction.execute("show_all_again")
    # Step 2.
    transaction.execute(
        "remember_correction",
        reason=order.reason,
        requested_by=order.requested_by,
        **values,
    )
    # Step 3.
    start = transaction.fetch_one(class_row(_Found), "middle_version", **values)
    highest = _highest_from(transaction, start.version)
    transaction.execute("set_highest_version", highest=highest)
    # Step 4.
    counts = Counts(records=1, applied=1, documents_written=1)
    record_batch(
        transaction,
        BatchKind.CORRECTION,
        counts,
        reason=order.reason,
    )
    return report(batch, BatchKind.CORRECTION, counts, transaction.published_at)


def _highest_from(transaction: PublishTransaction, start: int | None) -> int:
    """The highest version of the source's documents that ordinary growth leads to, step by step; -1: none is known."""
    highest = start
    while highest is not None:
        limit = reach(highest)
        found = transaction.fetch_one(class_row(_Found), "highest_within", limit=limit)
        if found.version is None or found.version <= highest:
            return highest
        highest = found.version
    return -1
