"""AwaitFreshWorkflow: waits, durably, until the target is retrievable or never will be."""

from dataclasses import dataclass, replace

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from corpus import policies
    from corpus.answer.activities import AnswerActivities, TeamLook
    from corpus.answer.intervals import check_interval
    from corpus.service import AwaitFreshRequest, AwaitFreshResponse, WaitOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitInput:
    """Input of an AwaitFreshWorkflow, also when it continues as new."""

    request: AwaitFreshRequest
    began_ms: int | None = (
        None  # start of the first run, epoch milliseconds; the first run sets it
    )
    team: str = ""  # that waits; empty: the wait began before waits had a team
    on_replica: bool = False  # the gateway that took the call searches a replica


@workflow.defn(name="AwaitFreshWorkflow")
class AwaitFreshWorkflow:
    """Checks the target at growing intervals until the wait is decided or its timeout has passed."""

    @workflow.run
    async def run(self, wait: AwaitInput) -> AwaitFreshResponse:
        """Wait.

        1. check the target
        2. decided, or too late: respond
        3. sleep, then check again; continue as new when the history has grown long
        """
        began = workflow.now().timestamp()
        if wait.began_ms is not None:
            began = wait.began_ms / 1000
        deadline = began + wait.request.timeout_seconds
        while True:
            # Step 1.
            response = await _look(wait)
            # Step 2.
            now = workflow.now().timestamp()
            if response.why is not WaitOutcome.TIMEOUT or now >= deadline:
                return response
            # Step 3.
            await workflow.sleep(
                check_interval(waited=now - began, remaining=deadline - now)
            )
            if workflow.info().is_continue_as_new_suggested():
                began_ms = round(began * 1000)
                workflow.continue_as_new(replace(wait, began_ms=began_ms))


async def _look(wait: AwaitInput) -> AwaitFreshResponse:
    if not wait.team:
        return await workflow.execute_activity_method(
            AnswerActivities.current_outcome, wait.request, **policies.LOOK
        )
    look = TeamLook(request=wait.request, team=wait.team, on_replica=wait.on_replica)
    return await workflow.execute_activity_method(
        AnswerActivities.outcome_for_team, look, **policies.LOOK
    )
