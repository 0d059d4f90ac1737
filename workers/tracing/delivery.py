"""What leaves the process: spans without contents, counted, and few log lines about a collector that is away."""

import logging
import threading
from collections.abc import Mapping, Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Link, Status
from opentelemetry.util.types import AttributeValue
from temporalio.common import MetricMeter

from corpus.log_limit import LogLimit

logger = logging.getLogger(__name__)
logger.addFilter(LogLimit())

# Whatever else a library sets stays here: it may hold what a document or a row holds.
_PREFIXES = ("freshet.", "messaging.", "temporal")
_NAMES = frozenset({"error.type", "exception.type"})
# They log every failure, one or several per request.
_CHATTY = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.sdk._shared_internal",
)


class Ended(SpanProcessor):
    """Counts the spans that are to be delivered."""

    def __init__(self, meter: MetricMeter) -> None:
        self._lock = threading.Lock()
        self._counter = meter.create_counter(
            "freshet_spans_ended", "spans that are to be delivered"
        )
        self.spans = 0

    def on_end(self, span: ReadableSpan) -> None:
        context = span.get_span_context()
        if context is None or not context.trace_flags.sampled:
            return
        self._counter.add(1)
        with self._lock:
            self.spans += 1


class Delivery(SpanExporter):
    """Sends spans to the collector that the environment names, without contents.

    Args:
        ended: counts what is to be delivered.
        meter: counts what is delivered.

    Raises:
        ValueError: a variable of the environment cannot be used.
    """

    def __init__(self, ended: Ended, meter: MetricMeter) -> None:
        limit_lines()
        self._counter = meter.create_counter(
            "freshet_spans_delivered", "spans that reached the collector"
        )
        self._ended = ended
        self._collector = OTLPSpanExporter()
        self.delivered = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        cleaned = [without_contents(span) for span in spans]
        result = self._collector.export(cleaned)
        if result is SpanExportResult.SUCCESS:
            self._counter.add(len(spans))
            self.delivered += len(spans)
        else:
            self.report_undelivered()
        return result

    def shutdown(self) -> None:
        self._collector.shutdown()

    def report_undelivered(self) -> None:
        """Write one line, at most once per minute, where spans of this process have not reached the collector."""
        undelivered = self._ended.spans - self.delivered
        if undelivered:
            extra = {
                "action": "spans_undelivered",
                "kind": "undelivered",
                "undelivered": undelivered,
                "delivered": self.delivered,
            }
            logger.warning("spans did not reach the collector", extra=extra)


def without_contents(span: ReadableSpan) -> ReadableSpan:
    """The span with what is known to hold no content: our attributes, and of an error its class.

    The message of an error, its trace and the description of a status may hold the text of a document or a row.
    """
    events = [
        Event(event.name, _harmless(event.attributes), event.timestamp)
        for event in span.events
        if event.name == "exception"
    ]
    return ReadableSpan(
        name=span.name,
        context=span.get_span_context(),
        parent=span.parent,
        resource=span.resource,
        attributes=_harmless(span.attributes),
        events=events,
        links=[Link(link.context) for link in span.links],
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _harmless(
    attributes: Mapping[str, AttributeValue] | None,
) -> dict[str, AttributeValue]:
    return {
        name: value
        for name, value in (attributes or {}).items()
        if name in _NAMES or name.startswith(_PREFIXES)
    }


def limit_lines() -> None:
    """Let each kind of line of OpenTelemetry's libraries pass once per minute."""
    for name in _CHATTY:
        library = logging.getLogger(name)
        if _BY_MESSAGE in library.filters:
            continue
        library.addFilter(_BY_MESSAGE)
        library.addFilter(LogLimit())


class _ByMessage(logging.Filter):
    """Gives a line its message as its kind, for `LogLimit`."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.kind = record.msg
        return True


_BY_MESSAGE = _ByMessage()
