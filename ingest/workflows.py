"""SourceWorkflow: the entity of a source, one a source, for ever."""

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import SearchAttributePair, TypedSearchAttributes, WorkflowIDReusePolicy
from temporalio.exceptions import ActivityError, ChildWorkflowError, FailureError
from temporalio.workflow import ChildWorkflowHandle, ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from corpus import policies, search_attributes, task_queues
    from corpus.activities import PublishActivities
    from corpus.batch import (
        BatchInput,
        BatchRef,
        BatchReport,
        ExpiryOrder,
        RewindRequest,
        batch_workflow_id,
    )
    from corpus.source import source_workflow_id
    from corpus.workflows import BatchWorkflow
    from ingest.source_state import (
        SourceState,
        accept,
        accept_expiry,
        failed,
        forget_waiting,
        learn_from,
        succeeded,
        take_batch,
    )

__all__ = ["SourceWorkflow", "source_workflow_id"]


@workflow.defn(name="SourceWorkflow")
class SourceWorkflow:
    """Signals only record; one loop acts.

    The loop starts batches (several side by side, published in order), gives each its turn, learns from what it cost, and
    continues as new when the server suggests it and nothing is in flight. When a batch fails for good, those before it end as
    they would have and nothing behind it is published: what waits is dropped here (it lies in Kafka) and the consumer reads
    again from the position row; after `MAX_REWINDS` such failures at one place the source halts and a person is asked.
    """

    @workflow.init
    def __init__(self, state: SourceState) -> None:
        self._state = state
        self._running: dict[int, asyncio.Task[None]] = {}
        self._handles: dict[int, ChildWorkflowHandle[BatchWorkflow, BatchReport]] = {}
        self._failure = ""
        self._failed_batch = 0  # the oldest that failed
        self._failed_refs: tuple[BatchRef, ...] = ()
        self._shown = ""

    # ── what others tell ────────────────────────────────────────────────────────────────────────────────────────────

    @workflow.signal
    def batch_staged(self, ref: BatchRef) -> None:
        """The consumer staged a micro-batch; after a halt it may be here before `resume` is, so what is outdated is told by its epoch."""
        accept(self._state, ref)

    @workflow.signal
    def expire(self, order: ExpiryOrder) -> None:
        """A freshness check found overdue documents."""
        accept_expiry(self._state, order)

    @workflow.signal
    def pause(self) -> None:
        """Start no more batches."""
        self._state.paused = True
        self._show()

    @workflow.signal
    def resume(self) -> None:
        """Go on, also after a halt, with the limits as configured now."""
        self._state.paused = False
        self._state.halted = ""
        self._state.rewinds, self._state.stuck = 0, {}
        self._state.loaded = False
        self._show()

    @workflow.signal
    def reload(self) -> None:
        """The source's configuration was changed in the database; what failed before may be another matter now."""
        self._state.rewinds, self._state.stuck = 0, {}
        self._state.loaded = False

    @workflow.query
    def status(self) -> SourceState:
        """The whole state."""
        return self._state

    # ── the loop ────────────────────────────────────────────────────────────────────────────────────────────────────

    @workflow.run
    async def run(self, state: SourceState) -> None:
        """Act on what was recorded, for ever."""
        while True:
            self._show()
            await workflow.wait_condition(self._something_to_do)
            if self._leaving() and not self._running and not self._failure:
                await workflow.wait_condition(workflow.all_handlers_finished)
                workflow.continue_as_new(self._state)
            try:
                await self._act()
            except (
                ActivityError
            ) as error:  # it refused for good: wait for a person, with the reason in view
                self._state.halted, self._state.loaded, self._failure = _reason(error), True, ""

    async def _act(self) -> None:
        if self._failure and not self._running:
            await self._recover()
        elif not self._state.loaded:
            await self._load()
        else:
            self._start_batch()

    def _show(self) -> None:
        """Keep the search attributes true; an event in the history only where something changed."""
        state = self._state
        shown = (
            "halted"
            if state.halted
            else "paused"
            if state.paused
            else "rewinding"
            if self._failure
            else "active"
        )
        if shown != self._shown:
            self._shown = shown
            workflow.upsert_search_attributes(
                [
                    search_attributes.SOURCE.value_set(state.source),
                    search_attributes.STATE.value_set(shown),
                ]
            )

    def _something_to_do(self) -> bool:
        if self._failure or self._leaving():
            return not self._running
        return not self._state.loaded or self._may_start()

    def _leaving(self) -> bool:
        return workflow.info().is_continue_as_new_suggested()

    def _may_start(self) -> bool:
        waiting = bool(self._state.pending or self._state.expiries)
        free = len(self._running) < self._state.max_in_flight
        return waiting and free and not self._state.paused and not self._state.halted

    async def _load(self) -> None:
        loaded = await workflow.execute_activity_method(
            PublishActivities.load_source, self._state.source, **policies.LOAD_SOURCE
        )
        state = self._state
        state.next_batch = max(state.next_batch, loaded.last_batch + 1)
        state.max_records, state.max_bytes = loaded.max_records, loaded.max_bytes
        state.max_in_flight = loaded.max_in_flight
        forget_waiting(state, epoch=loaded.epoch)
        state.loaded = True

    # ── one batch ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _start_batch(self) -> None:
        state = self._state
        # An order to expire goes first: it is cheap, and it is what readers must no longer see.
        order = state.expiries.pop(0) if state.expiries else None
        refs = () if order else take_batch(state)
        number = state.next_batch
        state.next_batch += 1
        batch = BatchInput(
            source=state.source,
            batch=number,
            refs=refs,
            first_in_line=not self._running,
            expire_documents=order,
        )
        self._running[number] = asyncio.create_task(self._run_batch(batch))

    async def _run_batch(self, batch: BatchInput) -> None:
        state = self._state
        try:
            handle = await workflow.start_child_workflow(
                BatchWorkflow.run,
                batch,
                id=batch_workflow_id(batch.source, batch.batch),
                task_queue=task_queues.WORKFLOWS,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                parent_close_policy=ParentClosePolicy.ABANDON,
                search_attributes=TypedSearchAttributes(
                    [SearchAttributePair(search_attributes.SOURCE, batch.source)]
                ),
            )
            self._handles[batch.batch] = handle
            if self._is_behind_failure(batch.batch):
                handle.cancel()  # it was on its way while one before it failed
            elif not batch.first_in_line and batch.batch == min(self._running):
                await handle.signal(BatchWorkflow.your_turn)
            report = await handle
        except FailureError as error:
            self._failed(batch, error)
        else:
            state.published += 1
            if batch.refs:
                succeeded(state, batch.refs)
                learn_from(state, texts_embedded=report.texts_embedded)
        finally:
            done = set(batch.refs)
            state.in_flight = [ref for ref in state.in_flight if ref not in done]
            del self._running[batch.batch]
            self._handles.pop(batch.batch, None)
        await self._give_turn()

    async def _give_turn(self) -> None:
        """After a failure, end all that wait behind it; let the oldest running batch publish."""
        for number, waiting in self._handles.items():
            if self._is_behind_failure(number):
                waiting.cancel()
        if not self._running:
            return
        oldest = min(self._running)
        handle = self._handles.get(oldest)
        if handle is None or self._is_behind_failure(oldest):
            return  # it is being started and looks for itself, or it is being ended
        try:
            await handle.signal(BatchWorkflow.your_turn)
        except FailureError:
            workflow.logger.info(
                "batch ended before its turn", extra={"action": "turn_missed", "batch": oldest}
            )

    def _is_behind_failure(self, number: int) -> bool:
        return bool(self._failure) and number > self._failed_batch

    def _failed(self, batch: BatchInput, error: FailureError) -> None:
        if self._is_behind_failure(batch.batch):
            return  # cancelled
        if batch.expire_documents is not None:
            workflow.logger.warning(
                "expiry refused", extra={"action": "expiry_refused", "reason": _reason(error)}
            )
            return
        self._failure, self._failed_batch, self._failed_refs = (
            f"batch {batch.batch}: {_reason(error)}",
            batch.batch,
            batch.refs,
        )

    async def _recover(self) -> None:
        state = self._state
        self._show()
        halt = failed(state, self._failed_refs)
        request = RewindRequest(source=state.source, reason=self._failure, halt=halt)
        rewound = await workflow.execute_activity_method(
            PublishActivities.rewind_source, request, **policies.REWIND_SOURCE
        )
        forget_waiting(state, epoch=rewound.epoch)
        state.loaded = False
        if halt:
            state.halted = self._failure
        else:
            await workflow.sleep(timedelta(seconds=min(30, 2**state.rewinds)))
        self._failure = ""


def _reason(error: BaseException) -> str:
    """The innermost message: what really happened."""
    while isinstance(error, (ChildWorkflowError, ActivityError)) and error.cause is not None:
        error = error.cause
    return str(error)  # "PositionGapError: peps/0 ...": Temporal puts the type before the message
