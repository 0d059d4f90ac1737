"""A source: a named origin of documents with its topics, its preparation, its policies and one entity workflow."""

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from corpus.preparation import PreparationSpec


class VersionRule(StrEnum):
    """Where a document's version comes from. A wrong choice loses data silently, so it is a choice."""

    EVENT = "event"  # the event's `version`; where it has none, the record's timestamp and offset
    RECORD = "record"  # always the record's timestamp and offset
    OFFSET = (
        "offset"  # always the record's offset (one partition a document, topic never recreated)
    )


class SourceStatus(StrEnum):
    """`source.state` in the database."""

    ACTIVE = "active"  # consumed
    PAUSED = "paused"  # by an operator
    HALTED = "halted"  # by Freshet: going on would lose or skip something; the reason says what
    RETIRED = "retired"  # no longer configured; its documents stay


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """Limits of micro-batches and of how far a source may run ahead."""

    max_records: int = 5_000  # a batch
    max_bytes: int = (
        8_000_000  # a batch, decoded contents; one larger document makes a batch of its own
    )
    linger_ms: int = 0  # wait this long for more before a micro-batch is cut
    max_in_flight: int = (
        3  # batches of one source that are worked on side by side; published in order
    )
    max_pending_records: int = (
        20_000  # handed over, not yet published; above it the source's partitions pause
    )
    max_pending_bytes: int = 64_000_000  # likewise


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshnessSpec:
    """Ages in seconds; None switches a judgement off."""

    warn_after_seconds: int | None = (
        None  # age of the newest event, or of the oldest unverified document
    )
    error_after_seconds: int | None = None  # likewise
    expire_after_seconds: int | None = None  # age since a document was last observed or verified
    check_every_seconds: int = 300  # the schedule's interval
    max_expiry_ratio: float = (
        0.5  # of the visible documents; a check that would expire more stops and says so
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec:
    """A source as configured; stored as JSON in `freshet.source.spec`."""

    source: str
    topics: tuple[str, ...]
    format: str = "native"  # "native": JSON events; "text": the value is the document, the rest stands in headers
    model: str = "all-MiniLM-L6-v2"
    prefix: str = ""  # put before every document text, for models that want one
    version_rule: VersionRule = VersionRule.EVENT
    text_search_language: str = "english"  # a PostgreSQL text search configuration
    dead_letter_topic: str | None = None  # None: "{first topic}.dead-letters"
    pipeline: PreparationSpec = field(default_factory=PreparationSpec)
    limits: BatchLimits = field(default_factory=BatchLimits)
    freshness: FreshnessSpec = field(default_factory=FreshnessSpec)

    def to_json(self) -> dict[str, Any]:
        """As stored."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "SourceSpec":
        """From what `to_json` gave; unknown keys are left out, so that old code reads newer rows."""
        known = _only(cls, stored)
        known["topics"] = tuple(known["topics"])
        known["version_rule"] = VersionRule(known.get("version_rule", VersionRule.EVENT))
        for name, kind in (
            ("pipeline", PreparationSpec),
            ("limits", BatchLimits),
            ("freshness", FreshnessSpec),
        ):
            known[name] = kind(**_only(kind, known.get(name, {})))
        return cls(**known)

    def dead_letters_to(self) -> str:
        """The dead-letter topic."""
        return self.dead_letter_topic or f"{self.topics[0]}.dead-letters"


def _only(cls: type, stored: dict[str, Any]) -> dict[str, Any]:
    return {name: stored[name] for name in cls.__dataclass_fields__ if name in stored}


def source_workflow_id(source: str) -> str:
    """Workflow id of a source's entity."""
    return f"source:{source}"
