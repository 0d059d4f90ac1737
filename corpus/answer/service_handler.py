"""Handles the operations of `CorpusService`: searches and descriptions at once, waits as a workflow."""

import asyncio
from collections.abc import Callable

from nexusrpc import HandlerError, HandlerErrorType
from nexusrpc.handler import StartOperationContext, service_handler, sync_operation
from temporalio import nexus
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from corpus import task_queues
from corpus.answer.requests import (
    await_problem,
    await_workflow_id,
    describe_problem,
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


@service_handler(service=CorpusService)
class CorpusServiceHandler:
    """Queue `freshet-nexus`.

    Args:
        search: blocks, so it runs in a thread.
        describe: likewise; None where there is no such source.
    """

    def __init__(
        self,
        *,
        search: Callable[[SearchRequest], SearchResponse],
        describe: Callable[[DescribeRequest], SourceDescription | None],
    ) -> None:
        self._search = search
        self._describe = describe

    @sync_operation
    async def search(
        self, _context: StartOperationContext, request: SearchRequest
    ) -> SearchResponse:
        """Retrieve chunks."""
        _refuse(search_problem(request))
        try:
            async with asyncio.timeout(SEARCH_TIMEOUT_SECONDS):
                return await asyncio.to_thread(self._search, request)
        except TimeoutError as error:
            message = (
                f"the search took more than {SEARCH_TIMEOUT_SECONDS:g} s; search again"
            )
            raise HandlerError(message, type=HandlerErrorType.UNAVAILABLE) from error
        except FreshetError as error:
            raise _as_handler_error(error) from error

    @sync_operation
    async def describe_source(
        self, _context: StartOperationContext, request: DescribeRequest
    ) -> SourceDescription:
        """Describe a source."""
        _refuse(describe_problem(request))
        try:
            described = await asyncio.to_thread(self._describe, request)
        except FreshetError as error:
            raise _as_handler_error(error) from error
        if described is None:
            message = f"there is no source {request.source!r}"
            raise HandlerError(message, type=HandlerErrorType.NOT_FOUND)
        return described

    @nexus.workflow_run_operation
    async def await_fresh(
        self, context: nexus.WorkflowRunOperationContext, request: AwaitFreshRequest
    ) -> nexus.WorkflowHandle[AwaitFreshResponse]:
        """Start the workflow of this wait, or attach to the one that runs."""
        _refuse(await_problem(request))
        return await context.start_workflow(
            AwaitFreshWorkflow.run,
            AwaitInput(request=request),
            id=await_workflow_id(request),
            task_queue=task_queues.WORKFLOWS,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        )


def _refuse(problem: str | None) -> None:
    if problem:
        raise HandlerError(problem, type=HandlerErrorType.BAD_REQUEST)


def _as_handler_error(error: FreshetError) -> HandlerError:
    """BAD_REQUEST ends the operation at once; UNAVAILABLE is tried again by the caller's server."""
    if error.retryable:
        return HandlerError(str(error), type=HandlerErrorType.UNAVAILABLE)
    return HandlerError(str(error), type=HandlerErrorType.BAD_REQUEST)
