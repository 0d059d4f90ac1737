"""AwaitFreshWorkflow: waits, durably, until something is retrievable or never will be."""

from dataclasses import dataclass

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from corpus import policies
    from corpus.answer.activities import AnswerActivities
    from corpus.service import AwaitFreshRequest, AwaitFreshResponse, WaitOutcome

# Looks come quickly at first, since most waits are short, and then a look is at most this much of the time waited.
MIN_LOOK_INTERVAL = 0.2  # seconds
MAX_LOOK_INTERVAL = 15.0  # seconds
_SHARE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitInput:
    """Input; carried over continue-as-new."""

    request: AwaitFreshRequest
    began_ms: int | None = None  # set by the first run


@workflow.defn(name="AwaitFreshWorkflow")
class AwaitFreshWorkflow:
    """See the module."""

    @workflow.run
    async def run(self, wait: AwaitInput) -> AwaitFreshResponse:
        """Look, wait a little, look again."""
        now = workflow.now().timestamp()
        began = wait.began_ms / 1000 if wait.began_ms is not None else now
        deadline = began + wait.request.timeout_seconds
        while True:
            found: AwaitFreshResponse = await workflow.execute_activity_method(
                AnswerActivities.look, wait.request, **policies.LOOK
            )
            now = workflow.now().timestamp()
            if found.why is not WaitOutcome.TIMEOUT or now >= deadline:
                return found
            pause = min(
                max(MIN_LOOK_INTERVAL, (now - began) * _SHARE), MAX_LOOK_INTERVAL, deadline - now
            )
            await workflow.sleep(max(pause, 0.05))
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(
                    AwaitInput(request=wait.request, began_ms=round(began * 1000))
                )
