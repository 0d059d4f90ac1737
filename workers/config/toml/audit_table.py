"""[source.NAME.audit] as a person writes it: audits by schedule, and the access log."""

from typing import Annotated, Any, Literal

from pydantic import Field

from corpus.source import AuditSpec
from workers.config.table import Table
from workers.config.values import Seconds

_AUDIT: Any = AuditSpec()


class AuditTable(Table):
    """[source.NAME.audit]: whether the corpus equals the source's records, by schedule; and the access log."""

    every: Seconds | None = Field(
        default=_AUDIT.every_seconds,
        description="How often; what is left out is audited when a person asks.",
    )
    sample: Annotated[int, Field(ge=0, le=1_000_000_000, strict=True)] = Field(
        default=_AUDIT.sample,
        description="Documents of each audit; 0: all of them, and every record.",
    )
    rate: Annotated[int, Field(ge=0, le=1_000_000_000, strict=True)] = Field(
        default=_AUDIT.rate,
        description="Records or documents per second; 0: no limit.",
    )
    queries: Literal["hash", "text"] = Field(
        default=_AUDIT.queries,
        description="What `freshet audit log` keeps of the queries to this source: their SHA-256, or their text.",
    )

    def spec(self) -> AuditSpec:
        """As the workers read it."""
        fields = self.model_dump()
        return AuditSpec(every_seconds=fields.pop("every"), **fields)
