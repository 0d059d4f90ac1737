"""Workflows that call the contract as a team would; light, since the sandbox imports this file again."""

import json
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import NexusOperationError

with workflow.unsafe.imports_passed_through():
    from nexusrpc import HandlerError

    from corpus.access.token import HEADER
    from corpus.service import (
        AwaitFreshRequest,
        CorpusService,
        DescribeRequest,
        SearchRequest,
    )


@workflow.defn
class DescribeCaller:
    """Describes a source in one line."""

    @workflow.run
    async def run(self, source: str, endpoint: str) -> str:
        client = workflow.create_nexus_client(service=CorpusService, endpoint=endpoint)
        longest = timedelta(seconds=20)
        described = await client.execute_operation(
            CorpusService.describe_source,
            DescribeRequest(source=source),
            schedule_to_close_timeout=longest,
        )
        return (
            f"{described.state} {described.documents} {described.last_batch} {described.freshness}"
        )


@dataclass(frozen=True, kw_only=True)
class RawCalls:
    """One call of each operation about a source, with the tokens that the caller brings."""

    endpoint: str
    source: str
    tokens: dict[str, str]  # by operation; none: the worker signs, or nobody does
    groups: tuple[str, ...] = ()


def requests(source: str, groups: tuple[str, ...] = ()) -> dict[str, Any]:
    """One request per operation."""
    return {
        "search": SearchRequest(query="wheels", sources=(source,), groups=groups),
        "describe_source": DescribeRequest(source=source, groups=groups),
        "await_fresh": AwaitFreshRequest(source=source, batch=1, timeout_seconds=0, groups=groups),
    }


@workflow.defn
class RawCaller:
    """Calls every operation, and returns what became of each: the response as JSON, or the error's kind and words."""

    @workflow.run
    async def run(self, calls: RawCalls) -> dict[str, str]:
        outcomes: dict[str, str] = {}
        for name, request in requests(calls.source, calls.groups).items():
            outcomes[name] = await self._outcome(calls, name, request)
        return outcomes

    async def _outcome(self, calls: RawCalls, name: str, request: Any) -> str:
        client = workflow.create_nexus_client(service=CorpusService, endpoint=calls.endpoint)
        headers = {HEADER: calls.tokens[name]} if name in calls.tokens else {}
        try:
            response: Any = await client.execute_operation(
                getattr(CorpusService, name),
                request,
                headers=headers,
                schedule_to_close_timeout=timedelta(seconds=20),
            )
        except NexusOperationError as error:
            cause = error.__cause__
            assert isinstance(cause, HandlerError), cause
            kind = cause.type.name
            words = str(cause).removeprefix(f"handler error ({kind}): ")  # of the server
            return f"{kind}: {words}"
        return json.dumps(asdict(response))
