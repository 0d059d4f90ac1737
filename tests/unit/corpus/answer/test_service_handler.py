"""The handler of `CorpusService`: what a caller gets when a step fails, is slow, or is asked for nonsense."""

import asyncio
import contextvars
import threading
from dataclasses import replace
from typing import Any

import pytest
from nexusrpc import HandlerError, HandlerErrorType

from corpus.access.reader import Reader
from corpus.access.team import TeamSpec
from corpus.answer import service_handler
from corpus.answer.cancellation import cancellable
from corpus.answer.gate import CALLER
from corpus.answer.service_handler import CorpusServiceHandler
from corpus.errors import (
    ConfigurationError,
    DatabaseRefusalError,
    DependencyError,
    FreshetError,
    SpaceMismatchError,
)
from corpus.service import (
    MAX_RESPONSE_BYTES,
    AwaitFreshRequest,
    DescribeRequest,
    SearchHit,
    SearchRequest,
    SearchResponse,
    SourceDescription,
)

CONTEXT: Any = None  # searches and descriptions do not use it
SEARCH = SearchRequest(query="wheels")
PEPS = DescribeRequest(source="peps")
TEAM = TeamSpec(
    team="billing", endpoint="e", namespace="n", sources=("peps",), groups=("staff",), max_k=50
)


def raising(error: Exception):
    def step(_request):
        raise error

    return step


NOT_REACHED = raising(AssertionError("the step must not run"))


def handler(search=NOT_REACHED, describe=NOT_REACHED, team=TEAM):
    """A handler behind a gate that let this team in; the steps here do not look at the reader."""
    CALLER.set(team)
    return CorpusServiceHandler(
        search=lambda _reader, request: search(request),
        describe=lambda _reader, request: describe(request),
    )


class Waits:
    """Notes the workflows that a handler starts."""

    def __init__(self, request_id="one"):
        self.request_id = request_id
        self.started: list[dict[str, Any]] = []

    async def start_workflow(self, run, wait, **options):
        self.started.append({"wait": wait} | options)


async def test_search_answers_with_what_the_step_returns() -> None:
    response = SearchResponse(hits=())
    assert await handler(search=lambda _: response).search(CONTEXT, SEARCH) is response


async def test_describe_answers_with_what_the_step_returns() -> None:
    described = SourceDescription(source="peps", state="active")
    assert await handler(describe=lambda _: described).describe_source(CONTEXT, PEPS) is described


async def test_an_unknown_source_is_not_found() -> None:
    with pytest.raises(HandlerError, match="there is no source 'peps'") as failed:
        await handler(describe=lambda _: None).describe_source(CONTEXT, PEPS)
    assert failed.value.type is HandlerErrorType.NOT_FOUND


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConfigurationError("no such source"), HandlerErrorType.BAD_REQUEST),
        (SpaceMismatchError("two spaces"), HandlerErrorType.BAD_REQUEST),
        (DatabaseRefusalError("refused"), HandlerErrorType.BAD_REQUEST),
        (DependencyError("no database"), HandlerErrorType.UNAVAILABLE),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_an_error_says_whether_to_ask_again(
    error: FreshetError, kind: HandlerErrorType
) -> None:
    failing = handler(search=raising(error), describe=raising(error))
    for call in (failing.search(CONTEXT, SEARCH), failing.describe_source(CONTEXT, PEPS)):
        with pytest.raises(HandlerError, match=str(error)) as failed:
            await call
        assert failed.value.type is kind
        assert failed.value.retryable is error.retryable


async def test_a_slow_search_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_handler, "SEARCH_TIMEOUT_SECONDS", 0.05)
    released = threading.Event()

    def slow(_request):
        released.wait(10)
        return SearchResponse(hits=())

    try:
        with pytest.raises(HandlerError, match=r"took more than 0\.05 s; search again") as failed:
            await handler(search=slow).search(CONTEXT, SEARCH)
    finally:
        released.set()
    assert failed.value.type is HandlerErrorType.UNAVAILABLE


@pytest.mark.parametrize(
    "request_",
    [
        SearchRequest(query=" "),
        SearchRequest(query="x", k=10**9),
        SearchRequest(query="x", mode="../vector"),
        SearchRequest(query="x", sources=("\ud800",)),
        SearchRequest(query="x", metadata="[" * 100_000),
        SearchRequest(query="x", as_of_ms=2**63),
    ],
    ids=lambda value: repr(value)[:50],
)
async def test_a_wrong_search_is_refused_before_the_step(request_: SearchRequest) -> None:
    with pytest.raises(HandlerError) as failed:
        await handler().search(CONTEXT, request_)
    assert failed.value.type is HandlerErrorType.BAD_REQUEST


@pytest.mark.parametrize("source", ["", "\ud800", "a\0b", "x" * 1_000], ids=lambda value: value[:3])
async def test_a_wrong_description_is_refused_before_the_step(source: str) -> None:
    with pytest.raises(HandlerError) as failed:
        await handler().describe_source(CONTEXT, DescribeRequest(source=source))
    assert failed.value.type is HandlerErrorType.BAD_REQUEST


async def await_fresh(waits: Any, request: AwaitFreshRequest) -> None:
    await handler().await_fresh(waits, request)


async def test_a_step_answers_the_reader_that_the_team_stands_for() -> None:
    asked: list[Reader] = []
    CALLER.set(TEAM)
    one = CorpusServiceHandler(
        search=lambda reader, _: asked.append(reader) or SearchResponse(hits=()),
        describe=lambda reader, _: asked.append(reader),
    )
    await one.search(CONTEXT, SEARCH)
    await one.search(CONTEXT, replace(SEARCH, groups=("staff",)))
    with pytest.raises(HandlerError):
        await one.describe_source(CONTEXT, PEPS)
    public = Reader(name="team:billing", sources=frozenset({"peps"}))
    assert asked == [public, replace(public, groups=("staff",)), public]


@pytest.mark.parametrize("groups", [("board",), ("staff", "board")])
async def test_a_team_vouches_for_its_groups_only(groups: tuple[str, ...]) -> None:
    waits: Any = Waits()
    calls = (
        handler().search(CONTEXT, replace(SEARCH, groups=groups)),
        handler().describe_source(CONTEXT, replace(PEPS, groups=groups)),
        handler().await_fresh(waits, AwaitFreshRequest(source="peps", batch=1, groups=groups)),
    )
    for call in calls:
        with pytest.raises(HandlerError, match="may not vouch for 'board'") as failed:
            await call
        assert failed.value.type is HandlerErrorType.BAD_REQUEST
    assert waits.started == []


async def test_more_hits_than_the_team_may_have_are_refused() -> None:
    with pytest.raises(HandlerError, match="k is 51; team 'billing' may ask for at most 50"):
        await handler().search(CONTEXT, replace(SEARCH, k=51))


async def test_without_a_caller_nothing_is_answered() -> None:
    one = handler()
    context = contextvars.Context()  # in which no gate has let anybody in
    for call in (one.search(CONTEXT, SEARCH), one.describe_source(CONTEXT, PEPS)):
        with pytest.raises(LookupError):
            await asyncio.get_running_loop().create_task(call, context=context)


async def test_each_caller_has_a_wait_of_its_own() -> None:
    wait = AwaitFreshRequest(source="peps", batch=1)
    callers = [Waits("one"), Waits("other")]
    for caller in callers:
        await await_fresh(caller, wait)
    assert {caller.started[0]["id"] for caller in callers} == {
        "await:billing:peps:one",
        "await:billing:peps:other",
    }


async def test_a_wait_says_whether_searches_read_a_replica() -> None:
    """So an orchestrator that knows no replica does not tell a wait that it is over."""
    CALLER.set(TEAM)
    waits: Any = Waits()
    for on_replica in (False, True):
        one = CorpusServiceHandler(search=none, describe=none, on_replica=on_replica)
        await one.await_fresh(waits, AwaitFreshRequest(source="peps", batch=1))
    assert [started["wait"].on_replica for started in waits.started] == [False, True]


def none(*_: Any) -> Any:
    raise AssertionError


async def test_a_call_that_is_repeated_attaches_to_its_wait() -> None:
    waits = Waits()
    for _ in range(2):
        await await_fresh(waits, AwaitFreshRequest(source="peps", batch=1))
    first, second = waits.started
    assert first == second
    assert first["id_conflict_policy"].name == "USE_EXISTING"


async def test_an_answer_that_is_too_large_is_cut() -> None:
    hit = SearchHit(source="peps", document_id="d", version=1, text="x" * 500_000, score=1.0)
    whole = SearchResponse(hits=(hit,) * 10)
    response = await handler(search=lambda _: whole).search(CONTEXT, SEARCH)
    assert response.cut
    assert len(response.hits) == 10
    assert sum(len(one.text) for one in response.hits) <= MAX_RESPONSE_BYTES


# ── calls that nobody waits for any more ────────────────────────────────────────────────────────────────────────────


class Query:
    """Stands for a connection whose query runs until it is cancelled."""

    def __init__(self) -> None:
        self.begun, self.ended = threading.Event(), threading.Event()

    def cancel_safe(self, *, timeout: float) -> None:
        self.ended.set()

    def run(self, _request: Any) -> SearchResponse:
        connection: Any = self
        with cancellable(connection):
            self.begun.set()
            assert self.ended.wait(10)
        return SearchResponse(hits=())


@pytest.mark.parametrize("ends", ["timeout", "cancelled"])
async def test_the_query_of_a_caller_that_is_gone_is_cancelled(
    ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = Query()
    if ends == "timeout":
        monkeypatch.setattr(service_handler, "SEARCH_TIMEOUT_SECONDS", 0.1)
    call = asyncio.create_task(handler(search=query.run).search(CONTEXT, SEARCH))
    assert await asyncio.to_thread(query.begun.wait, 10)
    if ends == "cancelled":
        call.cancel()
    await asyncio.wait([call])
    assert await asyncio.to_thread(query.ended.wait, 10)


async def test_a_query_that_ends_in_time_is_not_cancelled() -> None:
    query = Query()
    query.ended.set()
    query.cancel_safe = pytest.fail  # type: ignore[method-assign]
    await handler(search=query.run).search(CONTEXT, SEARCH)


async def test_searches_of_the_past_that_wait_hold_up_no_search_of_now() -> None:
    go_on = threading.Event()

    def step(request: SearchRequest) -> SearchResponse:
        if request.as_of_ms is not None:
            assert go_on.wait(10)
        return SearchResponse(hits=())

    searching = handler(search=step)
    past = [
        asyncio.create_task(searching.search(CONTEXT, replace(SEARCH, as_of_ms=1)))
        for _ in range(service_handler.THREADS_FOR_THE_PAST + 30)
    ]
    try:
        await asyncio.wait_for(searching.search(CONTEXT, SEARCH), 5)
        assert not any(call.done() for call in past)
    finally:
        go_on.set()
        await asyncio.gather(*past)


@pytest.mark.parametrize(
    "fields",
    [{}, {"batch": -1}, {"batch": 1, "time_ms": 1}, {"document_id": "\0", "version": 1}],
    ids=repr,
)
async def test_a_wrong_wait_starts_no_workflow(fields: dict[str, Any]) -> None:
    waits = Waits()
    with pytest.raises(HandlerError) as failed:
        await await_fresh(waits, AwaitFreshRequest(source="peps", **fields))
    assert failed.value.type is HandlerErrorType.BAD_REQUEST
    assert waits.started == []
