"""The team's workflows: an inbox that logs each notice once, and a question that first waits for fresh data."""

from dataclasses import dataclass, field
from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from corpus.service import (
        AwaitFreshRequest,
        AwaitFreshResponse,
        BatchNotice,
        CorpusService,
        SearchRequest,
        SearchResponse,
    )
    from examples.team.connect import ENDPOINT
    from examples.team.log import NoticeLog

NEXUS_SLACK = timedelta(minutes=2)  # beyond what the wait itself may take


@dataclass(kw_only=True)
class InboxState:
    """Notices of one source come in order, so the newest batch is all that must be remembered."""

    source: str
    newest_batch: int = 0
    waiting: list[BatchNotice] = field(default_factory=list)
    logged: int = 0
    repeated: int = 0


@workflow.defn
class InboxWorkflow:
    """One per source, for ever: logs each notice once, in order."""

    @workflow.init
    def __init__(self, state: InboxState) -> None:
        self._state = state

    @workflow.run
    async def run(self, state: InboxState) -> None:
        """Log what arrives; a notice leaves the list only after it was logged."""
        while True:
            await workflow.wait_condition(
                lambda: (
                    bool(self._state.waiting)
                    or workflow.info().is_continue_as_new_suggested()
                )
            )
            while self._state.waiting:
                await workflow.execute_activity_method(
                    NoticeLog.write,
                    self._state.waiting[0],
                    start_to_close_timeout=timedelta(seconds=10),
                )
                self._state.waiting.pop(0)
                self._state.logged += 1
            if workflow.info().is_continue_as_new_suggested():
                await workflow.wait_condition(workflow.all_handlers_finished)
                workflow.continue_as_new(self._state)

    @workflow.signal
    def notice(self, notice: BatchNotice) -> None:
        """Queue a notice; one that was queued before is dropped."""
        if notice.batch <= self._state.newest_batch:
            self._state.repeated += 1
            return
        self._state.newest_batch = notice.batch
        self._state.waiting.append(notice)

    @workflow.query
    def state(self) -> InboxState:
        """The whole state."""
        return self._state


@dataclass(frozen=True, kw_only=True)
class Question:
    """What to search for, and what must be retrievable first."""

    search: SearchRequest
    wait_for: AwaitFreshRequest | None = None
    endpoint: str = ENDPOINT  # the team's own Nexus endpoint of the corpus


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The end of the wait, and the hits."""

    waited: AwaitFreshResponse | None  # None: the question did not wait
    found: (
        SearchResponse | None
    )  # None: the wait ended without its target, so nothing was searched


@workflow.defn
class AskWorkflow:
    """Wait until the data is there, then search."""

    @workflow.run
    async def run(self, question: Question) -> Answer:
        """Wait, then search; both are Nexus operations of the corpus."""
        corpus = workflow.create_nexus_client(
            service=CorpusService, endpoint=question.endpoint
        )
        waited = None
        if question.wait_for is not None:
            longest = timedelta(seconds=question.wait_for.timeout_seconds) + NEXUS_SLACK
            waited = await corpus.execute_operation(
                CorpusService.await_fresh,
                question.wait_for,
                schedule_to_close_timeout=longest,
            )
            if not waited.reached:
                return Answer(waited=waited, found=None)
        found = await corpus.execute_operation(
            CorpusService.search, question.search, schedule_to_close_timeout=NEXUS_SLACK
        )
        return Answer(waited=waited, found=found)
