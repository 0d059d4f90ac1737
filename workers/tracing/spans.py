"""Spans that join what records and batches carry, and the provider behind all spans of a process."""

import logging
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice

from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from temporalio.common import MetricMeter
from temporalio.exceptions import ApplicationError

from corpus.retry import NoLongerNeededError
from corpus.trace import context as trace_context
from ingest.event import KafkaRecord
from ingest.stage import OffsetRange
from workers.tracing.delivery import Delivery, Ended

logger = logging.getLogger(__name__)

MAX_LINKS = 64
STOP_SECONDS = 3.0
_SERVICE = "freshet"
_NO_SERVICE = "unknown_service"  # OpenTelemetry's name where there is none
# W3C Trace Context asks for this much to be passed on.
_MAX_STATE_BYTES = 512
_W3C = TraceContextTextMapPropagator()

Value = str | int
# `traceparent` and `tracestate`; None: there is none.
Carried = tuple[bytes, bytes] | None


class Spans:
    """Makes the spans of one process; `stop` delivers the last ones.

    Spans begin where a record, a batch or a call of another team begins something. What they join they name:

    - all of it carries one and the same context: that is the parent, and the trace continues
    - else a new trace begins, with links to at most `MAX_LINKS` contexts; the others are counted

    Args:
        role: of the process.
        meter: counts the spans.

    Raises:
        ValueError: OpenTelemetry cannot use a variable of the environment.
    """

    def __init__(self, role: str, meter: MetricMeter) -> None:
        ended = Ended(meter)
        self._delivery = Delivery(ended, meter)
        queue = BatchSpanProcessor(self._delivery)
        provider = TracerProvider(
            resource=_resource(role),
            shutdown_on_exit=False,
        )
        provider.add_span_processor(ended)
        provider.add_span_processor(queue)
        self.tracer = provider.get_tracer(_SERVICE)
        self._provider = provider

    def stop(self) -> None:
        """Deliver what is left, for at most `STOP_SECONDS`: a collector that does not answer holds up no process."""
        delivering = threading.Thread(
            target=self._provider.shutdown,
            name="spans",
            daemon=True,
        )
        delivering.start()
        delivering.join(STOP_SECONDS)
        self._delivery.report_undelivered()

    @contextmanager
    def staging(
        self, records: Sequence[KafkaRecord], offsets: OffsetRange
    ) -> Generator[str]:
        """The span of a micro-batch; gives its `traceparent`."""
        carried = [carried_by(record) for record in records]
        span = self._joining(
            "freshet.stage",
            SpanKind.CONSUMER,
            carried,
            {
                "messaging.system": "kafka",
                "messaging.operation.type": "process",
                "messaging.destination.name": offsets.topic,
                "messaging.destination.partition.id": str(offsets.partition),
                "messaging.batch.message_count": len(records),
                "freshet.first_offset": offsets.first_offset,
                "freshet.next_offset": offsets.next_offset,
                "freshet.records_without_context": carried.count(None),
            },
        )
        with _ending(span) as traceparent:
            yield traceparent

    @contextmanager
    def producing(self, topic: str) -> Generator[dict[str, str]]:
        """The span of records that are sent; gives their headers."""
        attributes = {
            "messaging.system": "kafka",
            "messaging.operation.type": "send",
            "messaging.destination.name": topic,
        }
        span = self._joining("freshet.produce", SpanKind.PRODUCER, (), attributes)
        with _ending(span) as traceparent:
            yield trace_context.call_headers(traceparent)

    def completed(
        self,
        name: str,
        kind: SpanKind,
        traceparents: Sequence[str],
        attributes: Mapping[str, Value],
        time_ns: int,
    ) -> str:
        """A span of a workflow, which has no duration (it would not survive a replay); gives its `traceparent`.

        Args:
            name: of the span.
            kind: of the span.
            traceparents: of what it joins; empty ones stand for what carries none.
            attributes: of the span.
            time_ns: the workflow's time, epoch nanoseconds.
        """
        carried = [(text.encode(), b"") if text else None for text in traceparents]
        span = self._joining(name, kind, carried, attributes, time_ns)
        span.end(time_ns)
        return _traceparent(span.get_span_context())

    def _joining(
        self,
        name: str,
        kind: SpanKind,
        carried: Sequence[Carried],
        attributes: Mapping[str, Value],
        time_ns: int | None = None,
    ) -> Span:
        distinct = dict.fromkeys(carried)
        unread = iter(distinct)
        wellformed = filter(None, map(_context_of, unread))
        contexts = list(islice(wellformed, MAX_LINKS))
        left_out = sum(one is not None for one in unread)
        parent = Context()
        if len(distinct) == 1 and contexts:
            parent = set_span_in_context(NonRecordingSpan(contexts.pop()), parent)
        links = [Link(context) for context in contexts]
        return self.tracer.start_span(
            name,
            parent,
            kind,
            {**attributes, "freshet.contexts_left_out": left_out},
            links,
            time_ns,
        )


def _resource(role: str) -> Resource:
    """The process, as its spans name it; the environment may name the service."""
    resource = Resource.create({"freshet.role": role})
    service = resource.attributes.get(SERVICE_NAME)
    if not str(service).startswith(_NO_SERVICE):
        return resource
    named = Resource({SERVICE_NAME: _SERVICE})
    return resource.merge(named)


def carried_by(record: KafkaRecord) -> Carried:
    """The headers of a record that hold a context, unread; None where it has none, or several."""
    traceparents: list[bytes | None] = []
    states: list[bytes] = []
    for name, value in record.headers:
        match name.lower():
            case trace_context.HEADER:
                traceparents.append(value)
            case "tracestate":
                states.append(value or b"")
            case _:
                pass
    # Of several, none is believed.
    if len(traceparents) != 1:
        return None
    return traceparents[0] or b"", b",".join(states)


def _context_of(carried: Carried) -> SpanContext | None:
    """What the headers say; None where they are malformed."""
    if carried is None:
        return None
    traceparent, state = carried
    if len(state) > _MAX_STATE_BYTES:
        state = b""
    headers = {
        trace_context.HEADER: traceparent.decode("ascii", "replace"),
        "tracestate": state.decode("ascii", "replace"),
    }
    extracted = _W3C.extract(headers, Context())
    span = get_current_span(extracted)
    context = span.get_span_context()
    if not context.is_valid:
        return None
    return context


def _traceparent(context: SpanContext) -> str:
    return (
        f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    )


def mark_failed(span: Span, error: BaseException) -> None:
    """The class of an error; its message stays in the log, since that of a library may hold what a document holds."""
    kind = type(error).__name__
    if isinstance(error, ApplicationError):
        name = error.type or ""
        # Ours name their class; another may hold anything.
        if name.isidentifier():
            kind = name
    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR)


@contextmanager
def _ending(span: Span) -> Generator[str]:
    """End the span with the body; gives its `traceparent`."""
    try:
        yield _traceparent(span.get_span_context())
    except NoLongerNeededError:
        raise
    except Exception as error:
        mark_failed(span, error)
        raise
    finally:
        span.end()
