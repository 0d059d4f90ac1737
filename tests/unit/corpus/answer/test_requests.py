"""Requests of other teams that are wrong: each is refused with a reason before it reaches a service."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.answer.requests import (
    MAX_TIME_MS,
    MAX_TIME_US,
    MAX_TIMEOUT_SECONDS,
    MIN_TIME_MS,
    await_prefix,
    await_problem,
    await_workflow_id,
    describe_problem,
    search_problem,
)
from corpus.service import AwaitFreshRequest, DescribeRequest, SearchRequest

SURROGATE = "half \ud83d of a character"
NUL = "a\0b"
DEEP = "[" * 100_000
RECORD = {"topic": "t", "partition": 0, "offset": 0}
DOCUMENT = {"document_id": "a", "version": 0}


# ── searches ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, None),
        ({"query": "ü" * 10_000}, None),
        ({"query": ""}, "query has 0 characters; give 1 to 10,000 that are not blank"),
        ({"query": " "}, "query has 1 characters"),
        ({"query": "x" * 10_001}, "query has 10001 characters"),
        ({"query": SURROGATE}, "query is not text: character 5 is a lone surrogate"),
        ({"query": NUL}, "query has a NUL character at 1"),
        ({"k": 1}, None),
        ({"k": 100}, None),
        ({"k": 0}, "k is 0; give 1 to 100"),
        ({"k": -1}, "k is -1"),
        ({"k": 101}, "k is 101; give 1 to 100"),
        ({"k": 2**64}, "k is 18446744073709551616"),
        ({"mode": "text"}, None),
        ({"mode": "fuzzy"}, "mode is 'fuzzy'; give one of vector, text, hybrid"),
        ({"mode": ""}, "mode is ''"),
        ({"mode": "TEXT"}, "mode is 'TEXT'"),
        ({"mode": NUL}, "mode is 'a\\x00b'"),
        ({"sources": ("peps", "docs")}, None),
        ({"sources": ("peps", "")}, "source is empty"),
        ({"sources": (SURROGATE,)}, "source is not text"),
        ({"sources": (NUL,)}, "source has a NUL character"),
        ({"sources": ("x" * 201,)}, "source has 201 characters; give at most 200"),
        ({"metadata": '{"a": {"b": [1, null]}}'}, None),
        ({"metadata": "{"}, "metadata is not JSON"),
        ({"metadata": "[1]"}, "metadata is list; give a JSON object"),
        ({"metadata": "null"}, "metadata is NoneType"),
        ({"metadata": DEEP}, "metadata is nested too deeply"),
        ({"metadata": '{"a": "\ud83d"}'}, "metadata is not text"),
        ({"metadata": '{"a": "\0"}'}, "metadata is not JSON"),
        ({"as_of_ms": 0}, None),
        ({"as_of_ms": MIN_TIME_MS}, None),
        ({"as_of_ms": MAX_TIME_MS}, None),
        ({"as_of_ms": MAX_TIME_MS + 1}, "as_of_ms is 253402300800000"),
        ({"as_of_ms": MIN_TIME_MS - 1}, "as_of_ms is -62135596800001"),
        ({"as_of_ms": 10**30}, "as_of_ms is 1000000000000000000000000000000"),
        ({"as_of_us": MAX_TIME_US}, None),
        ({"as_of_us": MAX_TIME_US + 1}, "as_of_us is 253402300800000000"),
        ({"rerank": "model"}, None),
        ({"rerank": "Model"}, "rerank is 'Model'; give 'model', or leave it out"),
        ({"as_of_batch": 1}, None),
        ({"as_of_batch": 1, "sources": ("peps",)}, None),
        ({"as_of_batch": 0}, "as_of_batch is 0; give 1 to"),
        ({"as_of_batch": 1, "sources": ("a", "b")}, "as_of_batch is a batch of one source"),
        ({"as_of_batch": 1, "as_of_ms": 1}, "give at most one of as_of_ms, as_of_us, as_of_batch"),
        ({"as_of_us": 1, "as_of_ms": 1}, "give at most one of"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_search_problem(fields: dict[str, Any], problem: str | None) -> None:
    found = search_problem(SearchRequest(**({"query": "x"} | fields)))
    assert found is None if problem is None else problem in str(found)


anything = st.text(st.characters(), max_size=20)  # NUL and lone surrogates included
integers = st.integers(min_value=-(2**70), max_value=2**70)


@settings(deadline=None)
@given(
    st.builds(
        SearchRequest,
        query=anything,
        k=integers,
        mode=st.sampled_from(["vector", "text", "hybrid"]) | anything,
        sources=st.lists(anything, max_size=3).map(tuple),
        metadata=anything | st.just('{"a": 1}'),
        as_of_ms=st.none() | integers,
    )
)
def test_a_search_is_refused_or_can_be_sent_to_the_database(request: SearchRequest) -> None:
    if search_problem(request) is not None:
        return
    for text in (request.query, request.metadata, *request.sources):
        assert "\0" not in text
        text.encode()
    assert 1 <= request.k <= 100
    assert request.metadata == "" or isinstance(json.loads(request.metadata), dict)


# ── descriptions ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("peps", None),
        ("No Such Source", None),  # a question that can be answered: there is none
        ("", "source is empty"),
        (SURROGATE, "source is not text"),
        (NUL, "source has a NUL character"),
        ("x" * 201, "source has 201 characters"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_describe_problem(source: str, problem: str | None) -> None:
    found = describe_problem(DescribeRequest(source=source))
    assert found is None if problem is None else problem in str(found)


# ── waits ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"batch": 0}, None),
        ({"time_ms": 0}, None),
        ({"time_ms": -(10**30)}, None),  # compared here, so it may be any number
        (DOCUMENT, None),
        (RECORD, None),
        ({"batch": 1, "timeout_seconds": 0}, None),
        ({"batch": 1, "timeout_seconds": MAX_TIMEOUT_SECONDS}, None),
        # no target, a part of one, or several
        ({}, "name exactly one target"),
        ({"document_id": "a"}, "name exactly one target"),
        ({"version": 1}, "name exactly one target"),
        ({"topic": "t", "offset": 0}, "name exactly one target"),
        ({"batch": 1, "offset": 1}, "name exactly one target"),
        ({"batch": 1, "time_ms": 1}, "name exactly one target"),
        (DOCUMENT | {"topic": "t"}, "name exactly one target"),
        (RECORD | DOCUMENT | {"batch": 1, "time_ms": 1}, "name exactly one target"),
        # numbers that no column holds
        ({"batch": -1}, "batch is -1; give 0 to 9223372036854775807"),
        ({"batch": 2**63}, "batch is 9223372036854775808"),
        (RECORD | {"offset": -1}, "offset is -1"),
        (RECORD | {"offset": 2**63}, "offset is 9223372036854775808"),
        (RECORD | {"partition": -1}, "partition is -1"),
        (RECORD | {"partition": 2**31}, "partition is 2147483648; give 0 to 2147483647"),
        (DOCUMENT | {"version": -1}, "version is -1"),
        (DOCUMENT | {"version": 2**63}, "version is 9223372036854775808"),
        ({"batch": 1, "timeout_seconds": -1}, "timeout_seconds is -1; give 0 to 2592000"),
        ({"batch": 1, "timeout_seconds": 2_592_001}, "timeout_seconds is 2592001"),
        # texts that no column holds
        (RECORD | {"topic": NUL}, "topic has a NUL character at 1"),
        (RECORD | {"topic": SURROGATE}, "topic is not text"),
        (RECORD | {"topic_id": "id"}, None),
        (RECORD | {"topic_id": NUL}, "topic_id has a NUL character"),
        ({"batch": 1, "topic_id": "id"}, "topic_id belongs to topic, partition and offset"),
        (DOCUMENT | {"document_id": NUL}, "document_id has a NUL character"),
        (DOCUMENT | {"document_id": SURROGATE}, "document_id is not text"),
        ({"source": "", "batch": 1}, "source is empty"),
        ({"source": SURROGATE, "batch": 1}, "source is not text"),
        ({"source": NUL, "batch": 1}, "source has a NUL character"),
        ({"source": "x" * 201, "batch": 1}, "source has 201 characters"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_await_problem(fields: dict[str, Any], problem: str | None) -> None:
    found = await_problem(AwaitFreshRequest(**({"source": "peps"} | fields)))
    assert found is None if problem is None else problem in str(found)


@settings(deadline=None)
@given(
    st.builds(
        AwaitFreshRequest,
        source=anything,
        topic=st.none() | anything,
        partition=st.none() | integers,
        offset=st.none() | integers,
        document_id=st.none() | anything,
        version=st.none() | integers,
        batch=st.none() | integers,
        time_ms=st.none() | integers,
        timeout_seconds=integers,
    )
)
def test_a_wait_is_refused_or_can_be_started(request: AwaitFreshRequest) -> None:
    if await_problem(request) is not None:
        return
    workflow_id = await_workflow_id("t" * 63, request.source, "0" * 36)
    assert len(workflow_id.encode()) < 1_000  # the server's limit
    for number in (request.offset, request.version, request.batch):
        assert number is None or 0 <= number < 2**63


# ── identity of a wait ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_wait_belongs_to_one_call() -> None:
    first = await_workflow_id("billing", "peps", "one")
    assert first == await_workflow_id("billing", "peps", "one") == "await:billing:peps:one"
    assert first != await_workflow_id("billing", "peps", "other")
    assert first != await_workflow_id("billing", "docs", "one")
    assert first != await_workflow_id("other", "peps", "one")
    assert first.startswith(await_prefix("billing"))
    assert not first.startswith(await_prefix("bill"))
