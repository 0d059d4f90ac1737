"""Handles `CorpusService`: searches and descriptions at once, waits as a workflow."""

import asyncio
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict

from nexusrpc import HandlerError, HandlerErrorType
from nexusrpc.handler import StartOperationContext, service_handler, sync_operation
from temporalio import nexus
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from corpus import task_queues
from corpus.answer.workflows import AwaitFreshWorkflow, AwaitInput
from corpus.errors import FreshetError
from corpus.service import (
    MAX_HITS,
    AwaitFreshRequest,
    AwaitFreshResponse,
    CorpusService,
    DescribeRequest,
    SearchRequest,
    SearchResponse,
    SourceDescription,
)

_MODES = ("vector", "text", "hybrid")
_MAX_SECONDS = 30 * 86_400
_ANSWER_SECONDS = 8.0  # a synchronous operation must answer within ten


def search_problem(request: SearchRequest) -> str | None:
    """What is wrong with a search, or None."""
    if not request.query.strip() or len(request.query) > 10_000:
        return f"query has {len(request.query)} characters; give 1 to 10,000 that are not blank"
    if not _is_text(request.query):
        return f"query is not text: {request.query!r} holds half a character (a lone surrogate)"
    if not 1 <= request.k <= MAX_HITS:
        return f"k is {request.k}; give 1 to {MAX_HITS}"
    if request.mode not in _MODES:
        return f"mode is {request.mode!r}; give one of {', '.join(_MODES)}"
    if request.metadata:
        try:
            wanted = json.loads(request.metadata)
        except ValueError as error:
            return f"metadata is not JSON: {error}"
        if not isinstance(wanted, dict):
            return f"metadata is {type(wanted).__name__}; give a JSON object"
    return None


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def await_problem(request: AwaitFreshRequest) -> str | None:
    """What is wrong with a wait, or None."""
    record = (request.topic, request.partition, request.offset)
    document = (request.document_id, request.version)
    ways = (record, document, (request.batch,), (request.time_ms,))
    named = [way for way in ways if any(part is not None for part in way)]
    if len(named) != 1 or None in named[0]:
        return "name exactly one thing to wait for: topic, partition and offset; document_id and version; batch; or time_ms"
    if not 0 <= request.timeout_seconds <= _MAX_SECONDS:
        return f"timeout_seconds is {request.timeout_seconds}; give 0 to {_MAX_SECONDS}"
    if not request.source:
        return "source is empty"
    return None


def await_workflow_id(request: AwaitFreshRequest) -> str:
    """The same wait of many callers is one workflow."""
    canonical = json.dumps(asdict(request), sort_keys=True, separators=(",", ":"))
    return f"await:{request.source}:{hashlib.sha256(canonical.encode()).hexdigest()[:20]}"


@service_handler(service=CorpusService)
class CorpusServiceHandler:
    """The steps are injected by workers; they block and run in threads."""

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
            return await asyncio.wait_for(asyncio.to_thread(self._search, request), _ANSWER_SECONDS)
        except TimeoutError as error:
            raise HandlerError(
                f"no answer within {_ANSWER_SECONDS:.0f} s; ask again",
                type=HandlerErrorType.UNAVAILABLE,
            ) from error
        except FreshetError as error:
            raise _as_handler_error(error) from error

    @sync_operation
    async def describe_source(
        self, _context: StartOperationContext, request: DescribeRequest
    ) -> SourceDescription:
        """How a source stands."""
        try:
            described = await asyncio.to_thread(self._describe, request)
        except FreshetError as error:
            raise _as_handler_error(error) from error
        if described is None:
            raise HandlerError(
                f"there is no source {request.source!r}", type=HandlerErrorType.NOT_FOUND
            )
        return described

    @nexus.workflow_run_operation
    async def await_fresh(
        self, context: nexus.WorkflowRunOperationContext, request: AwaitFreshRequest
    ) -> nexus.WorkflowHandle[AwaitFreshResponse]:
        """Wait."""
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
    """A mistake in the question is told at once; what may pass is tried again by the caller's server."""
    kind = HandlerErrorType.UNAVAILABLE if error.retryable else HandlerErrorType.BAD_REQUEST
    return HandlerError(str(error), type=kind)
