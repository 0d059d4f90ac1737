"""What leaves the process holds no content; a collector that does not answer costs nothing but a log line."""

import logging
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, StatusCode
from temporalio.contrib.opentelemetry import TracingInterceptor

from tests.support.collector import collecting
from tests.support.polling import wait_until
from workers.tracing import delivery, interceptor, spans, switch
from workers.tracing.delivery import without_contents

CANARY = "heron-4711"


def test_only_what_is_known_to_hold_no_content_leaves() -> None:
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracer = provider.get_tracer("test")
    linked = tracer.start_span("linked").get_span_context()
    attributes = {"db.statement": CANARY, "freshet.source": "s", "url.full": CANARY}
    links = [Link(linked, {"text": CANARY})]
    with (
        pytest.raises(ValueError),
        tracer.start_as_current_span("step", attributes=attributes, links=links) as span,
    ):
        span.add_event("row", {"value": CANARY})
        span.set_status(StatusCode.ERROR, CANARY)
        raise ValueError(CANARY)
    [span] = kept.get_finished_spans()
    assert CANARY in span.to_json()
    cleaned = without_contents(span)
    assert CANARY not in cleaned.to_json()
    assert cleaned.attributes == {"freshet.source": "s"}
    assert [dict(event.attributes or {}) for event in cleaned.events] == [
        {"exception.type": "ValueError"}
    ]
    assert [link.context for link in cleaned.links] == [linked]
    assert cleaned.context == span.context
    assert cleaned.start_time == span.start_time
    assert cleaned.end_time == span.end_time
    assert not cleaned.status.is_ok


@pytest.fixture
def silent() -> Iterator[str]:
    """A collector that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The test ends with the threads that go on delivering: their library draws from the module `random`.

    A test of random inputs that runs beside them would see its state change.
    """
    made: list[delivery.Delivery] = []

    class Remembered(delivery.Delivery):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr(spans, "Delivery", Remembered)
    before = set(threading.enumerate())
    yield
    for one in made:
        one.shutdown()
    wait_until(lambda: set(threading.enumerate()) <= before)


@pytest.mark.usefixtures("ends")
@pytest.mark.parametrize("is_away", [True, False], ids=["away", "silent"])
def test_a_collector_that_does_not_answer_holds_up_nothing(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    silent: str,
    is_away: bool,
) -> None:
    monkeypatch.setattr(spans, "STOP_SECONDS", 0.2)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1" if is_away else silent)
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "64")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16")
    for known in delivery.logger.filters:
        known.reset()  # type: ignore[union-attr]
    switch.start("test")
    begun = time.monotonic()
    for _ in range(500):
        with switch.producing("topic"):
            pass
    switch.stop()
    assert time.monotonic() - begun < 5
    lost = [line for line in caplog.records if line.name == delivery.logger.name]
    assert [line.undelivered for line in lost] == [500]
    # Whatever is logged, it is a line per kind, not per span.
    assert len(caplog.records) < 10


def test_a_collector_that_refuses_is_named_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """500 is not tried again: the spans are lost, and the line has their number."""
    for known in delivery.logger.filters:
        known.reset()  # type: ignore[union-attr]
    with collecting() as collector, caplog.at_level(logging.WARNING):
        collector.status = 500
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        switch.start("test")
        for _ in range(20):
            with switch.producing("topic"):
                pass
        switch.stop()
    [line] = [line for line in caplog.records if line.name == delivery.logger.name]
    assert line.undelivered == 20
    assert collector.requests == 1


def test_the_header_is_the_one_that_temporal_reads() -> None:
    assert TracingInterceptor().header_key == interceptor._HEADER
