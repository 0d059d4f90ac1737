"""Withdraw overdue documents: a batch of kind `expiry`, published like any other."""

from dataclasses import dataclass, replace

from psycopg.rows import class_row

from corpus.batch import BatchKind, BatchReport, Expire
from corpus.errors import MassExpiryError
from corpus.overdue import Overdue
from corpus.publish.ledger import Counts, record_batch, report
from corpus.publish.transaction import PublishTransaction
from corpus.publish.waiting import waiting_documents
from corpus.source import FreshnessSpec
from corpus.staging.store import StagingStore


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiredCount:
    """What was withdrawn (query `expire_documents`)."""

    documents: int
    chunks: int


def expire(
    transaction: PublishTransaction, order: Expire, store: StagingStore
) -> BatchReport:
    """Withdraw overdue documents, judged now, by the database's clock and the source's present rule.

    What is past its own end goes; what is past the source's age goes if `Overdue.refusal` has no objection.

    Args:
        transaction: that publishes the batch.
        order: to carry out.
        store: of the staged files; a document that waits there is not overdue.

    Raises:
        MassExpiryError: documents are past the source's age and may not be withdrawn; nothing was.
        DependencyError: the staging store does not answer.
    """
    policy = transaction.spec.freshness
    order = as_configured(order, policy)
    batch = transaction.batch
    waiting: list[str] = []
    measured = _measure(transaction, waiting)
    if measured.aged:
        age_seconds = policy.expire_after_seconds or 0
        waiting = waiting_documents(store, transaction, age_seconds)
        measured = _measure(transaction, waiting)
    judged_by = replace(policy, max_expiry_ratio=order.max_ratio)
    refusal = measured.refusal(judged_by)
    by_origin = measured.takes_gone(judged_by)
    if not measured.ended and not by_origin:
        if not measured.aged:
            return report(batch, BatchKind.EXPIRY, Counts())
        if refusal is not None:
            raise MassExpiryError(
                f"{measured.aged} of {measured.documents} documents of source {batch.source!r} are overdue, {refusal}; "
                "nothing was withdrawn"
            )
    expired = transaction.fetch_one(
        class_row(ExpiredCount),
        "expire_documents",
        rule=order.rule,
        by_age=refusal is None,
        by_origin=by_origin,
        waiting=waiting,
    )
    counts = Counts(
        records=expired.documents,
        applied=expired.documents,
        documents_expired=expired.documents,
        chunks_closed=expired.chunks,
    )
    record_batch(transaction, BatchKind.EXPIRY, counts, reason=order.rule)
    return report(batch, BatchKind.EXPIRY, counts, transaction.published_at)


def _measure(transaction: PublishTransaction, waiting: list[str]) -> Overdue:
    return transaction.fetch_one(class_row(Overdue), "count_overdue", waiting=waiting)


def as_configured(order: Expire, policy: FreshnessSpec) -> Expire:
    """The order by the source's present rule, which may have changed while the order waited."""
    seconds = policy.expire_after_seconds
    rule = order.rule if seconds == order.expire_after_seconds else _rule(seconds)
    return replace(
        order,
        expire_after_seconds=seconds,
        max_ratio=policy.max_expiry_ratio,
        rule=rule,
    )


def _rule(expire_after_seconds: int | None) -> str:
    if expire_after_seconds is None:
        return "expires_at"
    return f"expires_at or expire_after={expire_after_seconds}s"
