"""The span of a micro-batch: opened where it is staged and handed over, if traces are made (`workers.tracing`)."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from ingest.event import KafkaRecord
from ingest.stage import OffsetRange

StagingSpan = Callable[
    [Sequence[KafkaRecord], OffsetRange], AbstractContextManager[str]
]
"""Opens the span of these records; gives its `traceparent`, empty where no trace is made."""


def without_span(
    records: Sequence[KafkaRecord], offsets: OffsetRange
) -> AbstractContextManager[str]:
    """No trace is made."""
    return nullcontext("")
