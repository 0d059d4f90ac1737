"""FreshnessWorkflow: one check of one source, started by its Schedule or by hand.

1. measure
2. something is overdue, and not too much of it: ask the entity to expire it, wait until the ledger shows the batch,
   measure again
3. judge, and write the report. A check that fails is reported as a runtime error, never left out.
"""

from dataclasses import dataclass, replace
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from corpus import policies
    from corpus.batch import ExpiryOrder
    from corpus.source import FreshnessSpec
    from freshness.activities import FreshnessActivities, LookForExpiry, OrderExpiry
    from freshness.policy import FreshnessStatus, Verdict, expiry_rule, may_expire, words
    from freshness.report import FreshnessReport, Measurement
# The entity may be behind batches that embed for long; if this check does not see the expiry, the next one does.
EXPIRED_WITHIN = timedelta(minutes=5)
MIN_LOOK_INTERVAL = timedelta(milliseconds=200)  # doubles
MAX_LOOK_INTERVAL = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshnessCheck:
    """Which source."""

    source: str


@workflow.defn(name="FreshnessWorkflow")
class FreshnessWorkflow:
    """See the module."""

    @workflow.run
    async def run(self, check: FreshnessCheck) -> FreshnessReport:
        """Check once."""
        try:
            report = await self._check(check.source)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            report = self._report(
                check.source,
                status=FreshnessStatus.RUNTIME_ERROR,
                snapshotted_at_ms=None,
                spec=FreshnessSpec(),
                error=_reason(error),
            )
        # 3
        report = replace(
            report, duration_seconds=(workflow.now() - workflow.info().start_time).total_seconds()
        )
        await workflow.execute_activity_method(
            FreshnessActivities.record, report, **policies.RECORD_FRESHNESS
        )
        return report

    async def _check(self, source: str) -> FreshnessReport:
        # 1
        found: Measurement = await workflow.execute_activity_method(
            FreshnessActivities.measure, source, **policies.MEASURE
        )
        expired: int | None = 0
        # 2
        if found.overdue and may_expire(
            found.spec, overdue=found.overdue, documents=found.documents
        ):
            expired = await self._expire(found)
            found = await workflow.execute_activity_method(
                FreshnessActivities.measure, source, **policies.MEASURE
            )
        verdict = found.verdict()
        if expired is None:
            reason = f"{found.overdue} documents are overdue and were not withdrawn within {words(int(EXPIRED_WITHIN.total_seconds()))} of the order"
            verdict = Verdict(FreshnessStatus.ERROR, (*verdict.reasons, reason))
        return self._report(
            source,
            status=verdict.status,
            snapshotted_at_ms=found.snapshotted_at_ms,
            spec=found.spec,
            newest_ms=found.newest_ms,
            oldest_ms=found.oldest_ms,
            documents=found.documents,
            overdue=found.overdue,
            expired=expired or 0,
            error="; ".join(verdict.reasons) or None,
        )

    async def _expire(self, found: Measurement) -> int | None:
        """How many documents were withdrawn; None: the ledger does not show it in time."""
        order = ExpiryOrder(
            request_id=workflow.info().run_id,
            rule=expiry_rule(found.spec),
            expire_after_seconds=found.spec.expire_after_seconds,
            max_ratio=found.spec.max_expiry_ratio,
        )
        await workflow.execute_activity_method(
            FreshnessActivities.order_expiry,
            OrderExpiry(source=found.source, order=order),
            **policies.ORDER_EXPIRY,
        )
        wanted = LookForExpiry(source=found.source, after_batch=found.last_batch)
        deadline, pause = workflow.now() + EXPIRED_WITHIN, MIN_LOOK_INTERVAL
        while True:
            result = await workflow.execute_activity_method(
                FreshnessActivities.look_for_expiry, wanted, **policies.LOOK_FOR_EXPIRY
            )
            if result.done:
                return result.documents
            if workflow.now() >= deadline:
                return None
            await workflow.sleep(pause)
            pause = min(pause * 2, MAX_LOOK_INTERVAL)

    def _report(
        self,
        source: str,
        *,
        status: FreshnessStatus,
        snapshotted_at_ms: int | None,
        spec: FreshnessSpec,
        error: str | None,
        **found: int | None,
    ) -> FreshnessReport:
        info = workflow.info()
        return FreshnessReport(
            source=source,
            status=status,
            snapshotted_at_ms=snapshotted_at_ms,
            spec=spec,
            error=error,
            duration_seconds=0.0,
            workflow_id=info.workflow_id,
            run_id=info.run_id,
            **found,  # type: ignore[arg-type]
        )


def _reason(error: ActivityError) -> str:
    """The innermost message, in one line."""
    cause: BaseException = error
    while isinstance(cause, ActivityError) and cause.cause is not None:
        cause = cause.cause
    kind = (
        cause.type if isinstance(cause, ApplicationError) and cause.type else type(cause).__name__
    )
    return f"{error.activity_type}: {kind}: {' '.join(str(cause).split())}"[:2_000]
