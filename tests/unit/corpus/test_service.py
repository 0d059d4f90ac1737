"""The contract with other teams: its names stay, and its types survive the wire."""

from dataclasses import replace

import pytest
from temporalio.converter import DataConverter

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
from freshness.report import FreshnessReport, FreshnessSnapshot

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
        FreshnessSnapshot(
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
