"""Withdraw overdue documents: a batch of kind `expiry`, published like any other."""

from dataclasses import dataclass, replace

from psycopg.rows import class_row

from corpus.batch import BatchKind, BatchReport, Expire
from corpus.errors import MassExpiryError
from corpus.publish.ledger import Counts, record_batch, report
from corpus.publish.transaction import PublishTransaction
from corpus.source import FreshnessSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class OverdueCount:
    """Visible documents, and those of them that are overdue (query `count_overdue`)."""

    visible: int
    overdue: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiredCount:
    """What was withdrawn (query `expire_documents`)."""

    documents: int
    chunks: int


def expire(transaction: PublishTransaction, order: Expire) -> BatchReport:
    """Withdraw overdue documents, judged now, by the database's clock and the source's present rule.

    Raises:
        MassExpiryError: more than the allowed ratio of the visible documents is overdue; nothing was withdrawn.
    """
    order = as_configured(order, transaction.spec.freshness)
    batch = transaction.batch
    count = transaction.fetch_one(class_row(OverdueCount), "count_overdue")
    if count.overdue == 0:
        return report(batch, BatchKind.EXPIRY, Counts())
    if count.overdue > order.max_ratio * count.visible:
        raise MassExpiryError(
            f"{count.overdue} of {count.visible} documents of source {batch.source!r} are overdue, more than the ratio "
            f"{order.max_ratio} that max_expiry_ratio allows; nothing was withdrawn. "
            "Check the source; raise the ratio if it is meant."
        )
    expired = transaction.fetch_one(
        class_row(ExpiredCount), "expire_documents", rule=order.rule
    )
    counts = Counts(
        records=expired.documents,
        applied=expired.documents,
        documents_expired=expired.documents,
        chunks_closed=expired.chunks,
    )
    record_batch(transaction, BatchKind.EXPIRY, counts, reason=order.rule)
    return report(batch, BatchKind.EXPIRY, counts, transaction.published_at)


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
