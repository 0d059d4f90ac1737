"""FreshnessWorkflow: one check of one source, started by its Schedule or by hand."""

from dataclasses import dataclass, replace
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    is_cancelled_exception,
)

with workflow.unsafe.imports_passed_through():
    from corpus import policies
    from corpus.batch import Expire
    from corpus.source import FreshnessSpec
    from freshness.activities import (
        ExpiryLookup,
        FreshnessActivities,
        OrderExpiry,
        RevalidationActivities,
    )
    from freshness.policy import FreshnessStatus, Verdict, expiry_rule, format_duration
    from freshness.report import FreshnessReport, FreshnessSnapshot
    from freshness.revalidation import Revalidation, counted

# The entity may be behind batches that embed for long. If this check does not see the expiry, the next one does.
EXPIRY_TIMEOUT = timedelta(minutes=5)
MIN_CHECK_INTERVAL = timedelta(
    milliseconds=200
)  # of the ledger, after an order; doubles
MAX_CHECK_INTERVAL = timedelta(seconds=5)
_MAX_ERROR_CHARACTERS = 2_000
# Id of `workflow.patched`: checks that began before it ask nobody.
_REVALIDATES = "revalidates-before-expiry"


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshnessCheck:
    """The source to check."""

    source: str


@workflow.defn(name="FreshnessWorkflow")
class FreshnessWorkflow:
    """Checks one source once.

    1. measure
    2. where age would withdraw documents whose origin can be asked: ask, have what changed read again, measure again
    3. where documents are overdue and may be withdrawn: order their expiry, wait for it in the ledger, measure again
    4. judge
    5. store the report; a check that fails is reported as a runtime error, never left out
    """

    @workflow.run
    async def run(self, check: FreshnessCheck) -> FreshnessReport:
        """Check once."""
        try:
            report = await self._check(check.source)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            report = self._failed(check.source, error)
        # Step 5.
        duration = workflow.now() - workflow.info().start_time
        report = replace(report, duration_seconds=duration.total_seconds())
        await workflow.execute_activity_method(
            FreshnessActivities.record, report, **policies.RECORD_FRESHNESS
        )
        return report

    async def _check(self, source: str) -> FreshnessReport:
        # Step 1.
        snapshot = await self._measure(source)
        # Step 2.
        unaskable = snapshot.unaskable
        asked: Revalidation | None = None
        if snapshot.kept and workflow.patched(_REVALIDATES):
            asked = await self._ask_origins(source)
            snapshot = await self._measure(source)
        # Step 3.
        withdrawn: int | None = 0
        if snapshot.overdue and snapshot.may_expire():
            withdrawn = await self._expire(snapshot)
            snapshot = await self._measure(source)
        # Step 4.
        problem = "" if asked is None else asked.problem
        verdict = _verdict(snapshot, problem, withdrawn)
        report = self._judged(snapshot, verdict, withdrawn or 0)
        revalidation = counted(asked, unaskable, snapshot.kept)
        return replace(report, revalidation=revalidation)

    async def _ask_origins(self, source: str) -> Revalidation:
        """Ask; whatever fails changes nothing, and is said."""
        asked = Revalidation()
        try:
            asked = await workflow.execute_activity_method(
                RevalidationActivities.revalidate, source, **policies.REVALIDATE
            )
            if not asked.to_read:
                return asked
            ordered = await workflow.execute_activity_method(
                FreshnessActivities.read_again, source, **policies.READ_AGAIN
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            return asked.failed(reason_of(error))
        return asked.failed(ordered.waits_for) if ordered.waits_for else asked

    async def _measure(self, source: str) -> FreshnessSnapshot:
        return await workflow.execute_activity_method(
            FreshnessActivities.measure, source, **policies.MEASURE
        )

    async def _expire(self, snapshot: FreshnessSnapshot) -> int | None:
        """How many documents were withdrawn; None: the ledger did not show the expiry in time."""
        order = Expire(
            request_id=workflow.info().run_id,
            rule=expiry_rule(snapshot.spec),
            expire_after_seconds=snapshot.spec.expire_after_seconds,
            max_ratio=snapshot.spec.max_expiry_ratio,
        )
        await workflow.execute_activity_method(
            FreshnessActivities.order_expiry,
            OrderExpiry(source=snapshot.source, order=order),
            **policies.ORDER_EXPIRY,
        )
        lookup = ExpiryLookup(source=snapshot.source, after_batch=snapshot.last_batch)
        deadline = workflow.now() + EXPIRY_TIMEOUT
        interval = MIN_CHECK_INTERVAL
        while True:
            result = await workflow.execute_activity_method(
                FreshnessActivities.find_expiry, lookup, **policies.LOOK_FOR_EXPIRY
            )
            if result.done:
                return result.documents
            if workflow.now() >= deadline:
                return None
            await workflow.sleep(interval)
            interval = min(interval * 2, MAX_CHECK_INTERVAL)

    def _judged(
        self, snapshot: FreshnessSnapshot, verdict: Verdict, withdrawn: int
    ) -> FreshnessReport:
        info = workflow.info()
        return FreshnessReport(
            source=snapshot.source,
            status=verdict.status,
            snapshotted_at_ms=snapshot.snapshotted_at_ms,
            spec=snapshot.spec,
            duration_seconds=0.0,
            workflow_id=info.workflow_id,
            run_id=info.run_id,
            newest_ms=snapshot.newest_ms,
            oldest_ms=snapshot.oldest_ms,
            documents=snapshot.documents,
            overdue=snapshot.overdue,
            empty=snapshot.empty,
            lossy=snapshot.lossy,
            unknown=snapshot.unknown,
            unknown_ratio=snapshot.unknown_ratio,
            expired=withdrawn,
            error="; ".join(verdict.reasons) or None,
        )

    def _failed(self, source: str, error: ActivityError) -> FreshnessReport:
        info = workflow.info()
        return FreshnessReport(
            source=source,
            status=FreshnessStatus.RUNTIME_ERROR,
            snapshotted_at_ms=None,
            spec=FreshnessSpec(),
            duration_seconds=0.0,
            workflow_id=info.workflow_id,
            run_id=info.run_id,
            error=reason_of(error),
        )


def _verdict(
    snapshot: FreshnessSnapshot, problem: str, withdrawn: int | None
) -> Verdict:
    """The verdict, with what hindered the check; `withdrawn`: None where the ledger did not show the expiry in time."""
    verdict = snapshot.verdict()
    if problem:
        verdict = verdict.with_warning(problem)
    if withdrawn is not None:
        return verdict
    timeout = format_duration(int(EXPIRY_TIMEOUT.total_seconds()))
    return verdict.with_error(
        f"{snapshot.overdue} documents are overdue and were not withdrawn within {timeout} of the order"
    )


def reason_of(error: ActivityError) -> str:
    """Activity, type and message of the innermost cause, in one line."""
    cause: BaseException = error
    while isinstance(cause, ActivityError) and cause.cause is not None:
        cause = cause.cause
    kind = type(cause).__name__
    if isinstance(cause, ApplicationError) and cause.type:
        kind = cause.type
    message = " ".join(str(cause).split())
    reason = f"{error.activity_type}: {kind}: {message}"
    return reason[:_MAX_ERROR_CHARACTERS]
