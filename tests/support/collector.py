"""A collector of OpenTelemetry in this process: it takes OTLP over HTTP on loopback and keeps the spans."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Seen:
    """A span that arrived; ids are in hex."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str  # empty: it is a root
    links: tuple[str, ...]  # ids of spans
    linked_traces: tuple[str, ...]
    attributes: dict[str, Any]
    events: tuple[dict[str, Any], ...]
    has_failed: bool
    role: str


@dataclass
class Collector:
    """What has arrived."""

    endpoint: str = ""
    spans: list[Seen] = field(default_factory=list)
    received: bytes = b""  # of all requests
    requests: int = 0
    status: int = 200  # of the answers

    def named(self, name: str) -> list[Seen]:
        return [span for span in self.spans if span.name == name]

    def origins(self, span: Seen) -> set[str]:
        """Traces and spans that parents and links lead to, also those that came from elsewhere."""
        by_id = {known.span_id: known for known in self.spans}
        reached: set[str] = set()
        waiting = [span]
        while waiting:
            current = waiting.pop()
            before = {current.parent_id, *current.links} - {""}
            waiting += [by_id[one] for one in before - reached if one in by_id]
            reached |= before | {current.trace_id} | set(current.linked_traces)
        return reached

    def take(self, body: bytes) -> None:
        self.requests += 1
        self.received += body
        request = ExportTraceServiceRequest.FromString(body)
        for of_resource in request.resource_spans:
            resource = _values(of_resource.resource.attributes)
            for of_scope in of_resource.scope_spans:
                self.spans += [_seen(span, resource) for span in of_scope.spans]


def _seen(span: Any, resource: dict[str, Any]) -> Seen:
    return Seen(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        links=tuple(link.span_id.hex() for link in span.links),
        linked_traces=tuple(link.trace_id.hex() for link in span.links),
        attributes=_values(span.attributes),
        events=tuple(_values(event.attributes) for event in span.events),
        has_failed=span.status.code == span.status.STATUS_CODE_ERROR,
        role=resource.get("freshet.role", ""),
    )


def _values(attributes: Sequence[Any]) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector for the length of the block."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(collector.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
