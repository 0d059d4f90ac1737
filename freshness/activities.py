"""Shell of the freshness activities; the steps are injected by workers."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from temporalio import activity
from temporalio.common import WorkflowIDConflictPolicy

from corpus import task_queues
from corpus.batch import ExpiryOrder
from corpus.errors import FreshetError, as_application_error
from corpus.source import source_workflow_id
from freshness.report import Expired, FreshnessReport, Measurement
from ingest.source_state import SourceState

_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderExpiry:
    """Ask a source's entity to withdraw what is overdue."""

    source: str
    order: ExpiryOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class LookForExpiry:
    """Look whether the ledger shows it."""

    source: str
    after_batch: int  # the newest batch when it was ordered


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiryResult:
    """What the ledger shows."""

    done: bool  # the batch is there, or nothing is overdue any more
    documents: int  # withdrawn


class FreshnessActivities:
    """Queue `freshet`."""

    def __init__(
        self,
        *,
        measure: Callable[[str], Measurement],
        expired_after: Callable[[str, int], Expired],
        record: Callable[[FreshnessReport], None],
        initial_state: Callable[[str], SourceState],
    ) -> None:
        self._measure = measure
        self._expired_after = expired_after
        self._record = record
        self._initial_state = initial_state

    @activity.defn(name="freshness.measure")
    def measure(self, source: str) -> Measurement:
        """Ages and counts."""
        return _run(self._measure, source)

    @activity.defn(name="freshness.order_expiry")
    async def order_expiry(self, request: OrderExpiry) -> None:
        """Tell the entity, starting it where it does not run. One writer a source: only the entity withdraws."""
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
    def look_for_expiry(self, request: LookForExpiry) -> ExpiryResult:
        """What the ledger shows, and what is still overdue."""
        found = _run(lambda wanted: self._expired_after(wanted.source, wanted.after_batch), request)
        overdue = 0 if found.batches else _run(self._measure, request.source).overdue
        return ExpiryResult(done=bool(found.batches) or not overdue, documents=found.documents)

    @activity.defn(name="freshness.record")
    def record(self, report: FreshnessReport) -> None:
        """Keep the result."""
        _run(self._record, report)


def _run(step: Callable[[_In], _Out], value: _In) -> _Out:
    try:
        return step(value)
    except FreshetError as error:
        raise as_application_error(error) from error
