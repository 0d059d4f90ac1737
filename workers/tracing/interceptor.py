"""Temporal's tracing interceptor, so that spans continue what a record or a caller began, and only that.

- Entities and deliveries live for ever: the trace of what started them would never end. They are always started with a
  signal, and such a start carries no context. So nothing that they do by themselves makes a span.
- A batch joins what its references carry (`freshet.batch`), a notice continues what the batch carries
  (`freshet.notice`).
- Below these, and below a call of another team, the workflows and activities are Temporal's spans.
- An activity knows its span's context (`corpus.trace.context.current`), so that publishing keeps it.
"""

from collections.abc import Callable
from typing import Any

from opentelemetry.trace import SpanKind, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from temporalio import client, worker, workflow
from temporalio.contrib.opentelemetry import (
    TracingInterceptor,
    TracingWorkflowInboundInterceptor,
)
from temporalio.converter import PayloadConverter

from corpus.batch import BatchInput, staged_refs
from corpus.service import BatchNotice
from corpus.trace import context as trace_context
from workers.tracing.spans import Spans, Value, mark_failed

_COMPLETED = "freshet_completed_span"
Completed = Callable[..., str]  # `Spans.completed`
# Temporal's interceptor reads the context of a workflow and of an activity there.
_HEADER = "_tracer-data"
# Alone: the baggage of a caller would go into histories, whatever it holds.
_W3C = TraceContextTextMapPropagator()


class TraceInterceptor(client.Interceptor, worker.Interceptor):
    """For the client and the workers of a process that makes spans.

    Args:
        spans: of the process.
    """

    def __init__(self, spans: Spans) -> None:
        self._spans = spans
        self._temporal = TracingInterceptor(spans.tracer)
        self._temporal.text_map_propagator = _W3C

    def intercept_client(
        self, next: client.OutboundInterceptor
    ) -> client.OutboundInterceptor:
        return _Client(next, self._temporal.intercept_client(next))

    def intercept_activity(
        self, next: worker.ActivityInboundInterceptor
    ) -> worker.ActivityInboundInterceptor:
        return _Activity(next, self._temporal.intercept_activity(_InSpan(next)))

    def intercept_nexus_operation(
        self, next: worker.NexusOperationInboundInterceptor
    ) -> worker.NexusOperationInboundInterceptor:
        return self._temporal.intercept_nexus_operation(next)

    def workflow_interceptor_class(
        self, input: worker.WorkflowInterceptorClassInput
    ) -> type[worker.WorkflowInboundInterceptor]:
        self._temporal.workflow_interceptor_class(input)
        input.unsafe_extern_functions[_COMPLETED] = self._spans.completed  # pyright: ignore[reportUnknownMemberType]
        return _Workflow


class _Client(client.OutboundInterceptor):
    """Temporal's spans where a workflow is started below a span; a start with a signal carries no context."""

    def __init__(
        self, next: client.OutboundInterceptor, traced: client.OutboundInterceptor
    ) -> None:
        super().__init__(next)
        self._traced = traced

    async def start_workflow(
        self, input: client.StartWorkflowInput
    ) -> client.WorkflowHandle[Any, Any]:
        span = get_current_span()
        context = span.get_span_context()
        if not context.is_valid:
            return await self.next.start_workflow(input)
        if input.start_signal:
            return await self.next.start_workflow(input)
        return await self._traced.start_workflow(input)


class _Activity(worker.ActivityInboundInterceptor):
    """Temporal's span where the caller has one."""

    def __init__(
        self,
        next: worker.ActivityInboundInterceptor,
        traced: worker.ActivityInboundInterceptor,
    ) -> None:
        super().__init__(next)
        self._traced = traced

    async def execute_activity(self, input: worker.ExecuteActivityInput) -> Any:
        if _HEADER in input.headers:
            return await self._traced.execute_activity(input)
        return await self.next.execute_activity(input)


class _InSpan(worker.ActivityInboundInterceptor):
    """Lets the activity know its span's context, and the span the class of the activity's error."""

    async def execute_activity(self, input: worker.ExecuteActivityInput) -> Any:
        carrier: dict[str, str] = {}
        _W3C.inject(carrier)
        token = trace_context.current.set(carrier.get(trace_context.HEADER, ""))
        try:
            return await self.next.execute_activity(input)
        except Exception as error:
            mark_failed(get_current_span(), error)
            raise
        finally:
            trace_context.current.reset(token)


class _Workflow(TracingWorkflowInboundInterceptor):
    """Temporal's spans, behind ours."""

    def __init__(self, next: worker.WorkflowInboundInterceptor) -> None:
        super().__init__(_Joining(next))
        self.text_map_propagator = _W3C


class _Joining(worker.WorkflowInboundInterceptor):
    """Puts ours before Temporal's, which has wrapped `outbound` when it comes here."""

    def init(self, outbound: worker.WorkflowOutboundInterceptor) -> None:
        super().init(_Outbound(outbound))


class _Outbound(worker.WorkflowOutboundInterceptor):
    """Gives batches and notices the context that they continue. A replay makes no span."""

    async def start_child_workflow(
        self, input: worker.StartChildWorkflowInput
    ) -> workflow.ChildWorkflowHandle[Any, Any]:
        batch = next(iter(input.args), None)
        is_replaying = workflow.unsafe.is_replaying()
        if isinstance(batch, BatchInput) and not is_replaying:
            traceparent = _batch_span(batch)
            carrier = trace_context.call_headers(traceparent)
            converter = PayloadConverter.default
            payload = converter.to_payload(carrier)
            input.headers = {**input.headers, _HEADER: payload}
        return await self.next.start_child_workflow(input)

    async def start_nexus_operation(
        self, input: worker.StartNexusOperationInput[Any, Any]
    ) -> workflow.NexusOperationHandle[Any]:
        headers = input.headers or {}
        published = headers.get(trace_context.HEADER)
        is_replaying = workflow.unsafe.is_replaying()
        if published and not is_replaying:
            traceparent = _notice_span(input.input, published)
            own = trace_context.call_headers(traceparent)
            input.headers = {**headers, **own}
        return await self.next.start_nexus_operation(input)


def _batch_span(batch: BatchInput) -> str:
    refs = staged_refs(batch.order)
    records = [ref.records for ref in refs]
    carried = [ref.traceparent for ref in refs]
    attributes: dict[str, Value] = {
        "freshet.source": batch.source,
        "freshet.batch": batch.batch,
        "freshet.references": len(refs),
        "freshet.records": sum(records),
    }
    return _completed_span("freshet.batch", SpanKind.INTERNAL, carried, attributes)


def _notice_span(notice: object, traceparent: str) -> str:
    attributes: dict[str, Value] = {}
    if isinstance(notice, BatchNotice):
        attributes = {
            "freshet.source": notice.source,
            "freshet.batch": notice.batch,
        }
    return _completed_span("freshet.notice", SpanKind.CLIENT, [traceparent], attributes)


def _completed_span(
    name: str, kind: SpanKind, carried: list[str], attributes: dict[str, Value]
) -> str:
    info = workflow.info()
    time_ns = workflow.time_ns()
    of_run: dict[str, Value] = {
        "temporalWorkflowID": info.workflow_id,
        "temporalRunID": info.run_id,
        **attributes,
    }
    functions: dict[str, Any] = {**workflow.extern_functions()}  # pyright: ignore[reportUnknownMemberType]
    completed: Completed = functions[_COMPLETED]
    return completed(
        name,
        kind,
        carried,
        of_run,
        time_ns,
    )
