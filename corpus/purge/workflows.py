"""PurgeWorkflow: one purge of one source, started by its Schedule or by `freshet purge`."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from corpus import policies
    from corpus.purge.activities import PurgeActivities
    from corpus.purge.purge import Phase, PurgeCursor, PurgeFailure, PurgeResult

# Steps of one run; the next one continues with the cursor.
MAX_STEPS = 500
_BUSY_PAUSE = timedelta(seconds=2)
_MAX_ERROR_CHARACTERS = 1_000


@workflow.defn(name="PurgeWorkflow")
class PurgeWorkflow:
    """Takes one step after the other; everything that it knows is the cursor.

    1. remove some pages
    2. pause, so that no more rows per second are removed than was asked for; also while another source is purged
    3. after so many steps, continue as new
    4. write the result; a purge that fails says so in its row
    """

    @workflow.init
    def __init__(self, cursor: PurgeCursor) -> None:
        self._cursor = cursor

    @workflow.query
    def progress(self) -> PurgeCursor:
        """How far it is."""
        return self._cursor

    @workflow.run
    async def run(self, cursor: PurgeCursor) -> PurgeResult:
        """Purge."""
        try:
            await self._take_steps()
            # Step 4.
            return await workflow.execute_activity_method(
                PurgeActivities.finish, self._cursor, **policies.PURGE_STEP
            )
        except (ActivityError, asyncio.CancelledError) as error:
            await self._failed(error)
            raise

    async def _take_steps(self) -> None:
        if not self._cursor.run_id:
            info = workflow.info()
            self._cursor = replace(
                self._cursor, run_id=info.run_id, workflow_id=info.workflow_id
            )
        steps = 0
        while self._cursor.phase is not Phase.DONE:
            # Step 3.
            if steps >= MAX_STEPS or workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(self._cursor)
            began = workflow.now()
            # Step 1.
            self._cursor = await workflow.execute_activity_method(
                PurgeActivities.step, self._cursor, **policies.PURGE_STEP
            )
            steps += 1
            # Step 2.
            pause = self._pause_after(workflow.now() - began)
            if pause > timedelta(0):
                await workflow.sleep(pause)

    def _pause_after(self, taken: timedelta) -> timedelta:
        cursor = self._cursor
        if cursor.is_busy:
            return _BUSY_PAUSE
        if not cursor.order.rate:
            return timedelta(0)
        wanted = timedelta(seconds=cursor.cost / cursor.order.rate)
        return wanted - taken

    async def _failed(self, error: BaseException) -> None:
        reason = "it was cancelled"
        if not is_cancelled_exception(error):
            cause = error.__cause__ or error
            words = str(cause).split()
            reason = " ".join(words)
        failure = PurgeFailure(
            purge=self._cursor.purge,
            run_id=self._cursor.run_id,
            error=reason[:_MAX_ERROR_CHARACTERS],
        )
        await workflow.execute_activity_method(
            PurgeActivities.fail, failure, **policies.PURGE_STEP
        )
