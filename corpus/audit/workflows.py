"""AuditWorkflow: one audit of one source, started by its Schedule or by `freshet audit`."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, TimeoutError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from corpus import policies
    from corpus.audit.activities import (
        AuditActivities,
        AuditEndActivities,
        AuditVectorActivities,
    )
    from corpus.audit.audit import (
        AuditCursor,
        AuditFailure,
        AuditResult,
        NotJudged,
        Phase,
        after,
        counted,
    )

# Steps of one run; the next one continues with the cursor.
MAX_STEPS = 500
_MAX_ERROR_CHARACTERS = 1_000


@workflow.defn(name="AuditWorkflow")
class AuditWorkflow:
    """Takes one step after the other; everything that it knows is the cursor.

    1. take the step that is next, on the queue that can take it
    2. pause, so that no more records or documents per second are read than was asked for
    3. after so many steps, continue as new
    4. write the result; an audit that fails says so in its row
    """

    @workflow.init
    def __init__(self, cursor: AuditCursor) -> None:
        self._cursor = cursor

    @workflow.query
    def progress(self) -> AuditCursor:
        """How far it is."""
        return self._cursor

    @workflow.run
    async def run(self, cursor: AuditCursor) -> AuditResult:
        """Audit."""
        try:
            await self._take_steps()
            # Step 4.
            return await workflow.execute_activity_method(
                AuditEndActivities.finish, self._cursor, **policies.AUDIT_END
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
        while self._cursor.phase is not Phase.FINISH:
            # Step 3.
            if steps >= MAX_STEPS or workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(self._cursor)
            began = workflow.now()
            self._cursor = await self._step()  # step 1
            steps += 1
            await self._pause(workflow.now() - began)  # step 2

    async def _step(self) -> AuditCursor:
        match self._cursor.phase:
            case Phase.VECTORS:
                return await self._embed()
            case Phase.STAGED:
                return await workflow.execute_activity_method(
                    AuditEndActivities.staged_files, self._cursor, **policies.AUDIT_END
                )
            case _:
                return await workflow.execute_activity_method(
                    AuditActivities.step, self._cursor, **policies.AUDIT_STEP
                )

    async def _embed(self) -> AuditCursor:
        """Embed a page of the sample; where no embedder runs, that is left out and counted."""
        try:
            return await workflow.execute_activity_method(
                AuditVectorActivities.embed, self._cursor, **policies.AUDIT_VECTORS
            )
        except ActivityError as error:
            if not isinstance(error.cause, TimeoutError):
                raise
        cursor = self._cursor
        left_out = {str(NotJudged.NOT_TRIED): cursor.order.deep}
        counts = counted(cursor.counts, **left_out)
        following = after(cursor.phase)
        return replace(cursor, phase=following, after="", counts=counts)

    async def _pause(self, taken: timedelta) -> None:
        cursor = self._cursor
        rate = cursor.order.rate
        if not rate:
            return
        wanted = cursor.cost / rate
        pause = wanted - taken.total_seconds()
        if pause > 0:
            length = timedelta(seconds=pause)
            await workflow.sleep(length)

    async def _failed(self, error: BaseException) -> None:
        reason = "it was cancelled"
        if not is_cancelled_exception(error):
            cause = error.__cause__ or error
            words = str(cause).split()
            reason = " ".join(words)
        cursor = self._cursor
        failure = AuditFailure(
            audit=cursor.audit,
            run_id=cursor.run_id,
            error=reason[:_MAX_ERROR_CHARACTERS],
        )
        await workflow.execute_activity_method(
            AuditEndActivities.fail, failure, **policies.AUDIT_END
        )
