"""A source: a named origin of documents with its topics, its preparation, its policies and one entity workflow."""

from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, Literal

from corpus.preparation import PreparationSpec


class VersionRule(StrEnum):
    """Where a document's version comes from. A wrong choice loses data silently, so it is a setting."""

    EVENT = "event"  # the event's `version`; where it has none, the record's timestamp and offset
    RECORD = "record"  # always the record's timestamp and offset
    OFFSET = "offset"  # always the record's offset (one partition per document, topic never recreated)


MAX_VERSION = 2**63 - 1


def record_version(timestamp_ms: int | None, offset: int) -> int:
    """A version from a record: `timestamp_ms * 2^20 + offset % 2^20`, which fits a bigint until the year 2248.

    Time comes first, because offsets begin again at 0 when a document moves to another partition (more partitions, or
    another key); the offset orders the records of one millisecond. Two records of one document in one millisecond are
    compared wrongly only where the offset passes a multiple of 1,048,576 between them. A record without a time
    (None, or negative) counts as older than all that have one.
    """
    if timestamp_ms is None or timestamp_ms < 0:
        return offset
    return min(timestamp_ms * 2**20 + offset % 2**20, MAX_VERSION)


class SourceStatus(StrEnum):
    """`source.state` in the database."""

    ACTIVE = "active"  # consumed
    PAUSED = "paused"  # by an operator
    HALTED = "halted"  # by Freshet: to continue would lose or skip something; the reason says what
    RETIRED = "retired"  # no longer configured; its documents stay


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """Limits of micro-batches, and of how far a source may run ahead of publishing.

    Every setting with its default, its unit and its meaning; the tables of `freshet.toml` take defaults from here.
    """

    # Records per batch.
    max_records: int = 5_000
    # Bytes of decoded contents per batch; one larger document makes a batch of its own.
    max_bytes: int = 8_000_000
    # Time to wait for more records before a micro-batch ends.
    linger_ms: int = 0
    # Batches of one source that are worked on side by side; they are published in order.
    max_in_flight: int = 3
    # Records handed over and not yet published; above it, the source's partitions pause.
    max_pending_records: int = 20_000
    # Bytes handed over and not yet published; above it, the source's partitions pause.
    max_pending_bytes: int = 64_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshnessSpec:
    """Ages at which a source is stale; None: the age is not judged.

    Every setting with its default, its unit and its meaning; the tables of `freshet.toml` take defaults from here.
    """

    # Age of the newest event, or of the oldest document that was not verified since, for WARN.
    warn_after_seconds: int | None = None
    # The same age for ERROR.
    error_after_seconds: int | None = None
    # Age since a document was last observed or verified; an older one is withdrawn.
    expire_after_seconds: int | None = None
    # Interval of the check.
    check_every_seconds: int = 300
    # Ratio of the visible documents; a check that would expire more of them stops and names the ratio.
    max_expiry_ratio: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec:
    """A source as configured; stored as JSON in `freshet.source.spec`."""

    source: str
    topics: tuple[str, ...]
    # "native": JSON events; "text": the value is the document, the headers hold the rest.
    format: Literal["native", "text"] = "native"
    # "auto": a key by a JSON converter (`"doc-1"`, or an object of schema and payload) names the same document
    # as the plain key; "text": every key is the name as it is.
    key_format: Literal["auto", "text"] = "auto"
    # Format "text": whether the encoding of a value that is not UTF-8 and names none may be guessed.
    detect_charset: bool = False
    # Embedding model, as sentence-transformers names it.
    model: str = "all-MiniLM-L6-v2"
    # Put before every document text, for models that expect one.
    prefix: str = ""
    version_rule: VersionRule = VersionRule.EVENT
    # A PostgreSQL text search configuration.
    text_search_language: str = "english"
    # None: "{first topic}.dead-letters".
    dead_letter_topic: str | None = None
    # The name in stored JSON is older than that of the class.
    pipeline: PreparationSpec = field(default_factory=PreparationSpec)
    limits: BatchLimits = field(default_factory=BatchLimits)
    freshness: FreshnessSpec = field(default_factory=FreshnessSpec)

    def to_json(self) -> dict[str, Any]:
        """The specification as it is stored."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "SourceSpec":
        """The specification from what `to_json` returned.

        Unknown keys are left out, so that old code reads rows that newer code wrote; missing keys have their defaults.
        """
        known = _known(cls, stored)
        known["topics"] = tuple(known["topics"])
        known["version_rule"] = VersionRule(
            known.get("version_rule", VersionRule.EVENT)
        )
        for name, part in _PARTS.items():
            known[name] = part(**_known(part, known.get(name, {})))
        return cls(**known)

    def dead_letters_to(self) -> str:
        """The dead-letter topic."""
        return self.dead_letter_topic or f"{self.topics[0]}.dead-letters"


# Fields of a specification that are specifications themselves.
_PARTS: dict[str, type[PreparationSpec | BatchLimits | FreshnessSpec]] = {
    "pipeline": PreparationSpec,
    "limits": BatchLimits,
    "freshness": FreshnessSpec,
}


def _known(
    kind: type[SourceSpec | PreparationSpec | BatchLimits | FreshnessSpec],
    stored: dict[str, Any],
) -> dict[str, Any]:
    """The stored values that are fields of `kind`."""
    names = {declared.name for declared in fields(kind)}
    return {name: value for name, value in stored.items() if name in names}


def source_workflow_id(source: str) -> str:
    """Workflow id of a source's entity."""
    return f"source:{source}"
