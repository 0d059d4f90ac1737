"""[source.NAME.limits] as a person writes it: micro-batches, and how far a source may run ahead."""

from typing import Annotated, Any

from pydantic import Field, model_validator

from corpus.source import BatchLimits
from workers.config.table import Table
from workers.config.values import Bytes, Count, Milliseconds

_LIMITS: Any = BatchLimits()


class LimitsTable(Table):
    """[source.NAME.limits]: micro-batches, and how far a source may run ahead."""

    max_records: Count = Field(
        default=_LIMITS.max_records, description="Records per batch."
    )
    max_bytes: Bytes = Field(
        default=_LIMITS.max_bytes,
        description="Bytes per batch; one larger document makes a batch of its own.",
    )
    linger: Milliseconds = Field(
        default=_LIMITS.linger_ms,
        description="Wait this long for more records before a batch ends.",
    )
    max_in_flight: Annotated[int, Field(ge=1, le=16, strict=True)] = Field(
        default=_LIMITS.max_in_flight, description="Batches worked on side by side."
    )
    max_pending_records: Count = Field(
        default=_LIMITS.max_pending_records,
        description="Records read ahead of publishing; above it the source pauses.",
    )
    max_pending_bytes: Bytes = Field(
        default=_LIMITS.max_pending_bytes,
        description="Bytes read ahead of publishing; above it the source pauses.",
    )

    @model_validator(mode="after")
    def _in_order(self) -> "LimitsTable":
        pairs = [
            ("records", self.max_records, self.max_pending_records),
            ("bytes", self.max_bytes, self.max_pending_bytes),
        ]
        for what, batch, pending in pairs:
            if pending < batch:
                raise ValueError(
                    f"max_pending_{what} ({pending}) must not be less than max_{what} ({batch}): "
                    "no batch could become full"
                )
        return self

    def spec(self) -> BatchLimits:
        """As the workers read it."""
        fields = self.model_dump()
        return BatchLimits(linger_ms=fields.pop("linger"), **fields)
