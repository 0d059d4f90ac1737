"""SourceWorkflow: the entity of a source, one per source, for ever."""

import asyncio
from datetime import timedelta
from typing import assert_never

from temporalio import workflow
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import (
    ActivityError,
    FailureError,
    WorkflowAlreadyStartedError,
)
from temporalio.workflow import ChildWorkflowHandle, ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from corpus import policies, search_attributes, task_queues
    from corpus.activities import PublishActivities
    from corpus.batch import (
        BatchInput,
        BatchRef,
        BatchReport,
        Correct,
        Erase,
        Expire,
        Ingest,
        Order,
        batch_workflow_id,
        staged_refs,
    )
    from corpus.staging.bound import problem_of
    from corpus.workflows import BatchWorkflow
    from ingest import batch_failure, source_row
    from ingest.batch_failure import BatchFailure, innermost_message
    from ingest.source_state import (
        Patch,
        SourceState,
        accept,
        accept_document_order,
        accept_expiry,
        adapt_budget,
        give_back,
        has_order,
        is_worth_a_batch,
        release,
        status_name,
        take_order,
    )
    from ingest.waking import WakeUps

# A worker that lost what it kept of an entity reads its history again, within a workflow task of 10 s.
MAX_EVENTS = 1_000
_MAX_REWIND_PAUSE_SECONDS = 30


@workflow.defn(name="SourceWorkflow")
class SourceWorkflow:
    """Signals only record; one loop acts.

    The first of these that is due is what the loop does next. It

    1. continues as new, after `MAX_EVENTS` of its history or when the server suggests it, and no batch runs
    2. rewinds, when a batch failed and the batches before it have ended: what waits is dropped (Kafka holds it) and the
       consumer reads again from the position row; after `MAX_REWINDS` such failures the source halts and waits for a
       person
    3. loads limits, last batch number and epoch from the database, where that is due
    4. starts a batch for the next order; several run side by side, unless batches are slow and the order is small

    A batch that ends lets the oldest one that still runs publish, so batches are published in order. A batch that fails
    for good ends the batches behind it; those before it end as they would have. Deliveries are woken beside all this
    (`ingest.waking`).

    The source's row decides epoch and halt; `resume`, `reload` and what shows that it changed make it read again.
    """

    @workflow.init
    def __init__(self, state: SourceState) -> None:
        self._state = state
        # By batch number, until the batch has ended; its handle once it is started.
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._handles: dict[int, ChildWorkflowHandle[BatchWorkflow, BatchReport]] = {}
        self._failure: BatchFailure | None = None
        self._listed_status = ""
        self._wake_ups = WakeUps(state)
        self._row_changed = False  # since the row was last asked for

    # ── signals and queries ─────────────────────────────────────────────────────────────────────────────────────────

    @workflow.signal
    def batch_staged(self, ref: BatchRef) -> None:
        """The consumer staged a micro-batch.

        After `freshet source resume` the consumer may read again before this entity receives `resume`, and after an
        older database was restored it reads in an older epoch: then the row decides.
        """
        state = self._state
        forged = problem_of(ref, state.source)
        if forged and workflow.patched(Patch.FORGED_IS_DROPPED):
            source_row.drop_forged(state, forged)
            return
        is_other_epoch = ref.epoch != state.epoch and not ref.backfill
        if is_other_epoch and workflow.patched(Patch.ROW_DECIDES):
            source_row.keep_undecided(state, ref)
            self._row_changed = True
            return
        # Runs of the versions before replay so.
        if ref.epoch > state.epoch and workflow.patched(Patch.NEWER_EPOCH_OUTDATES):
            source_row.drop_outdated(state, epoch=ref.epoch)
        accept(state, ref)
        # The consumer reads active sources only.
        if state.halted and workflow.patched(Patch.ROW_DECIDES):
            self._read_row()

    @workflow.signal
    def expire(self, order: Expire) -> None:
        """A freshness check measured overdue documents."""
        accept_expiry(self._state, order)
        if self._state.halted and workflow.patched(Patch.EXPIRY_READS_ROW):
            self._read_row()

    @workflow.signal
    def correct(self, order: Correct) -> None:
        """A person says that a document's version is a mistake."""
        accept_document_order(self._state, order)

    @workflow.signal
    def erase(self, order: Erase) -> None:
        """Documents must be forgotten."""
        accept_document_order(self._state, order)

    @workflow.signal
    def pause(self) -> None:
        """Start no more batches."""
        self._state.paused = True
        self._list_status()

    @workflow.signal
    def resume(self) -> None:
        """Start batches again, also after a halt, with the limits as configured now."""
        self._state.paused = False
        self._state.halted = ""
        self._read_row()
        batch_failure.forget_failures(self._state)
        self._list_status()

    @workflow.signal
    def reload(self) -> None:
        """The source's configuration was changed in the database; what failed before may work now."""
        self._read_row()
        batch_failure.forget_failures(self._state)

    @workflow.query
    def status(self) -> SourceState:
        """The whole state."""
        return self._state

    # ── the loop ────────────────────────────────────────────────────────────────────────────────────────────────────

    @workflow.run
    async def run(self, state: SourceState) -> None:
        """Act on what was recorded, for ever."""
        self._wake_ups.begin(0)
        while True:
            self._list_status()
            await workflow.wait_condition(self._can_act)
            # Step 1. No batch runs: see `_can_act`.
            if self._should_continue_as_new() and self._failure is None:
                await workflow.wait_condition(workflow.all_handlers_finished)
                workflow.continue_as_new(self._state)
            try:
                await self._act()
            except ActivityError as error:
                # The database refuses for good. A person reads the reason and resumes the source, which loads it again.
                self._state.halted = innermost_message(error)
                self._state.loaded = True
                if self._failure is not None and workflow.patched(Patch.REFUSED_REWIND):
                    source_row.drop_waiting(self._state)
                self._failure = None

    async def _act(self) -> None:
        if self._failure is not None:
            await self._rewind(self._failure)  # step 2
        elif not self._state.loaded:
            await self._load()  # step 3
        else:
            self._start_batch()  # step 4

    def _can_act(self) -> bool:
        if self._failure is not None or self._should_continue_as_new():
            return not self._tasks
        return not self._state.loaded or self._can_start_batch()

    def _should_continue_as_new(self) -> bool:
        info = workflow.info()
        is_long = info.get_current_history_length() >= MAX_EVENTS
        if is_long and workflow.patched(Patch.SHORT_RUNS):
            return True
        return info.is_continue_as_new_suggested()

    def _can_start_batch(self) -> bool:
        state = self._state
        if not has_order(state) or len(self._tasks) >= state.max_in_flight:
            return False
        if not self._tasks or is_worth_a_batch(state):
            return True
        return not workflow.patched(Patch.SMALL_ORDERS_WAIT)

    def _read_row(self) -> None:
        """Read the source's row next, and once more if it is being read now."""
        self._state.loaded = False
        self._row_changed = True

    def _list_status(self) -> None:
        """Keep the search attributes true; each update is an event in the history, so only where something changed."""
        status = status_name(self._state, failing=self._failure is not None)
        if status == self._listed_status:
            return
        self._listed_status = status
        # The SDK leaves out a type argument in the signature.
        workflow.upsert_search_attributes(  # pyright: ignore[reportUnknownMemberType]
            [
                search_attributes.SOURCE.value_set(self._state.source),
                search_attributes.STATE.value_set(status),
            ]
        )

    async def _rewind(self, failure: BatchFailure) -> None:
        state = self._state
        self._list_status()
        halt = batch_failure.record_failure(state, failure.refs)
        request = failure.rewind_request(state.source, halt=halt)
        rewound = await workflow.execute_activity_method(
            PublishActivities.rewind_source, request, **policies.REWIND_SOURCE
        )
        if workflow.patched(Patch.ROW_DECIDES):
            source_row.adopt_epoch(state, epoch=rewound.epoch, decides=0)
        else:
            source_row.drop_outdated(state, epoch=rewound.epoch)
        state.loaded = False
        # A person who resumed the source since the batch failed has seen to it: that halt is void.
        if halt and rewound.halted is not False:
            state.halted = failure.reason
        else:
            pause = min(_MAX_REWIND_PAUSE_SECONDS, 2**state.rewinds)
            await workflow.sleep(timedelta(seconds=pause))
        self._failure = None

    async def _load(self) -> None:
        """Read the row; what shows meanwhile that it changed makes the entity read it once more."""
        state = self._state
        self._row_changed = False
        undecided = len(state.undecided)
        loaded = await workflow.execute_activity_method(
            PublishActivities.load_source, state.source, **policies.LOAD_SOURCE
        )
        is_new = state.next_batch == 1
        source_row.adopt_limits(state, loaded)
        if workflow.patched(Patch.ROW_DECIDES):
            source_row.adopt_row(state, loaded, decides=undecided)
            state.loaded = not self._row_changed
        else:
            source_row.drop_outdated(state, epoch=loaded.epoch)
            state.loaded = True
        # An entity that was lost and started again does not know which deliveries were woken.
        if is_new and loaded.due:
            self._wake_ups.begin(loaded.last_batch, every=True)

    # ── one batch ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _start_batch(self) -> None:
        state = self._state
        batch = BatchInput.of(
            take_order(state, grows=workflow.patched(Patch.BATCHES_GROW)),
            source=state.source,
            batch=state.next_batch,
            first_in_line=not self._tasks,
        )
        state.next_batch += 1
        self._tasks[batch.batch] = asyncio.create_task(self._run_batch(batch))

    async def _run_batch(self, batch: BatchInput) -> None:
        """Run a batch to its end, whatever that is.

        1. start its workflow, let it publish if no earlier batch runs, and wait for its end
        2. record how it ended
        3. let the next batch publish
        """
        number = batch.batch
        started = workflow.now()
        try:
            # Step 1.
            handle = await self._start_child(batch)
            self._handles[number] = handle
            if self._is_behind_failure(number):
                handle.cancel()  # an earlier batch failed while this one was being started
            elif not batch.first_in_line and number == min(self._tasks):
                await handle.signal(BatchWorkflow.allow_publishing)
            report = await handle
        # Step 2.
        except FailureError as error:
            self._batch_failed(batch, error)
        else:
            self._state.batch_seconds = (workflow.now() - started).total_seconds()
            self._batch_published(batch, report)
        finally:
            release(self._state, staged_refs(batch.order))
            del self._tasks[number]
            self._handles.pop(number, None)
        # Step 3.
        self._cancel_batches_behind_failure()
        await self._let_oldest_batch_publish()

    async def _start_child(
        self, batch: BatchInput
    ) -> ChildWorkflowHandle[BatchWorkflow, BatchReport]:
        """Start the batch's workflow; it is cancelled when this entity is terminated: nothing would let it publish."""
        source = SearchAttributePair(search_attributes.SOURCE, batch.source)
        workflow_id = batch_workflow_id(batch.source, batch.batch)
        try:
            return await workflow.start_child_workflow(
                BatchWorkflow.run,
                batch,
                id=workflow_id,
                task_queue=task_queues.WORKFLOWS,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                parent_close_policy=ParentClosePolicy.REQUEST_CANCEL,
                search_attributes=TypedSearchAttributes([source]),
            )
        except WorkflowAlreadyStartedError:
            # Of an entity that was terminated. It may wait for a permission that never comes, and keeps the number.
            if workflow.patched(Patch.ORPHAN_IS_CANCELLED):
                await workflow.get_external_workflow_handle(workflow_id).cancel()
            raise

    def _batch_published(self, batch: BatchInput, report: BatchReport) -> None:
        self._state.published += 1
        if report.notified:
            self._wake_ups.begin(batch.batch)
        order = batch.order
        if isinstance(order, Ingest):
            batch_failure.record_success(self._state, order.refs)
            grows = workflow.patched(Patch.BATCHES_GROW)
            adapt_budget(self._state, order.refs, report.texts_embedded, grows=grows)

    def _batch_failed(self, batch: BatchInput, error: FailureError) -> None:
        order = batch.order
        if self._is_behind_failure(batch.batch):
            self._order_cancelled(order)
            return
        reason = innermost_message(error)
        match order:
            case Ingest() if order.refs[0].backfill:
                self._state.backfill_refused = reason  # its workflow repeats it
            case Ingest():
                self._failure = BatchFailure(
                    batch=batch.batch,
                    refs=order.refs,
                    reason=f"batch {batch.batch}: {reason}",
                )
            case Expire() | Correct() | Erase():
                # No event is lost with it: the next freshness check, or the person, orders it again.
                extra = {"action": "order_refused", "batch": batch.batch}
                workflow.logger.warning("order refused: %s", reason, extra=extra)
            case _:
                assert_never(order)

    def _order_cancelled(self, order: Order) -> None:
        """Let an order wait again that no caller repeats; the consumer reads records again after the rewind."""
        # Runs of the version before lost a cancelled expiry and replay so.
        is_new = not isinstance(order, Expire)
        if is_new or workflow.patched(Patch.CANCELLED_EXPIRY_WAITS):
            give_back(self._state, order)

    def _cancel_batches_behind_failure(self) -> None:
        for number, handle in self._handles.items():
            if self._is_behind_failure(number):
                handle.cancel()

    async def _let_oldest_batch_publish(self) -> None:
        if not self._tasks:
            return
        oldest = min(self._tasks)
        handle = self._handles.get(oldest)
        if handle is None or self._is_behind_failure(oldest):
            return  # it is being started and then checks for itself, or it is being cancelled
        try:
            await handle.signal(BatchWorkflow.allow_publishing)
        except FailureError:
            extra = {"action": "batch_ended_early", "batch": oldest}
            workflow.logger.info("batch ended before its turn", extra=extra)

    def _is_behind_failure(self, number: int) -> bool:
        return self._failure is not None and number > self._failure.batch
