"""A trace leads from a record's headers to the notice that a team gets, on real services and a real collector."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from nexusrpc.handler import StartOperationContext, service_handler, sync_operation
from opentelemetry.sdk.trace import TracerProvider
from temporalio.contrib.opentelemetry import TracingInterceptor
from temporalio.worker import Worker

from corpus.service import (
    AwaitFreshRequest,
    BatchNotice,
    BatchSubscriberService,
    NoticeAck,
    SearchRequest,
    SearchResponse,
)
from corpus.source import SourceSpec
from examples.team.workflows import AskWorkflow, Question
from tests.support.collector import Collector, Seen, collecting
from tests.support.fleet import Fleet, fleet
from tests.support.pipeline import make_event
from tests.support.polling import until
from tests.support.team_env import Env, gateway_of
from workers.tracing import switch

pytestmark = [pytest.mark.service, pytest.mark.timeout(120)]
CANARY = "heron-4711"


@service_handler(service=BatchSubscriberService)
class Team:
    """Keeps the header of each notice."""

    def __init__(self) -> None:
        self.headers: list[str] = []

    @sync_operation
    async def batch_published(
        self, context: StartOperationContext, notice: BatchNotice
    ) -> NoticeAck:
        self.headers.append(context.headers.get("traceparent", ""))
        return NoticeAck(notice_id=notice.notice_id)


@dataclass
class Traced:
    """A fleet that makes traces, and a team that does not."""

    fleet: Fleet
    team: Team
    env: Env
    collector: Collector

    async def subscribe(self, source: str, topic: str) -> None:
        self.fleet.add_source(SourceSpec(source=source, topics=(topic,)))
        await self.env.reconcile(self.env.subscriber(source))

    def send(self, topic: str, event: dict[str, Any], *traceparents: bytes) -> None:
        headers = [("traceparent", value) for value in traceparents]
        key, value = event["id"].encode(), json.dumps(event).encode()
        self.fleet.producer.produce(topic, value, key=key, headers=headers)

    def flush(self) -> None:
        assert self.fleet.producer.flush(30) == 0

    async def notice_span(self, header: str) -> Seen:
        """The span that the header of a notice names."""

        def seen() -> list[Seen]:
            return [span for span in self.collector.spans if span.span_id in header]

        [span] = await until(seen)
        return span


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """What this process traces arrives here, soon."""
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        switch.start("test")
        yield collector
        switch.stop()


@pytest.fixture
async def traced(
    collector: Collector, env: Env, temporal_env: Any, kafka_bootstrap: str, tmp_path: Path
) -> AsyncIterator[Traced]:
    client = await temporal_env.client(env.client.namespace, interceptors=switch.interceptors())
    team = Team()
    async with (
        Worker(env.team, task_queue="team-search", nexus_service_handlers=[team]),
        fleet(
            client, env.database_url, kafka_bootstrap, tmp_path, switch.staging_span()
        ) as running,
    ):
        yield Traced(running, team, replace(env, client=client), collector)


def traceparent() -> tuple[str, str, bytes]:
    """Trace, span, and both as a header."""
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    return trace, span, f"00-{trace}-{span}-01".encode()


async def test_one_trace_leads_from_a_record_to_the_notice(
    traced: Traced, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    await traced.subscribe("story", topic)
    trace, span, header = traceparent()
    traced.send(topic, make_event("sluices", 1, f"# Sluices\n\nThe {CANARY} opens them."), header)
    traced.flush()
    [received] = await until(lambda: traced.team.headers)
    notice = await traced.notice_span(received)
    assert notice.name == "freshet.notice"
    assert notice.trace_id == trace
    assert span in traced.collector.origins(notice)
    assert notice.attributes["freshet.source"] == "story"
    of_trace = {found.name for found in traced.collector.spans if found.trace_id == trace}
    steps = {f"RunActivity:corpus.{step}" for step in ("prepare", "embed", "publish")}
    assert {"freshet.stage", "freshet.batch", "freshet.notice", *steps} <= of_trace
    [staged] = traced.collector.named("freshet.stage")
    assert staged.parent_id == span
    assert staged.attributes["messaging.destination.name"] == topic
    # Nothing that the entity or the delivery does by itself is a span.
    assert {found.trace_id for found in traced.collector.spans} == {trace}
    # Promise 10: no text, no id of a document.
    assert CANARY.encode() not in traced.collector.received
    assert b"sluices" not in traced.collector.received.lower()


async def test_records_that_are_published_together_are_linked(
    traced: Traced, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    await traced.subscribe("many", topic)
    contexts = [traceparent() for _ in range(3)]
    for number, (_, _, header) in enumerate(contexts):
        traced.send(topic, make_event(f"d{number}", 1, f"Document {number}."), header)
    malformed = [b"\xff\xfe", b"", b"00-abc-def-01", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01"]
    for number, header in enumerate(malformed):
        traced.send(topic, make_event(f"m{number}", 1, f"Malformed {number}."), header)
    # Of two contexts none is believed.
    twice = traceparent()[2], traceparent()[2]
    traced.send(topic, make_event("twice", 1, "Twice."), *twice)
    traced.send(topic, make_event("none", 1, "Without."))
    traced.flush()
    await traced.fleet.drained()
    assert len(traced.fleet.visible("many")) == 9
    batches = traced.fleet.rows("SELECT batch FROM freshet.batch")
    headers = await until(
        lambda: traced.team.headers if len(traced.team.headers) == len(batches) else None
    )
    reached: set[str] = set()
    for header in headers:
        reached |= traced.collector.origins(await traced.notice_span(header))
    assert {span for _, span, _ in contexts} <= reached
    assert {trace for trace, _, _ in contexts} <= reached


async def test_an_error_shows_its_class_and_no_content(
    traced: Traced, make_topic: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = make_topic()
    await traced.subscribe("failing", topic)
    embed = traced.fleet.embedder.embed_tokens
    failures = iter([RuntimeError(f"cannot embed {CANARY}")])

    def fail_once(token_ids: Any) -> Any:
        for failure in failures:
            raise failure
        return embed(token_ids)

    monkeypatch.setattr(traced.fleet.embedder, "embed_tokens", fail_once)
    traced.send(topic, make_event("a", 1, "One."), traceparent()[2])
    traced.flush()
    await until(lambda: traced.team.headers)
    await asyncio.to_thread(switch.stop)
    failed = [span for span in traced.collector.spans if span.has_failed]
    assert [span.name for span in failed] == ["RunActivity:corpus.embed"]
    assert failed[0].attributes["error.type"] == "RuntimeError"
    # It left the activity as Temporal's form of it.
    assert failed[0].events == ({"exception.type": "temporalio.exceptions.ApplicationError"},)
    assert CANARY.encode() not in traced.collector.received


async def test_a_batch_that_no_record_traces_begins_a_trace(
    traced: Traced, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    await traced.subscribe("plain", topic)
    traced.send(topic, make_event("a", 1, "One."))
    traced.flush()
    [received] = await until(lambda: traced.team.headers)
    notice = await traced.notice_span(received)
    [staged] = traced.collector.named("freshet.stage")
    assert staged.parent_id == ""
    assert notice.trace_id == staged.trace_id


async def test_a_call_of_a_team_continues_its_trace(traced: Traced, temporal_env: Any) -> None:
    env = traced.env
    await env.reconcile()
    of_team = TracerProvider().get_tracer("team")
    interceptors = [TracingInterceptor(of_team)]
    team = await temporal_env.client(env.team.namespace, interceptors=interceptors)
    request = SearchRequest(query=CANARY, k=1, sources=("peps",))
    searches = Question(search=request, endpoint=env.corpus_endpoint)
    wait = AwaitFreshRequest(source="peps", batch=1, timeout_seconds=0)
    signs = env.identity()
    async with (
        gateway_of(env, lambda _reader, _request: SearchResponse(hits=())),
        Worker(team, task_queue="asking", workflows=[AskWorkflow], interceptors=signs),
    ):
        with of_team.start_as_current_span("ask") as span:
            for question in (searches, replace(searches, wait_for=wait)):
                await team.execute_workflow(
                    AskWorkflow.run, question, id="ask", task_queue="asking"
                )
    await asyncio.to_thread(switch.stop)
    trace = format(span.get_span_context().trace_id, "032x")
    assert {found.trace_id for found in traced.collector.spans} == {trace}
    assert {found.name for found in traced.collector.spans} >= {
        "RunStartNexusOperationHandler:freshet.corpus.v1/search",
        "RunStartNexusOperationHandler:freshet.corpus.v1/await_fresh",
        "StartWorkflow:AwaitFreshWorkflow",
        "RunWorkflow:AwaitFreshWorkflow",
    }
    assert CANARY.encode() not in traced.collector.received
