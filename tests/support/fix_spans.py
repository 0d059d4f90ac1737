"""Spans of this process, kept instead of sent."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest


@dataclass
class Kept:
    """In the place of the exporter; has what the collector would get."""

    ended: list[Any] = field(default_factory=list)

    def named(self, name: str) -> Any:
        [span] = [span for span in self.ended if span.name == name]
        return span

    def export(self, spans: Sequence[Any]) -> Any:
        from opentelemetry.sdk.trace.export import SpanExportResult

        self.ended += spans
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        pass


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    """Traces are made; what the collector would get is kept."""
    from workers.tracing import delivery, switch

    kept = Kept()
    monkeypatch.setattr(delivery, "OTLPSpanExporter", lambda: kept)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    switch.start("test")
    yield kept
    switch.stop()
