"""Handles the operations of `CorpusService`: searches and descriptions at once, waits as a workflow."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from nexusrpc import HandlerError, HandlerErrorType
from nexusrpc.handler import StartOperationContext, service_handler, sync_operation
from temporalio import nexus
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from corpus import task_queues
from corpus.access.reader import Reader
from corpus.access.team import TeamSpec
from corpus.answer.bounds import bounded
from corpus.answer.cancellation import CURRENT, Cancellation
from corpus.answer.gate import CALLER, reader_of
from corpus.answer.requests import (
    await_problem,
    await_workflow_id,
    describe_problem,
    is_as_of,
    search_problem,
)
from corpus.answer.workflows import AwaitFreshWorkflow, AwaitInput
from corpus.errors import FreshetError
from corpus.service import (
    AwaitFreshRequest,
    AwaitFreshResponse,
    CorpusService,
    DescribeRequest,
    SearchRequest,
    SearchResponse,
    SourceDescription,
)

# The server allows a synchronous operation ten seconds, the way there and back included.
SEARCH_TIMEOUT_SECONDS = 8.0
# Calls that are worked on side by side; the others wait for a thread. Searches of the past may wait for a batch that is
# being published, so they have threads of their own.
THREADS = 4
THREADS_FOR_THE_PAST = 4

_Response = TypeVar("_Response")


@service_handler(service=CorpusService)
class CorpusServiceHandler:
    """The queues of teams, behind the gate, which says whose call it is (`CALLER`).

    A call that takes longer than `SEARCH_TIMEOUT_SECONDS`, or whose caller is gone, ends in the database as well.

    Args:
        search: answers a reader; blocks, so it runs in a thread.
        describe: likewise; None where there is no such source for this reader.
        on_replica: searches read a replica, so a wait is over once that shows what was awaited.
    """

    def __init__(
        self,
        *,
        search: Callable[[Reader, SearchRequest], SearchResponse],
        describe: Callable[[Reader, DescribeRequest], SourceDescription | None],
        on_replica: bool = False,
    ) -> None:
        self._search = search
        self._on_replica = on_replica
        self._describe = describe
        self._threads = ThreadPoolExecutor(THREADS, "answer")
        self._threads_for_the_past = ThreadPoolExecutor(
            THREADS_FOR_THE_PAST, "answer-as-of"
        )

    @sync_operation
    async def search(
        self, _context: StartOperationContext, request: SearchRequest
    ) -> SearchResponse:
        """Retrieve chunks."""
        team = CALLER.get()
        _refuse(search_problem(request) or limit_problem(team, request))
        reader = reader_of(team, request.groups)
        threads = self._threads_for_the_past if is_as_of(request) else self._threads
        step = partial(self._bounded_search, reader, request)
        return await _answer("search", threads, step)

    def _bounded_search(self, reader: Reader, request: SearchRequest) -> SearchResponse:
        """In a thread as a whole: what is cut may be many megabytes."""
        return bounded(self._search(reader, request))

    @sync_operation
    async def describe_source(
        self, _context: StartOperationContext, request: DescribeRequest
    ) -> SourceDescription:
        """Describe a source."""
        _refuse(describe_problem(request))
        reader = reader_of(CALLER.get(), request.groups)
        step = partial(self._describe, reader, request)
        described = await _answer("look", self._threads, step)
        if described is None:
            message = f"there is no source {request.source!r}"
            raise HandlerError(message, type=HandlerErrorType.NOT_FOUND)
        return described

    @nexus.workflow_run_operation
    async def await_fresh(
        self, context: nexus.WorkflowRunOperationContext, request: AwaitFreshRequest
    ) -> nexus.WorkflowHandle[AwaitFreshResponse]:
        """Start the workflow of this wait; a repetition of the same call attaches to it."""
        team = CALLER.get()
        _refuse(await_problem(request))
        reader_of(team, request.groups)
        return await context.start_workflow(
            AwaitFreshWorkflow.run,
            AwaitInput(request=request, team=team.team, on_replica=self._on_replica),
            id=await_workflow_id(team.team, request.source, context.request_id),
            task_queue=task_queues.WORKFLOWS,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        )


async def _answer(
    what: str, threads: ThreadPoolExecutor, step: Callable[[], _Response]
) -> _Response:
    """Run a step in a thread, as long as its caller waits.

    Args:
        what: the call is, for people.
        threads: one of them runs the step.
        step: blocks.

    Raises:
        HandlerError: the step failed, or took too long.
    """
    cancellation = Cancellation()
    context = contextvars.copy_context()
    context.run(CURRENT.set, cancellation)

    def run() -> _Response:
        return context.run(step)

    loop = asyncio.get_running_loop()
    answer = loop.run_in_executor(threads, run)
    try:
        async with asyncio.timeout(SEARCH_TIMEOUT_SECONDS):
            return await answer
    except TimeoutError as error:
        message = (
            f"the {what} took more than {SEARCH_TIMEOUT_SECONDS:g} s; {what} again"
        )
        raise HandlerError(message, type=HandlerErrorType.UNAVAILABLE) from error
    except FreshetError as error:
        raise _as_handler_error(error) from error
    finally:
        if answer.cancelled():  # by the timeout, or since the caller is gone
            loop.run_in_executor(None, cancellation.cancel)


def limit_problem(team: TeamSpec, request: SearchRequest) -> str | None:
    """What a search wants that is more than its team may have, or None."""
    if request.k <= team.max_k:
        return None
    return f"k is {request.k}; team {team.team!r} may ask for at most {team.max_k}"


def _refuse(problem: str | None) -> None:
    if problem:
        raise HandlerError(problem, type=HandlerErrorType.BAD_REQUEST)


def _as_handler_error(error: FreshetError) -> HandlerError:
    """BAD_REQUEST ends the operation at once; UNAVAILABLE is tried again by the caller's server."""
    if error.retryable:
        return HandlerError(str(error), type=HandlerErrorType.UNAVAILABLE)
    return HandlerError(str(error), type=HandlerErrorType.BAD_REQUEST)
