"""Shells of the freshness activities; the steps are injected by workers."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from temporalio import activity
from temporalio.common import WorkflowIDConflictPolicy

from corpus import task_queues
from corpus.activities import heartbeats
from corpus.batch import Expire
from corpus.errors import FreshetError, as_application_error
from corpus.source import source_workflow_id
from freshness.report import ExpiredDocuments, FreshnessReport, FreshnessSnapshot
from freshness.revalidation import ReadAgain, Revalidation
from ingest.backfill.order import BackfillCursor, backfill_workflow_id
from ingest.source_state import SourceState

_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderExpiry:
    """An order to a source's entity: withdraw what is overdue."""

    source: str
    order: Expire


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiryLookup:
    """Which expiry to look for in the ledger."""

    source: str
    after_batch: int  # the newest batch when the expiry was ordered


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiryResult:
    """What the ledger shows of an expiry."""

    done: bool  # an expiry batch is published, or nothing is overdue any more
    documents: int  # withdrawn documents


class FreshnessActivities:
    """Queue `freshet`: measures, orders expiries and stores reports."""

    def __init__(
        self,
        *,
        measure: Callable[[str], FreshnessSnapshot],
        expired_after: Callable[[str, int], ExpiredDocuments],
        record: Callable[[FreshnessReport], None],
        initial_state: Callable[[str], SourceState],
        read_again: Callable[[str], ReadAgain] = lambda _source: ReadAgain(),
    ) -> None:
        self._measure = measure
        self._expired_after = expired_after
        self._record = record
        self._initial_state = initial_state
        self._read_again = read_again

    @activity.defn(name="freshness.measure")
    def measure(self, source: str) -> FreshnessSnapshot:
        """Ages and counts of a source."""
        return _run(self._measure, source)

    @activity.defn(name="freshness.order_expiry")
    async def order_expiry(self, request: OrderExpiry) -> None:
        """Signal the source's entity, starting it where it does not run: only the entity withdraws documents."""
        state = await asyncio.to_thread(_run, self._initial_state, request.source)
        await activity.client().start_workflow(
            "SourceWorkflow",
            state,
            id=source_workflow_id(request.source),
            task_queue=task_queues.WORKFLOWS,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            start_signal="expire",
            start_signal_args=[request.order],
        )

    @activity.defn(name="freshness.look_for_expiry")
    def find_expiry(self, request: ExpiryLookup) -> ExpiryResult:
        """What the ledger shows of an expiry; without a batch, whether anything is overdue still."""
        expired = _run(self._read_expired, request)
        if expired.batches:
            return ExpiryResult(done=True, documents=expired.documents)
        snapshot = _run(self._measure, request.source)
        nothing_overdue = not snapshot.overdue
        return ExpiryResult(done=nothing_overdue, documents=0)

    def _read_expired(self, request: ExpiryLookup) -> ExpiredDocuments:
        return self._expired_after(request.source, request.after_batch)

    @activity.defn(name="freshness.read_again")
    async def read_again(self, source: str) -> ReadAgain:
        """Have the records read again whose documents have changed at their origin."""
        ordered = await asyncio.to_thread(_run, self._read_again, source)
        for number in ordered.backfills:
            await activity.client().start_workflow(
                "BackfillWorkflow",
                BackfillCursor(backfill=number),
                id=backfill_workflow_id(number),
                task_queue=task_queues.WORKFLOWS,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            )
        return ordered

    @activity.defn(name="freshness.record")
    def record(self, report: FreshnessReport) -> None:
        """Store the report."""
        _run(self._record, report)


class RevalidationActivities:
    """Queue `freshet-prepare`: asks origins, which is where documents are fetched."""

    def __init__(self, revalidate: Callable[[str], Revalidation]) -> None:
        self._revalidate = revalidate

    @activity.defn(name="freshness.revalidate")
    def revalidate(self, source: str) -> Revalidation:
        """Ask for the documents of a source that age would withdraw; the unchanged ones are renewed."""
        with heartbeats():
            return self._revalidate(source)


def _run(step: Callable[[_In], _Out], value: _In) -> _Out:
    try:
        return step(value)
    except FreshetError as error:
        raise as_application_error(error) from error
