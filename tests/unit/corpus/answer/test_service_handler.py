"""The handler of `CorpusService`: what a caller gets when a step fails, is slow, or is asked for nonsense."""

import threading
from typing import Any

import pytest
from nexusrpc import HandlerError, HandlerErrorType

from corpus.answer import service_handler
from corpus.answer.service_handler import CorpusServiceHandler
from corpus.errors import (
    ConfigurationError,
    DatabaseRefusalError,
    DependencyError,
    FreshetError,
    SpaceMismatchError,
)
from corpus.service import (
    AwaitFreshRequest,
    DescribeRequest,
    SearchRequest,
    SearchResponse,
    SourceDescription,
)

CONTEXT: Any = None  # searches and descriptions do not use it
SEARCH = SearchRequest(query="wheels")
PEPS = DescribeRequest(source="peps")


def raising(error: Exception):
    def step(_request):
        raise error

    return step


NOT_REACHED = raising(AssertionError("the step must not run"))


def handler(search=NOT_REACHED, describe=NOT_REACHED):
    return CorpusServiceHandler(search=search, describe=describe)


class Waits:
    """Notes the workflows that a handler starts."""

    def __init__(self):
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


async def test_the_same_wait_starts_one_workflow() -> None:
    waits = Waits()
    for _ in range(2):
        await await_fresh(waits, AwaitFreshRequest(source="peps", batch=1))
    first, second = waits.started
    assert first == second
    assert first["id"].startswith("await:peps:")
    assert first["id_conflict_policy"].name == "USE_EXISTING"


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
