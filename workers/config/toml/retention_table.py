"""The table `[source.NAME.retention]` as a person writes it."""

from typing import Annotated, Any

from pydantic import Field

from corpus.retention.spec import RetentionSpec
from workers.config.table import Table
from workers.config.values import Age, Seconds

_RETENTION: Any = RetentionSpec()


class RetentionTable(Table):
    """[source.NAME.retention]: what is removed when nobody needs it any more; "forever": it is kept."""

    history: Age = Field(
        default=_RETENTION.history_seconds,
        description="How far back a search as of an instant goes; left out: to the beginning. "
        "What was replaced, deleted or withdrawn before is removed.",
    )
    dead_letters: Age = Field(
        default=_RETENTION.dead_letters_seconds,
        description="Bytes of dead letters, since they were redriven or discarded.",
    )
    open_dead_letters: Age = Field(
        default=_RETENTION.open_dead_letters_seconds,
        description="Dead letters that nobody has dealt with: older ones are discarded, "
        "and can not be redriven; left out: they are kept.",
    )
    notices: Age = Field(
        default=_RETENTION.notices_seconds,
        description="Who was notified of which batch, since the subscriber acknowledged it.",
    )
    reports: Age = Field(
        default=_RETENTION.reports_seconds,
        description="Freshness reports; the newest stays.",
    )
    audits: Age = Field(
        default=_RETENTION.audits_seconds,
        description="Results of audits; the newest stays.",
    )
    embeddings: Age = Field(
        default=_RETENTION.embeddings_seconds,
        description="Vectors that no chunk holds, since they were made.",
    )
    staged_files: Annotated[Seconds, Field(ge=3_600)] = Field(
        default=_RETENTION.staged_files_seconds,
        description="Staged files that no batch needs, since they were written.",
    )
    every: Seconds = Field(
        default=_RETENTION.every_seconds, description="How often it is purged."
    )
    rate: Annotated[int, Field(ge=0, le=1_000_000_000, strict=True)] = Field(
        default=_RETENTION.rate,
        description="Rows that a purge removes per second; 0: no limit.",
    )

    def spec(self) -> RetentionSpec:
        """As the workers read it."""
        return RetentionSpec(
            history_seconds=self.history,
            dead_letters_seconds=self.dead_letters,
            open_dead_letters_seconds=self.open_dead_letters,
            notices_seconds=self.notices,
            reports_seconds=self.reports,
            audits_seconds=self.audits,
            embeddings_seconds=self.embeddings,
            staged_files_seconds=self.staged_files,
            every_seconds=self.every,
            rate=self.rate,
        )
