"""A source: a named origin of documents with its topics, its preparation, its policies and one entity workflow."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from functools import lru_cache
from itertools import repeat
from typing import Any, Literal, cast

from corpus.errors import UnreadableSpecError
from corpus.preparation import NO_CONTEXT, Context, PreparationSpec
from corpus.retention.spec import RetentionSpec
from corpus.specs.fetch import FetchSpec
from corpus.specs.formats import (
    REGISTRY_FORMATS,
    CloudEventsSpec,
    DebeziumSpec,
    Format,
    MappingSpec,
)
from corpus.specs.stored_fields import as_tuple, known_fields, part_of
from corpus.versions.scale import VersionScale


class VersionRule(StrEnum):
    """Where a document's version comes from. A wrong choice loses data silently, so it is a setting."""

    EVENT = "event"  # the event's `version`; where it has none, the record's timestamp and offset
    # The same, but a version of an event is greater than all that are made of records: for producers that begin to
    # send versions.
    OWN = "own"
    RECORD = "record"  # always the record's timestamp and offset
    OFFSET = "offset"  # always the record's offset (one partition per document, topic never recreated)


# Rules by which one source can have versions of two kinds.
READS_OWN_VERSIONS = frozenset({VersionRule.EVENT, VersionRule.OWN})
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


def record_time_ms(version: int) -> int:
    """The time in a version from `record_version`, in milliseconds; 0: its record has none."""
    return version >> 20


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
class AuditSpec:
    """Audits by schedule, and what the access log holds.

    Every setting with its default, its unit and its meaning; the tables of `freshet.toml` take defaults from here.
    """

    # Interval; None: only when a person asks.
    every_seconds: int | None = None
    # Documents of each audit; 0: all of them, and every record.
    sample: int = 0
    # Records, or documents, per second; 0: no limit.
    rate: int = 5_000
    # What the access log keeps of a query: "hash" or "text".
    queries: str = "hash"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec:
    """A source as configured; stored as JSON in `freshet.source.spec`."""

    source: str
    topics: tuple[str, ...]
    # "native": JSON events; "text": the value is the document, the headers hold the rest; else see `mapping`.
    format: Format = "native"
    # "auto": a key by a JSON converter (`"doc-1"`, or an object of schema and payload) names the same document
    # as the plain key; "text": every key is the name as it is.
    key_format: Literal["auto", "text"] = "auto"
    # Format "text": whether the encoding of a value that is not UTF-8 and names none may be guessed.
    detect_charset: bool = False
    # Embedding model, as sentence-transformers names it.
    model: str = "all-MiniLM-L6-v2"
    # Put before every document text, for models that expect one.
    prefix: str = ""
    # What the model is given above a chunk: "headings" is the path of headings that leads to it.
    context: Context = NO_CONTEXT
    # Share of the model while several sources wait for it, as that of others: 4 gets four times as many texts as 1.
    weight: float = 1.0
    version_rule: VersionRule = VersionRule.EVENT
    # What the events' own versions are: times in a unit; "auto": anything that grows; "any": none is refused.
    version_scale: VersionScale = "auto"
    # A PostgreSQL text search configuration: of documents whose own language is not known.
    text_search_language: str = "english"
    # Whether the language of a document whose event names none is detected in its text.
    detect_language: bool = False
    # None: "{first topic}.dead-letters".
    dead_letter_topic: str | None = None
    # Groups that may read the documents whose event names none in `acl`; None: every reader of the source.
    default_acl: tuple[str, ...] | None = None
    mapping: MappingSpec = field(default_factory=MappingSpec)
    debezium: DebeziumSpec = field(default_factory=DebeziumSpec)
    cloudevents: CloudEventsSpec = field(default_factory=CloudEventsSpec)
    fetch: FetchSpec = field(default_factory=FetchSpec)
    # The name in stored JSON is older than that of the class.
    pipeline: PreparationSpec = field(default_factory=PreparationSpec)
    limits: BatchLimits = field(default_factory=BatchLimits)
    freshness: FreshnessSpec = field(default_factory=FreshnessSpec)
    audit: AuditSpec = field(default_factory=AuditSpec)
    retention: RetentionSpec = field(default_factory=RetentionSpec)

    def to_json(self) -> dict[str, Any]:
        """The specification as it is stored."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Any) -> "SourceSpec":
        """The specification from what `to_json` returned.

        Unknown keys are left out, so that old code reads rows that newer code wrote; missing keys have their defaults.

        Raises:
            UnreadableSpecError: a value has another type, or is none of those that this version knows.
        """
        try:
            return cls(**_checked(stored))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UnreadableSpecError(
                f"the stored specification cannot be read ({_reason_of(error)}): a newer version of Freshet wrote it, "
                "or it is damaged; run that version, or write it again with `freshet apply`"
            ) from error

    @property
    def reads_own_versions(self) -> bool:
        """Whether versions are those that events name, where they name one."""
        return self.version_rule in READS_OWN_VERSIONS

    @property
    def own_first(self) -> bool:
        """Whether versions that events name are greater than all that are made of records."""
        return self.version_rule is VersionRule.OWN

    @property
    def keeps_columns(self) -> bool:
        """Whether large columns of a document's row are kept for changes that leave them out."""
        return self.format == "debezium"

    @property
    def schema_kind(self) -> str:
        """The kind of schema that a registry has for the values; empty: they need no registry."""
        if self.format == "debezium":
            return REGISTRY_FORMATS.get(self.debezium.encoding, "")
        return REGISTRY_FORMATS.get(self.format, "")

    def dead_letters_to(self) -> str:
        """The dead-letter topic."""
        return self.dead_letter_topic or f"{self.topics[0]}.dead-letters"


# ── reading what is stored ──────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSpecs:
    """Specifications by source, and why the others cannot be read; one never keeps a reader from the others."""

    specs: dict[str, SourceSpec]
    unreadable: dict[str, str]


def read_specs(rows: Iterable[tuple[str, Any]]) -> StoredSpecs:
    """Read the specifications of (source, stored specification)."""
    specs: dict[str, SourceSpec] = {}
    unreadable: dict[str, str] = {}
    for source, stored in rows:
        try:
            specs[source] = read_spec(source, stored)
        except UnreadableSpecError as error:
            unreadable[source] = str(error)
    return StoredSpecs(specs=specs, unreadable=unreadable)


def read_spec(source: str, stored: Any) -> SourceSpec:
    """The specification in the row of a source.

    Raises:
        UnreadableSpecError: as `SourceSpec.from_json`, or it is the specification of another source.
    """
    spec = SourceSpec.from_json(stored)
    if spec.source != source:
        raise UnreadableSpecError(
            f"the stored specification is that of source {spec.source!r}; write it again with `freshet apply`"
        )
    return spec


Specification = type[
    SourceSpec
    | MappingSpec
    | DebeziumSpec
    | CloudEventsSpec
    | FetchSpec
    | PreparationSpec
    | BatchLimits
    | FreshnessSpec
    | AuditSpec
    | RetentionSpec
]

# Fields of a specification that are specifications themselves.
_PARTS: dict[str, Specification] = {
    "mapping": MappingSpec,
    "debezium": DebeziumSpec,
    "cloudevents": CloudEventsSpec,
    "fetch": FetchSpec,
    "pipeline": PreparationSpec,
    "limits": BatchLimits,
    "freshness": FreshnessSpec,
    "audit": AuditSpec,
    "retention": RetentionSpec,
}
_SCALARS = tuple(
    declared.name
    for declared in fields(SourceSpec)
    if declared.name not in {"source", "topics", *_PARTS}
)
_NOTHING = object()
_ABSENT = repeat(_NOTHING)


def _checked(stored: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a `SourceSpec`. Most sources differ in name and topics only: the rest is read once."""
    source, topics = stored["source"], stored["topics"]
    if type(source) is not str:
        raise TypeError(f"source is {source!r}")
    _check_topics(topics)
    values = (*map(stored.get, _SCALARS, _ABSENT), *map(_part_values, _part_of(stored)))
    try:
        arguments = _cached_rest(values)
    except (
        TypeError
    ):  # a value has a wrong type, or one of a newer version cannot be hashed
        arguments = _rest(stored)
    return {"source": source, "topics": tuple(topics), **arguments}


def _part_of(stored: Mapping[str, Any]) -> Iterator[Any]:
    return map(stored.get, _PARTS, _ABSENT)


def _part_values(part: Any) -> Any:
    """A part as a value that can be hashed."""
    if not isinstance(part, dict):
        return part
    values = cast("dict[str, Any]", part)
    return tuple((name, as_tuple(value)) for name, value in values.items())


def _check_topics(topics: Any) -> None:
    if type(topics) not in (list, tuple):
        raise TypeError(f"topics is {topics!r}")
    if not topics:
        raise ValueError("topics is empty")
    for topic in topics:
        if type(topic) is not str or not topic:
            raise TypeError(f"topics holds {topic!r}")


@lru_cache(maxsize=1_024)
def _cached_rest(values: tuple[Any, ...]) -> dict[str, Any]:
    stored: dict[str, Any] = {}
    for name, value in zip((*_SCALARS, *_PARTS), values, strict=True):
        if value is _NOTHING:
            continue
        stored[name] = value
        if name in _PARTS and isinstance(value, tuple):
            stored[name] = dict(cast("tuple[tuple[str, Any], ...]", value))
    return _rest(stored)


def _rest(stored: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a `SourceSpec` apart from its name and topics."""
    known = known_fields(SourceSpec, stored)
    known.pop("source", None)
    known.pop("topics", None)
    if "version_rule" in known:
        known["version_rule"] = VersionRule(known["version_rule"])
    for name, kind in _PARTS.items():
        if name in known:
            known[name] = part_of(kind, known[name])
    return known


def _reason_of(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error.args[0]} is missing"
    return str(error)


def source_workflow_id(source: str) -> str:
    """Workflow id of a source's entity."""
    return f"source:{source}"
