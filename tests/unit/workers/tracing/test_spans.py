"""What records carry becomes the parent or the links of a span, and never fails a record."""

import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from corpus.retry import NoLongerNeededError
from corpus.source import SourceSpec
from corpus.staging.store import StagingStore
from ingest.event import KafkaRecord
from ingest.stage import OffsetRange, stage
from tests.support.fix_spans import Kept
from workers.tracing import switch
from workers.tracing.spans import MAX_LINKS

OFFSETS = OffsetRange(
    cluster_id="c", topic="t", topic_id="i", partition=3, first_offset=5, next_offset=9
)


def context() -> bytes:
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01".encode()


def record(*headers: tuple[str, bytes | None]) -> KafkaRecord:
    return KafkaRecord(
        topic="t", partition=3, offset=5, timestamp_ms=0, key=b"k", value=b"v", headers=headers
    )


def staged(spans: Kept, *records: KafkaRecord) -> Any:
    """The span of these records, and what it gave its body."""
    with switch.staging_span()(records, OFFSETS) as traceparent:
        pass
    switch.stop()
    span = spans.named("freshet.stage")
    assert format(span.context.span_id, "016x") in traceparent
    return span


def traces(span: Any) -> list[str]:
    return [format(link.context.trace_id, "032x") for link in span.links]


def test_one_context_of_all_records_is_the_parent(spans: Kept) -> None:
    header = context()
    state = ("tracestate", b"vendor=1")
    span = staged(spans, *[record(("traceparent", header), state)] * 3)
    assert format(span.parent.span_id, "016x").encode() in header
    assert format(span.context.trace_id, "032x").encode() in header
    assert span.parent.trace_state["vendor"] == "1"
    assert traces(span) == []
    assert span.attributes["messaging.batch.message_count"] == 3
    assert span.attributes["messaging.destination.partition.id"] == "3"


def test_a_context_of_some_records_is_a_link(spans: Kept) -> None:
    header = context()
    span = staged(spans, record(("Traceparent", header)), record())
    assert span.parent is None
    assert traces(span) == [header.decode()[3:35]]
    assert span.attributes["freshet.records_without_context"] == 1


def test_links_are_distinct_and_bounded_and_the_others_are_counted(spans: Kept) -> None:
    headers = [context() for _ in range(MAX_LINKS + 6)]
    span = staged(spans, *[record(("traceparent", header)) for header in headers * 2])
    assert traces(span) == [header.decode()[3:35] for header in headers[:MAX_LINKS]]
    assert span.attributes["freshet.contexts_left_out"] == 6


MALFORMED = [
    b"",
    b"\xff\xfe\x00",
    b"00-1-2-01",
    b"ff-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01",
    b"00-" + b"0" * 32 + b"-" + b"b" * 16 + b"-01",
    b"00-" + b"a" * 32 + b"-" + b"0" * 16 + b"-01",
    b"00-" + b"A" * 32 + b"-" + b"b" * 16 + b"-01",
    b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01-more",
    b"x" * 1_000_000,
    None,
]


@pytest.mark.parametrize("header", MALFORMED, ids=lambda value: repr(value)[:30])
def test_a_malformed_context_is_ignored(spans: Kept, header: bytes | None) -> None:
    span = staged(spans, record(("traceparent", header)))
    assert (span.parent, traces(span)) == (None, [])


def test_of_two_contexts_of_a_record_none_is_believed(spans: Kept) -> None:
    span = staged(spans, record(("traceparent", context()), ("traceparent", context())))
    assert (span.parent, traces(span)) == (None, [])


@pytest.mark.parametrize("state", [b"\xff", b"no value", b"a=" + b"b" * 600, b""])
def test_a_state_that_cannot_be_used_costs_only_itself(spans: Kept, state: bytes) -> None:
    header = context()
    span = staged(spans, record(("traceparent", header), ("tracestate", state)))
    assert format(span.context.trace_id, "032x").encode() in header
    assert len(span.parent.trace_state or {}) == 0


def test_a_record_that_is_not_sampled_stays_so(spans: Kept) -> None:
    header = context()[:-2] + b"00"
    with switch.staging_span()([record(("traceparent", header))], OFFSETS) as traceparent:
        assert traceparent[3:35] == header.decode()[3:35]
        assert int(traceparent[-2:], 16) & 1 == 0
    switch.stop()
    assert spans.ended == []


def test_an_error_leaves_its_class(spans: Kept) -> None:
    with pytest.raises(ValueError), switch.staging_span()([], OFFSETS):
        raise ValueError("secret row")
    switch.stop()
    span = spans.named("freshet.stage")
    assert span.attributes["error.type"] == "ValueError"
    assert not span.status.is_ok
    assert "secret" not in span.to_json()


def test_what_is_no_longer_needed_is_no_error(spans: Kept) -> None:
    with pytest.raises(NoLongerNeededError), switch.staging_span()([], OFFSETS):
        raise NoLongerNeededError("closed")
    switch.stop()
    assert spans.named("freshet.stage").status.is_ok


def test_what_is_produced_carries_the_context(spans: Kept) -> None:
    with switch.producing("t") as headers:
        pass
    switch.stop()
    span = spans.named("freshet.produce")
    assert format(span.context.span_id, "016x") in headers["traceparent"]
    assert span.resource.attributes["service.name"] == "freshet"
    assert span.resource.attributes["freshet.role"] == "test"


def test_a_reference_carries_the_context_of_its_staging(spans: Kept, tmp_path: Path) -> None:
    spec = SourceSpec(source="s", topics=("t",))
    records = [record(("traceparent", context()))]
    with switch.staging_span()(records, OFFSETS) as traceparent:
        offsets = replace(OFFSETS, traceparent=traceparent)
        reference = stage(records, spec, offsets, StagingStore(tmp_path.as_uri()))
    assert reference.traceparent == traceparent
