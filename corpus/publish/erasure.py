"""Forget documents: a batch of kind `erasure`, published like any other."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.rows import class_row, scalar_row

from corpus.batch import BatchKind, BatchReport, Erase
from corpus.erase.remembered import RULE, has_erased
from corpus.erase.stores import remove_from_stores
from corpus.publish.ledger import Counts, record_batch, report
from corpus.publish.transaction import PublishTransaction

# Documents of which a chunk is looked for by every kind of search, under the lock of the source; the others are looked
# for by their ids.
_SAMPLES = 3
_MODES = ("vector", "text", "hybrid")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ordered:
    """An order that was not carried out yet (query `erasure_to_carry_out`)."""

    document_ids: list[str]
    dead_letters: list[int]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Removed:
    """Rows that were removed (query `erase_documents`)."""

    removed: int
    visible: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _RemovedChunks:
    """Chunks that were removed (query `erase_chunks`)."""

    removed: int
    visible: int
    vectors: int  # that nothing else holds


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    """A chunk that will be looked for (query `erasure_samples`)."""

    text: str
    embedding: str
    space_id: int
    visible_from: Any


def erase(transaction: PublishTransaction, order: Erase) -> BatchReport:
    """Remove all rows of documents; nothing is changed where the order was carried out before.

    1. read which documents, and a chunk of some of them
    2. remember a keyed hash of each id, so that nothing brings the document back
    3. remove the rows, store by store
    4. look for them by every way of retrieval
    5. write the ledger, and what was removed

    Vectors and staged files follow after the commit (`corpus.erase.finisher`).

    Args:
        transaction: that publishes the batch.
        order: to carry out.

    Raises:
        AssertionError: a way of retrieval still finds one of them, which the queries rule out.
    """
    batch = transaction.batch
    named = {"erasure": order.erasure}
    # Step 1.
    ordered = transaction.fetch_first(
        class_row(_Ordered), "erasure_to_carry_out", **named
    )
    if ordered is None:
        return report(batch, BatchKind.ERASURE, Counts())
    values: dict[str, Any] = {**named, "document_ids": ordered.document_ids}
    samples = transaction.fetch_all(
        class_row(_Sample), "erasure_samples", limit=_SAMPLES, **values
    )
    # Step 2.
    transaction.execute("remember_erased", **values)
    # Step 3.
    chunks = transaction.fetch_one(class_row(_RemovedChunks), "erase_chunks", **values)
    documents = transaction.fetch_one(class_row(_Removed), "erase_documents", **values)
    removed = {
        "versions": documents.removed,
        "chunks": chunks.removed,
        "vectors": chunks.vectors,
        **_remove_from_stores(transaction, order, ordered),
    }
    # Step 4.
    probes = _probe(transaction, values, samples)
    # Step 5.
    count = len(ordered.document_ids)
    counts = Counts(
        records=count,
        applied=count,
        documents_deleted=documents.visible,
        chunks_closed=chunks.visible,
    )
    record_batch(transaction, BatchKind.ERASURE, counts, reason=ordered.reason)
    transaction.execute(
        "erasure_carried_out",
        removed=json.dumps(removed),
        probes=json.dumps(probes),
        **named,
    )
    return report(batch, BatchKind.ERASURE, counts, transaction.published_at)


def _remove_from_stores(
    transaction: PublishTransaction, order: Erase, ordered: _Ordered
) -> dict[str, int]:
    return remove_from_stores(
        transaction.connection,
        ordered.document_ids,
        dead_letters=ordered.dead_letters,
        source=transaction.batch.source,
        published_at=transaction.published_at,
        erasure=order.erasure,
    )


def _probe(
    transaction: PublishTransaction,
    values: dict[str, Any],
    samples: Sequence[_Sample],
) -> dict[str, int]:
    """Look for the documents by every kind of search: way -> hits, all of them 0."""
    ways = {mode: (mode, False) for mode in _MODES}
    ways["as_of"] = ("hybrid", True)
    probes: dict[str, int] = {}
    for way, (mode, is_past) in ways.items():
        probes[way] = 0
        for sample in samples:
            probes[way] += transaction.fetch_one(
                scalar_row,
                "probe_search",
                embedding=sample.embedding,
                text=sample.text,
                space_id=sample.space_id,
                mode=mode,
                as_of=sample.visible_from if is_past else None,
                document_ids=values["document_ids"],
            )
    if any(probes.values()):
        raise AssertionError(f"searches still find what was erased: {probes}")
    return probes


def drop_erased(transaction: PublishTransaction) -> None:
    """Ignore the events of the batch that are of erased documents."""
    if has_erased(transaction.connection, transaction.batch.source):
        transaction.execute("drop_erased", rule=RULE)
