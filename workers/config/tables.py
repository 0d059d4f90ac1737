"""The tables of `freshet.toml` as a person writes them: validated, and turned into `SourceSpec` and `SubscriberSpec`.

A table says how a value is written, its bounds and its help. Its default is that of the specification.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from corpus.access.team import Right, TeamSpec
from corpus.deliver.subscription import SubscriberSpec
from corpus.embed.spec import SpaceChoice
from corpus.preparation import PreparationSpec
from corpus.source import (
    FreshnessSpec,
    SourceSpec,
    VersionRule,
)
from corpus.specs.formats import Format
from corpus.versions.scale import VersionScale
from workers.config import rules, team_rules
from workers.config.table import Table
from workers.config.toml import space_table
from workers.config.toml.audit_table import AuditTable
from workers.config.toml.fetch_table import FetchTable
from workers.config.toml.limits_table import LimitsTable
from workers.config.toml.mapping_table import (
    CloudEventsTable,
    DebeziumTable,
    MappingTable,
    check_mapping,
)
from workers.config.toml.retention_table import RetentionTable
from workers.config.toml.space_table import SpaceTable
from workers.config.toml.subscriber_table import SubscriberTable
from workers.config.toml.team_table import TeamTable
from workers.config.values import (
    MAX_PARTITIONS,
    Bytes,
    Count,
    Group,
    Seconds,
    SecondsOfADay,
    SourceName,
    Topic,
    Weight,
)

# `Any`: where a table allows a few words, its specification has a str.
_PREPARATION: Any = PreparationSpec()
_FRESHNESS: Any = FreshnessSpec()
_SOURCE: Any = SourceSpec(source="source", topics=("topic",))


class PreparationTable(Table):
    """[source.NAME.pipeline]: how documents are prepared."""

    content_type: str | None = Field(
        default=_PREPARATION.content_type,
        description="Media type of every document, whatever its event says; default: the event's, else text/plain.",
    )
    unknown_content_type: Literal["reject", "text"] = Field(
        default=_PREPARATION.unknown_content_type,
        description="An unknown media type: dead letter, or taken as plain text.",
    )
    html: Literal["main", "all"] = Field(
        default=_PREPARATION.html,
        description="HTML: the main text only, or every visible text.",
    )
    ocr: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,39}$")] = Field(
        default=_PREPARATION.ocr,
        description="Pages of a PDF that are pictures: off; or a language of Tesseract (eng), in which they are read.",
    )
    chunker: Literal["structure", "whole"] = Field(
        default=_PREPARATION.chunker,
        description="Chunks end at headings, paragraphs, sentences; or one chunk per document.",
    )
    max_tokens: Annotated[int, Field(ge=16, le=1_000_000, strict=True)] | None = Field(
        default=_PREPARATION.max_tokens,
        description="A chunk's limit in tokens; default: what the model reads.",
    )
    min_tokens: Annotated[int, Field(ge=1, le=1_000_000, strict=True)] = Field(
        default=_PREPARATION.min_tokens,
        description="Smaller pieces are joined to a neighbour.",
    )
    max_document_bytes: Bytes = Field(
        default=_PREPARATION.max_document_bytes,
        description="Larger events are dead-lettered.",
    )
    max_chunks: Count = Field(
        default=_PREPARATION.max_chunks,
        description="Documents of more chunks are dead-lettered.",
    )
    max_pages: Count = Field(
        default=_PREPARATION.max_pages,
        description="Files of more pages, slides or sheets are dead-lettered.",
    )
    max_unpacked_bytes: Bytes = Field(
        default=_PREPARATION.max_unpacked_bytes,
        description="Files that are larger when they are unpacked are dead-lettered.",
    )
    max_nesting: Count = Field(
        default=_PREPARATION.max_nesting,
        description="Deeper HTML is read without structure.",
    )
    clean_timeout: SecondsOfADay = Field(
        default=_PREPARATION.clean_timeout_seconds,
        description="Documents that take longer to clean and split are dead-lettered.",
    )
    min_kept_ratio: Annotated[float, Field(ge=0, le=1)] = Field(
        default=_PREPARATION.min_kept_ratio,
        description="A document that keeps less of its readable text is counted as lossy.",
    )
    max_unknown_ratio: Annotated[float, Field(ge=0, le=1)] = Field(
        default=_PREPARATION.max_unknown_ratio,
        description="A document with a greater share of characters that its model has no word for is counted.",
    )
    on_empty: Literal["dead_letter", "publish"] = Field(
        default=_PREPARATION.on_empty,
        description="A document of whose readable text nothing is left.",
    )

    @model_validator(mode="after")
    def _in_order(self) -> "PreparationTable":
        if self.max_tokens is not None and self.max_tokens < self.min_tokens:
            raise ValueError(
                f"max_tokens ({self.max_tokens}) must not be less than min_tokens ({self.min_tokens}); "
                "set min_tokens lower"
            )
        return self

    def spec(self) -> PreparationSpec:
        """As the workers read it."""
        fields = self.model_dump()
        return PreparationSpec(
            clean_timeout_seconds=fields.pop("clean_timeout"), **fields
        )


class FreshnessTable(Table):
    """[source.NAME.freshness]: ages; what is left out is not judged."""

    warn_after: Seconds | None = Field(
        default=_FRESHNESS.warn_after_seconds,
        description="Age of the newest event, or of the oldest unverified document, for WARN.",
    )
    error_after: Seconds | None = Field(
        default=_FRESHNESS.error_after_seconds, description="Likewise for ERROR."
    )
    expire_after: Seconds | None = Field(
        default=_FRESHNESS.expire_after_seconds,
        description="Documents not observed or verified for this long are withdrawn.",
    )
    check_every: Seconds = Field(
        default=_FRESHNESS.check_every_seconds, description="How often it is checked."
    )
    max_expiry_ratio: Annotated[float, Field(gt=0, le=1)] = Field(
        default=_FRESHNESS.max_expiry_ratio,
        description="A check that would expire more of the visible documents stops.",
    )

    @model_validator(mode="after")
    def _in_order(self) -> "FreshnessTable":
        warn, error = self.warn_after, self.error_after
        if warn is not None and error is not None and warn > error:
            raise ValueError(
                f"warn_after ({warn} s) must not be longer than error_after ({error} s)"
            )
        return self

    def spec(self) -> FreshnessSpec:
        """As the workers read it."""
        return FreshnessSpec(
            warn_after_seconds=self.warn_after,
            error_after_seconds=self.error_after,
            expire_after_seconds=self.expire_after,
            check_every_seconds=self.check_every,
            max_expiry_ratio=self.max_expiry_ratio,
        )


class SourceTable(Table):
    """[source.NAME]: where documents come from."""

    topics: Annotated[list[Topic], Field(min_length=1)] | None = Field(
        default=None, description="Kafka topics; default: the source's name."
    )
    partitions: Annotated[int, Field(ge=1, le=MAX_PARTITIONS, strict=True)] = Field(
        default=3, description="Of a topic that `freshet apply` creates."
    )
    format: Format = Field(
        default=_SOURCE.format,
        description="native: JSON events; text: the value is the document, the rest is in headers; "
        "json: any JSON, by the mapping; debezium: rows of a table, by the mapping; "
        "cloudevents: CloudEvents 1.0.",
    )
    key_format: Literal["auto", "text"] = Field(
        default=_SOURCE.key_format,
        description="auto: a key that a JSON converter wrote names the same document as the plain key; "
        "text: every key is the name as it is.",
    )
    detect_charset: bool = Field(
        default=_SOURCE.detect_charset,
        description="Format text: guess the encoding of a value that is not UTF-8 and names none.",
    )
    model: Annotated[str, Field(min_length=1)] = Field(
        default=_SOURCE.model,
        description="Embedding model, as sentence-transformers names it; a model of a hub with the commit that it is "
        "pinned to: name@commit.",
    )
    prefix: str = Field(
        default=_SOURCE.prefix,
        description="Put before every document text, for models that want one.",
    )
    context: Literal["none", "headings"] = Field(
        default=_SOURCE.context,
        description="What the model is given above a chunk: nothing, or the headings that lead to it.",
    )
    weight: Weight = Field(
        default=_SOURCE.weight,
        description="Share of the model while several sources wait for it: 4 gets four times as many texts as 1.",
    )
    version_rule: VersionRule = Field(
        default=_SOURCE.version_rule,
        description="Where a document's version comes from; a wrong choice loses data. Format debezium: own.",
    )
    version_scale: VersionScale = Field(
        default=_SOURCE.version_scale,
        description="What the events' own versions are: times in a unit, or anything that grows (auto). "
        "One that is far beyond becomes a dead letter; with any, none does.",
    )
    text_search_language: Annotated[str, Field(pattern="^[a-z_]{1,63}$")] = Field(
        default=_SOURCE.text_search_language,
        description="PostgreSQL text search configuration of documents whose own language is not known.",
    )
    detect_language: bool = Field(
        default=_SOURCE.detect_language,
        description="Detect the language of a document whose event names none.",
    )
    dead_letter_topic: Topic | None = Field(
        default=_SOURCE.dead_letter_topic,
        description='Default: "{first topic}.dead-letters".',
    )
    default_acl: list[Group] | None = Field(
        default=_SOURCE.default_acl,
        description="Groups that may read documents whose event has no `acl`; default: every reader of the source; "
        "an empty list: nobody.",
    )
    mapping: MappingTable = MappingTable()
    debezium: DebeziumTable = DebeziumTable()
    cloudevents: CloudEventsTable = CloudEventsTable()
    fetch: FetchTable = FetchTable()
    pipeline: PreparationTable = PreparationTable()
    limits: LimitsTable = LimitsTable()
    freshness: FreshnessTable = FreshnessTable()
    audit: AuditTable = AuditTable()
    retention: RetentionTable = RetentionTable()

    @model_validator(mode="after")
    def _once(self) -> "SourceTable":
        if self.topics and len(set(self.topics)) < len(self.topics):
            raise ValueError("topics names a topic twice")
        return self

    @model_validator(mode="after")
    def _mapped(self) -> "SourceTable":
        check_mapping(self.format, self.mapping.spec())
        return self

    @model_validator(mode="after")
    def _restorable(self) -> "SourceTable":
        history = self.retention.history
        expire = self.freshness.expire_after
        if history is not None and expire is not None and history < expire:
            raise ValueError(
                f"retention.history ({history} s) must not be shorter than freshness.expire_after ({expire} s): "
                "what was withdrawn could not be restored, nor counted by the next checks"
            )
        return self

    def spec(self, name: str) -> SourceSpec:
        """As the workers read it."""
        groups = self.default_acl
        written = {field: getattr(self, field) for field in _AS_WRITTEN}
        if self.format == "debezium" and "version_rule" not in self.model_fields_set:
            # Rows of a snapshot may have no position: whatever the log says of them is newer.
            written["version_rule"] = VersionRule.OWN
        parts = {field: getattr(self, field).spec() for field in _PARTS}
        return SourceSpec(
            source=name,
            topics=tuple(self.topics or (name,)),
            default_acl=None if groups is None else tuple(groups),
            **written,
            **parts,
        )


# Tables of a source's table, and the values that its specification has as they are written.
_PARTS = tuple(
    name
    for name, declared in SourceTable.model_fields.items()
    if isinstance(declared.default, Table)
)
_AS_WRITTEN = tuple(
    name
    for name in SourceTable.model_fields
    if name not in {"topics", "partitions", "default_acl", *_PARTS}
)


class ConfigFile(Table):
    """The whole of freshet.toml."""

    source: dict[SourceName, SourceTable] = Field(
        default={}, description="[source.NAME]"
    )
    subscriber: dict[SourceName, SubscriberTable] = Field(
        default={}, description="[subscriber.NAME]"
    )
    team: dict[SourceName, TeamTable] = Field(default={}, description="[team.NAME]")
    space: dict[SourceName, SpaceTable] = Field(default={}, description="[space.NAME]")

    @model_validator(mode="after")
    def _fits_together(self) -> "ConfigFile":
        sources, subscribers = self.sources(), self.subscribers()
        rules.check(sources, subscribers)
        team_rules.check(self.teams(), sources, subscribers)
        space_table.check(self.spaces(), sources)
        return self

    def sources(self) -> tuple[SourceSpec, ...]:
        """As the workers read them."""
        return tuple(table.spec(name) for name, table in self.source.items())

    def subscribers(self) -> tuple[SubscriberSpec, ...]:
        """As the workers read them."""
        return tuple(table.spec(name) for name, table in self.subscriber.items())

    def spaces(self) -> tuple[SpaceChoice, ...]:
        """As `freshet apply` reads them."""
        return tuple(table.choice(name) for name, table in self.space.items())

    def teams(self) -> tuple[TeamSpec, ...]:
        """As the workers read them, each with the subscribers that are notified of what it may read."""
        return tuple(
            table.spec(name, self._subscribers_of(table))
            for name, table in self.team.items()
        )

    def _subscribers_of(self, team: TeamTable) -> tuple[str, ...]:
        if Right.SUBSCRIBE not in team.rights:
            return ()
        return tuple(
            name
            for name, subscriber in self.subscriber.items()
            if subscriber.namespace == team.namespace
        )
