"""BackfillWorkflow: one backfill of one source, started by `freshet backfill`."""

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from corpus import policies
    from corpus.batch import BatchRef
    from ingest.backfill.activities import BackfillActivities, BackfillPartActivities
    from ingest.backfill.order import (
        ENDED,
        BackfillCursor,
        BackfillEnd,
        BackfillStatus,
        BackfillStep,
    )
    from ingest.batch_failure import innermost_message

# Parts of one run; the next one continues with the cursor.
MAX_PARTS = 200
# A batch of a part may fail so often; then the backfill ends with the reason.
MAX_REFUSALS = 3
# While it is paused, the row is read this often also without a signal.
_PAUSE = timedelta(minutes=10)


@workflow.defn(name="BackfillWorkflow")
class BackfillWorkflow:
    """Stages one part after the other; everything that it knows is the cursor. The row says whether it goes on.

    1. stage the next part; pause while the row says so
    2. hand it over to the source's entity until its batch is published
    3. wait, so that no more records per second are read than was asked for
    4. write how it ended
    """

    @workflow.init
    def __init__(self, cursor: BackfillCursor) -> None:
        self._cursor = cursor
        self._row_changed = False

    @workflow.signal
    def reload(self) -> None:
        """A person changed the row: paused, resumed or cancelled."""
        self._row_changed = True

    @workflow.query
    def progress(self) -> BackfillCursor:
        """How far it is."""
        return self._cursor

    @workflow.run
    async def run(self, cursor: BackfillCursor) -> None:
        """Read again."""
        state, error = BackfillStatus.FAILED, ""
        try:
            state, error = await self._take_parts()
        except (ActivityError, asyncio.CancelledError) as raised:
            error = "its workflow was cancelled"
            if isinstance(raised, ActivityError) and not is_cancelled_exception(raised):
                error = innermost_message(raised)
        # Step 4.
        end = BackfillEnd(backfill=cursor.backfill, state=state, error=error)
        await workflow.execute_activity_method(
            BackfillPartActivities.end, end, **policies.BACKFILL_END
        )

    async def _take_parts(self) -> tuple[BackfillStatus, str]:
        """Returns the state in which it ended, and the error."""
        parts = 0
        while True:
            info = workflow.info()
            is_long = info.is_continue_as_new_suggested()
            if is_long or parts >= MAX_PARTS:
                workflow.continue_as_new(self._cursor)
            parts += 1
            began = workflow.now()
            self._row_changed = False
            # Step 1.
            step = await workflow.execute_activity_method(
                BackfillActivities.stage, self._cursor, **policies.BACKFILL_STAGE
            )
            if step.state in ENDED:
                return step.state, ""
            if step.state is BackfillStatus.PAUSED:
                await self._wait(_PAUSE)
                continue
            # Step 2.
            if step.ref is not None:
                refused = await self._publish(step.ref)
                if refused:
                    return BackfillStatus.FAILED, refused
            self._cursor = step.cursor
            # Step 3.
            taken = workflow.now() - began
            await self._keep_rate(step, taken)

    async def _publish(self, ref: BatchRef) -> str:
        """Until the part is published, or a person has ended the backfill; returns why it cannot be published."""
        refusals = 0
        while True:
            result = await workflow.execute_activity_method(
                BackfillPartActivities.publish, ref, **policies.BACKFILL_PUBLISH
            )
            if result.is_published or result.state in ENDED:
                return ""
            refusals += bool(result.refused)
            if refusals >= MAX_REFUSALS:
                return result.refused

    async def _keep_rate(self, step: BackfillStep, taken: timedelta) -> None:
        if not step.rate:
            return
        seconds = step.records / step.rate - taken.total_seconds()
        if seconds > 0:
            length = timedelta(seconds=seconds)
            await self._wait(length)

    async def _wait(self, length: timedelta) -> None:
        """Wait, at most until a person changes the row."""
        try:
            await workflow.wait_condition(lambda: self._row_changed, timeout=length)
        except TimeoutError:
            return
