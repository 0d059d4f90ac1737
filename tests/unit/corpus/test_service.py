"""The contract with other teams: its names stay, its types survive the wire, bad requests are told apart."""

from dataclasses import replace

import pytest
from temporalio.converter import DataConverter

from corpus.answer.service_handler import await_problem, await_workflow_id, search_problem
from corpus.deliver.subscription import NextNotice, WakeDeliveries
from corpus.service import (
    AwaitFreshRequest,
    AwaitFreshResponse,
    BatchNotice,
    BatchSubscriberService,
    Change,
    CorpusService,
    NoticeAck,
    OffsetRange,
    SearchHit,
    SearchRequest,
    SearchResponse,
    SourceDescription,
    WaitOutcome,
)
from corpus.source import FreshnessSpec
from freshness.policy import FreshnessStatus
from freshness.report import FreshnessReport, Measurement

NOTICE = BatchNotice(
    notice_id="peps:1",
    source="peps",
    batch=1,
    kind="ingest",
    published_at_ms=1,
    previous_batch=0,
    ranges=(OffsetRange(topic="t", partition=0, first_offset=0, next_offset=1),),
    changes=(Change(document_id="a", version=1, change="written"),),
)
HIT = SearchHit(
    source="peps", document_id="a", version=1, text="x", score=0.5, metadata='{"a": [1]}'
)
SPEC = FreshnessSpec(warn_after_seconds=1)


@pytest.mark.parametrize(
    "value",
    [
        NOTICE,
        NoticeAck(notice_id="peps:1"),
        NextNotice(endpoint="e", notice=NOTICE),
        WakeDeliveries(source="peps", batch=1, subscribers=("a", "b")),
        SearchRequest(query="x", sources=("peps",), metadata='{"a": 1}', as_of_ms=1),
        SearchResponse(hits=(HIT, replace(HIT, heading="h"))),
        SourceDescription(source="peps", state="active"),
        AwaitFreshRequest(source="peps", batch=1),
        AwaitFreshResponse(reached=False, why=WaitOutcome.DEAD_LETTERED, batch=1),
        Measurement(
            source="peps", snapshotted_at_ms=1, spec=SPEC, last_batch=1, documents=1, overdue=0
        ),
        FreshnessReport(
            source="peps",
            status=FreshnessStatus.RUNTIME_ERROR,
            snapshotted_at_ms=None,
            spec=SPEC,
            duration_seconds=0.1,
            workflow_id="w",
            run_id="r",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_types_survive_the_wire(value):
    converter = DataConverter.default
    assert await converter.decode(await converter.encode([value]), [type(value)]) == [value]


def test_names_on_the_wire_do_not_change():
    named = {
        service: service.__nexus_service_definition__
        for service in (CorpusService, BatchSubscriberService)
    }
    operations = {
        definition.name: sorted(definition.operation_definitions) for definition in named.values()
    }
    assert operations == {
        "freshet.corpus.v1": ["await_fresh", "describe_source", "search"],
        "freshet.subscriber.v1": ["batch_published"],
    }


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, None),
        ({"query": " "}, "query has 1 characters"),
        ({"query": "x" * 10_001}, "query has 10001 characters"),
        ({"k": 101}, "k is 101; give 1 to 100"),
        ({"mode": "fuzzy"}, "mode is 'fuzzy'; give one of vector, text, hybrid"),
        ({"metadata": "{"}, "metadata is not JSON"),
        ({"metadata": "[1]"}, "metadata is list; give a JSON object"),
    ],
)
def test_search_problem(fields, says):
    problem = search_problem(SearchRequest(**({"query": "x"} | fields)))
    assert problem is None if says is None else says in problem


@pytest.mark.parametrize(
    ("fields", "right"),
    [
        ({"batch": 0}, True),
        ({"time_ms": 0}, True),
        ({"document_id": "a", "version": 0}, True),
        ({"topic": "t", "partition": 0, "offset": 0}, True),
        ({}, False),
        ({"document_id": "a"}, False),
        ({"version": 1}, False),
        ({"topic": "t", "offset": 0}, False),
        ({"batch": 1, "offset": 1}, False),
        ({"batch": 1, "timeout_seconds": 30 * 86_400 + 1}, False),
    ],
)
def test_await_problem(fields, right):
    assert (await_problem(AwaitFreshRequest(source="peps", **fields)) is None) is right


def test_the_same_wait_is_the_same_workflow():
    wait = AwaitFreshRequest(source="peps", batch=1)
    assert await_workflow_id(wait) == await_workflow_id(replace(wait))
    assert await_workflow_id(wait) != await_workflow_id(replace(wait, batch=2))
    assert await_workflow_id(wait).startswith("await:peps:")
