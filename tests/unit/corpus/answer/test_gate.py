"""The gate before every operation, without a server: what is let in, what a refusal says, what is noted."""

import asyncio
import base64
import contextvars
import json
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from nexusrpc import HandlerError, HandlerErrorType

from corpus.access.admission import UNCLAIMED, KnownTeam
from corpus.access.team import Right, TeamSpec
from corpus.access.token import HEADER, Call, request_digest, sign
from corpus.answer.gate import CALLER, Decision, Gate
from corpus.errors import DependencyError
from corpus.service import AwaitFreshRequest, DescribeRequest, SearchRequest

KEY = b"k" * 32
NOW = 1_764_161_411
SERVICE = "freshet.corpus.v1"
SPEC = TeamSpec(team="billing", endpoint="corpus-billing", namespace="billing", sources=("a",))
REQUESTS: Mapping[str, Any] = {
    "search": SearchRequest(query="wheels"),
    "describe_source": DescribeRequest(source="a"),
    "await_fresh": AwaitFreshRequest(source="a", batch=1),
}


class World:
    """A gate, what is behind it, and what it notes."""

    def __init__(self, spec: TeamSpec | None = SPEC) -> None:
        self.team = None if spec is None else KnownTeam(spec=spec, keys={"k1": KEY})
        self.noted: list[Decision] = []
        self.failure: Exception | None = None
        self.answered: list[str] = []
        self.cancelled: list[str] = []
        self.gate = Gate(lambda: self.team, self._note, lambda: NOW)

    def _note(self, decision: Decision) -> Future[None]:
        self.noted.append(decision)
        done: Future[None] = Future()
        if self.failure is None:
            done.set_result(None)
        else:
            done.set_exception(self.failure)
        return done

    async def execute_nexus_operation_start(self, _input: Any) -> str:
        self.answered.append(CALLER.get().team)
        return "answer"

    async def execute_nexus_operation_cancel(self, given: Any) -> None:
        self.cancelled.append(given.token)

    def start(self, operation: str, request: Any = None, **signed: Any) -> str:
        request = request or REQUESTS[operation]
        context = self._context(operation, request_digest(request), signed)
        behind: Any = self
        gated = self.gate.intercept_nexus_operation(behind)
        given: Any = SimpleNamespace(ctx=context, input=request)
        done: Any = run(gated.execute_nexus_operation_start(given))
        return done

    def start_empty(self, operation: str) -> None:
        context = self._context(operation, request_digest(REQUESTS[operation]), {})
        behind: Any = self
        gated = self.gate.intercept_nexus_operation(behind)
        given: Any = SimpleNamespace(ctx=context, input=None)
        run(gated.execute_nexus_operation_start(given))

    def cancel(self, workflow_id: str, **signed: Any) -> None:
        named = json.dumps({"t": 1, "ns": "freshet", "wid": workflow_id}).encode()
        operation_token = base64.urlsafe_b64encode(named).decode().rstrip("=")
        context = self._context("await_fresh", "of the start", signed)
        behind: Any = self
        gated = self.gate.intercept_nexus_operation(behind)
        given: Any = SimpleNamespace(ctx=context, token=operation_token)
        run(gated.execute_nexus_operation_cancel(given))

    def _context(self, operation: str, digest: str, signed: dict[str, Any]) -> Any:
        call = Call(service=SERVICE, operation=operation, endpoint="corpus-billing", digest=digest)
        fields = {"team": "billing", "key_id": "k1", "key": KEY, "now": NOW}
        return SimpleNamespace(
            service=SERVICE,
            operation=operation,
            headers={HEADER: sign(call, **(fields | signed))},
            inbound_links=[],
        )


def run(call: Any) -> Any:
    """In a context of its own, as a worker runs each task."""
    return contextvars.Context().run(asyncio.run, call)


def refused(call: Any, *arguments: Any, **named: Any) -> HandlerError:
    with pytest.raises(HandlerError) as error:
        call(*arguments, **named)
    return error.value


@pytest.mark.parametrize("operation", REQUESTS)
def test_a_call_of_the_team_is_answered_and_noted(operation: str) -> None:
    world = World()
    assert world.start(operation) == "answer"
    assert world.answered == ["billing"]
    [noted] = world.noted
    assert (noted.actor, noted.operation, noted.refused) == ("team:billing", operation, "")
    assert noted.sources == noted.granted == {"a"}


@pytest.mark.parametrize("operation", [*REQUESTS, "a later one"])
@pytest.mark.parametrize("spec", [SPEC, None])
def test_every_refusal_of_a_stranger_is_the_same(operation: str, spec: TeamSpec | None) -> None:
    world = World(spec)
    request = REQUESTS.get(operation, REQUESTS["search"])
    for signed in ({"key": b"x" * 32}, {"now": NOW - 3_600}, {"team": "legal"}, {"key_id": "no"}):
        error = refused(world.start, operation, request, **signed)
        assert (error.type, error.message) == (HandlerErrorType.UNAUTHENTICATED, UNCLAIMED)
        assert not error.retryable
    assert world.answered == []
    assert {noted.actor for noted in world.noted} == {"unclaimed"}
    assert all(noted.refused for noted in world.noted)


@pytest.mark.parametrize("operation", REQUESTS)
def test_a_call_without_a_request_is_not_taken_for_a_cancellation(operation: str) -> None:
    world = World()
    error = refused(world.start_empty, operation)
    assert (error.type, error.message) == (HandlerErrorType.UNAUTHENTICATED, UNCLAIMED)
    assert world.answered == []
    assert [noted.refused for noted in world.noted] == ["the call has no request"]


@pytest.mark.parametrize(
    ("operation", "request_", "right"),
    [
        ("search", None, Right.SEARCH),
        ("describe_source", None, Right.SEARCH),
        ("await_fresh", None, Right.AWAIT),
        ("search", SearchRequest(query="x", as_of_ms=1), Right.AS_OF),
        ("search", SearchRequest(query="x", as_of_batch=1, sources=("a",)), Right.AS_OF),
        ("refresh", SearchRequest(query="x"), Right.OPERATE),  # whatever is not in the table
    ],
)
def test_a_right_that_the_team_lacks_is_named(operation: str, request_: Any, right: Right) -> None:
    others = tuple(other for other in Right if other is not right)
    world = World(replace(SPEC, rights=others))
    error = refused(world.start, operation, request_)
    assert error.type is HandlerErrorType.UNAUTHORIZED
    assert repr(right.value) in error.message
    assert world.answered == []
    with_it = World(replace(SPEC, rights=tuple(Right)))
    assert with_it.start(operation, request_) == "answer"


def test_calls_above_the_quota_are_refused_with_the_time_of_the_next() -> None:
    world = World(replace(SPEC, calls_per_minute=2))
    for _ in range(2):
        world.start("search")
    error = refused(world.start, "search")
    assert error.type is HandlerErrorType.RESOURCE_EXHAUSTED
    assert error.message == "team 'billing' has used its 2 calls per minute; try again in 60 s"
    assert not error.retryable
    assert refused(world.start, "describe_source").type is HandlerErrorType.RESOURCE_EXHAUSTED
    world.cancel("await:billing:a:1")  # is no call
    stranger = refused(world.start, "search", key=b"x" * 32)
    assert stranger.type is HandlerErrorType.UNAUTHENTICATED
    reasons = {noted.refused for noted in world.noted}
    assert "team 'billing' has used its 2 calls per minute" in reasons  # one row, whatever the time


def test_a_call_that_cannot_be_noted_is_not_answered() -> None:
    world = World()
    world.failure = DependencyError("no database")
    error = refused(world.start, "search")
    assert error.type is HandlerErrorType.UNAVAILABLE
    assert error.retryable


def test_a_team_cancels_its_own_waits_and_no_other_workflow() -> None:
    world = World()
    world.cancel("await:billing:a:1", now=NOW - 86_400)  # the token of the call, long after
    assert len(world.cancelled) == 1
    for workflow_id in ("source:a", "await:legal:a:1", "await:bill", "", "await:billing"):
        error = refused(world.cancel, workflow_id)
        assert error.type is HandlerErrorType.NOT_FOUND
    assert refused(world.cancel, "await:billing:a:1", key=b"x" * 32).message == UNCLAIMED
    assert refused(world.cancel, "await:billing:a:1", now=NOW - 40 * 86_400).message == UNCLAIMED
    assert len(world.cancelled) == 1
    # The log says which of them were carried out.
    assert [decision.refused for decision in world.noted] == [
        "",
        *["there is no such operation"] * 5,
        "the token's signature is wrong",
        "the token has expired",
    ]
    assert {decision.operation for decision in world.noted} == {"cancel await_fresh"}
