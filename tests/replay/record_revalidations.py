"""Checks for `tests.replay.record` that ask origins: one with answers of every kind, one that nobody can carry out."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from temporalio.worker import Worker

from corpus import task_queues
from corpus.errors import PermanentError
from corpus.source import FreshnessSpec
from freshness.activities import FreshnessActivities, RevalidationActivities
from freshness.report import ExpiredDocuments, FreshnessReport, FreshnessSnapshot
from freshness.revalidation import ReadAgain, Revalidation
from tests.support.team_env import Env, check

_DUE = FreshnessSnapshot(
    source="peps",
    snapshotted_at_ms=1_800_000_000_000,
    spec=FreshnessSpec(expire_after_seconds=3_600),
    last_batch=1,
    documents=9,
    overdue=0,
    newest_ms=1_800_000_000_000,
    kept=4,
)
_ANSWERED = Revalidation(
    asked=4, renewed=2, changed=1, to_read=1, unanswered=1, problem="no answer"
)


class _Steps:
    """Four documents are due; two stay so."""

    def __init__(self) -> None:
        self.fails = False
        self.measured = 0

    def measure(self, source: str) -> FreshnessSnapshot:
        self.measured += 1
        return _DUE if self.measured % 2 else replace(_DUE, kept=2)

    def expired_after(self, source: str, batch: int) -> ExpiredDocuments:
        return ExpiredDocuments(batches=0, documents=0)

    def record(self, report: FreshnessReport) -> None:
        pass

    def initial_state(self, source: str) -> Any:
        raise PermanentError(f"nothing of {source} is withdrawn")

    def read_again(self, source: str) -> ReadAgain:
        return ReadAgain(waits_for="another backfill runs")

    def revalidate(self, source: str) -> Revalidation:
        if self.fails:
            raise PermanentError(f"there is no source {source!r}")
        return _ANSWERED


async def record_revalidations(env: Env, _folder: Path, recorder: Any) -> None:
    """One whose origins answer, one whose asking fails."""
    steps = _Steps()
    checks = FreshnessActivities(
        measure=steps.measure,
        expired_after=steps.expired_after,
        record=steps.record,
        initial_state=steps.initial_state,
        read_again=steps.read_again,
    )
    light = [checks.measure, checks.find_expiry, checks.record, checks.read_again]
    origins = RevalidationActivities(steps.revalidate)
    with ThreadPoolExecutor(2) as threads:
        preparer = Worker(
            env.client,
            task_queue=task_queues.PREPARE,
            activities=[origins.revalidate],
            activity_executor=threads,
        )
        async with env.light_worker(activities=light), preparer:
            for name, fails in (("asked", False), ("asking_failed", True)):
                steps.fails = fails
                report = await check(env)
                handle = env.client.get_workflow_handle("freshness/peps", run_id=report.run_id)
                await recorder.save(handle, f"FreshnessWorkflow.{name}")
