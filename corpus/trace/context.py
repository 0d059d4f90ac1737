"""Where a trace continues: the context of a span as one line of text (`traceparent` of W3C Trace Context).

References, the ledger and notices carry it: 55 characters that hold ids and no content. Nothing here needs a library;
what makes spans is `workers.tracing`.
"""

from contextvars import ContextVar

HEADER = "traceparent"
"""Name of the header that holds it, of a Kafka record and of a Nexus call."""

current: ContextVar[str] = ContextVar(HEADER, default="")
"""Of the activity that runs; empty: it is in no trace."""


def call_headers(traceparent: str) -> dict[str, str]:
    """The headers of a call that continues a trace; none where there is no trace."""
    if not traceparent:
        return {}
    return {HEADER: traceparent}
