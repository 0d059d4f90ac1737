"""`freshet.toml`: sources and subscribers as a person writes them, validated, and turned into `SourceSpec` and `SubscriberSpec`.

TOML, since an indentation cannot change its meaning, it has comments, and Python reads it without a further library.
A source is a table of its own, `[source.NAME]`: TOML itself refuses a name twice, and an error says `source.NAME.field`.
"""

import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from corpus.deliver.subscription import SubscriberSpec
from corpus.errors import ConfigurationError
from corpus.preparation import PreparationSpec
from corpus.source import BatchLimits, FreshnessSpec, SourceSpec, VersionRule
from workers.config import rules as config_rules
from workers.config.values import (
    MAX_PARTITIONS,
    Bytes,
    Count,
    Endpoint,
    Milliseconds,
    Namespace,
    Seconds,
    SecondsOfADay,
    SourceName,
    TaskQueue,
    Topic,
)


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _without_nul(cls, value: Any) -> Any:
        if isinstance(value, str) and "\0" in value:  # PostgreSQL stores no text that holds it
            raise ValueError("the character U+0000 cannot be stored; leave it out")
        return value


class PreparationTable(_Table):
    """[source.NAME.pipeline]: how documents are prepared."""

    content_type: str | None = Field(
        default=None,
        description="Media type of every document, whatever its event says; default: the event's, else text/plain.",
    )
    unknown_content_type: Literal["reject", "text"] = Field(
        default="reject", description="An unknown media type: dead letter, or taken as plain text."
    )
    html: Literal["main", "all"] = Field(
        default="main", description="HTML: the main text only, or every visible text."
    )
    chunker: Literal["structure", "whole"] = Field(
        default="structure",
        description="Chunks end at headings, paragraphs, sentences; or one chunk a document.",
    )
    max_tokens: Annotated[int, Field(ge=16, le=1_000_000, strict=True)] | None = Field(
        default=None, description="A chunk's limit in tokens; default: what the model reads."
    )
    min_tokens: Annotated[int, Field(ge=1, le=1_000_000, strict=True)] = Field(
        default=32, description="Smaller pieces are joined to a neighbour."
    )
    max_document_bytes: Bytes = Field(
        default=32_000_000, description="Larger events are dead-lettered."
    )
    max_chunks: Count = Field(
        default=50_000, description="Documents of more chunks are dead-lettered."
    )
    max_nesting: Count = Field(default=512, description="Deeper HTML is read without structure.")
    clean_timeout: SecondsOfADay = Field(
        default=20.0, description="Documents that take longer to clean are dead-lettered."
    )

    @model_validator(mode="after")
    def _in_order(self) -> "PreparationTable":
        if self.max_tokens is not None and self.max_tokens < self.min_tokens:
            raise ValueError(
                f"max_tokens ({self.max_tokens}) must not be less than min_tokens ({self.min_tokens}); set min_tokens lower"
            )
        return self

    def spec(self) -> PreparationSpec:
        """As the workers read it."""
        fields = self.model_dump()
        return PreparationSpec(clean_timeout_seconds=fields.pop("clean_timeout"), **fields)


class LimitsTable(_Table):
    """[source.NAME.limits]: micro-batches, and how far a source may run ahead."""

    max_records: Count = Field(default=5_000, description="Records a batch.")
    max_bytes: Bytes = Field(
        default=8_000_000,
        description="Bytes a batch; one larger document makes a batch of its own.",
    )
    linger: Milliseconds = Field(
        default=0, description="Wait this long for more records before a batch is cut."
    )
    max_in_flight: Annotated[int, Field(ge=1, le=16, strict=True)] = Field(
        default=3, description="Batches worked on side by side."
    )
    max_pending_records: Count = Field(
        default=20_000, description="Records read ahead of publishing; above it the source pauses."
    )
    max_pending_bytes: Bytes = Field(
        default=64_000_000,
        description="Bytes read ahead of publishing; above it the source pauses.",
    )

    @model_validator(mode="after")
    def _in_order(self) -> "LimitsTable":
        for what in ("records", "bytes"):
            batch, pending = getattr(self, f"max_{what}"), getattr(self, f"max_pending_{what}")
            if pending < batch:
                raise ValueError(
                    f"max_pending_{what} ({pending}) must not be less than max_{what} ({batch}): no batch could become full"
                )
        return self

    def spec(self) -> BatchLimits:
        """As the workers read it."""
        fields = self.model_dump()
        return BatchLimits(linger_ms=fields.pop("linger"), **fields)


class FreshnessTable(_Table):
    """[source.NAME.freshness]: ages; what is left out is not judged."""

    warn_after: Seconds | None = Field(
        default=None,
        description="Age of the newest event, or of the oldest unverified document, for WARN.",
    )
    error_after: Seconds | None = Field(default=None, description="Likewise for ERROR.")
    expire_after: Seconds | None = Field(
        default=None, description="Documents not observed or verified for this long are withdrawn."
    )
    check_every: Seconds = Field(default=300, description="How often it is checked.")
    max_expiry_ratio: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.5, description="A check that would expire more of the visible documents stops."
    )

    @model_validator(mode="after")
    def _in_order(self) -> "FreshnessTable":
        if (
            self.warn_after is not None
            and self.error_after is not None
            and self.warn_after > self.error_after
        ):
            raise ValueError(
                f"warn_after ({self.warn_after} s) must not be longer than error_after ({self.error_after} s)"
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


class SourceTable(_Table):
    """[source.NAME]: where documents come from."""

    topics: Annotated[list[Topic], Field(min_length=1)] | None = Field(
        default=None, description="Kafka topics; default: the source's name."
    )
    partitions: Annotated[int, Field(ge=1, le=MAX_PARTITIONS, strict=True)] = Field(
        default=3, description="Of a topic that `freshet apply` creates."
    )
    format: Literal["native", "text"] = Field(
        default="native",
        description="native: JSON events; text: the value is the document, the rest stands in headers.",
    )
    model: Annotated[str, Field(min_length=1)] = Field(
        default="all-MiniLM-L6-v2",
        description="Embedding model, as sentence-transformers names it.",
    )
    prefix: str = Field(
        default="", description="Put before every document text, for models that want one."
    )
    version_rule: VersionRule = Field(
        default=VersionRule.EVENT,
        description="Where a document's version comes from; a wrong choice loses data.",
    )
    text_search_language: Annotated[str, Field(pattern="^[a-z_]{1,63}$")] = Field(
        default="english", description="PostgreSQL text search configuration."
    )
    dead_letter_topic: Topic | None = Field(
        default=None, description='Default: "{first topic}.dead-letters".'
    )
    pipeline: PreparationTable = PreparationTable()
    limits: LimitsTable = LimitsTable()
    freshness: FreshnessTable = FreshnessTable()

    @model_validator(mode="after")
    def _once(self) -> "SourceTable":
        if self.topics and len(set(self.topics)) < len(self.topics):
            raise ValueError("topics names a topic twice")
        return self

    def spec(self, name: str) -> SourceSpec:
        """As the workers read it."""
        return SourceSpec(
            source=name,
            topics=tuple(self.topics or (name,)),
            format=self.format,
            model=self.model,
            prefix=self.prefix,
            version_rule=self.version_rule,
            text_search_language=self.text_search_language,
            dead_letter_topic=self.dead_letter_topic,
            pipeline=self.pipeline.spec(),
            limits=self.limits.spec(),
            freshness=self.freshness.spec(),
        )


class SubscriberTable(_Table):
    """[subscriber.NAME]: an application team that is told of every published batch."""

    sources: Annotated[list[str], Field(min_length=1)] = Field(description="Sources it is told of.")
    endpoint: Endpoint = Field(description="Nexus endpoint; made by `freshet apply`.")
    namespace: Namespace = Field(description="The team's Temporal namespace.")
    task_queue: TaskQueue = Field(description="Where the team's Nexus handler polls.")
    from_start: bool = Field(
        default=True, description="The first notice is of the first batch; else of the next one."
    )

    @model_validator(mode="after")
    def _once(self) -> "SubscriberTable":
        if len(set(self.sources)) < len(self.sources):
            raise ValueError("sources names a source twice")
        return self

    def spec(self, name: str) -> SubscriberSpec:
        """As the workers read it."""
        return SubscriberSpec(
            subscriber=name,
            sources=tuple(self.sources),
            endpoint=self.endpoint,
            namespace=self.namespace,
            task_queue=self.task_queue,
            from_start=self.from_start,
        )


class ConfigFile(_Table):
    """The whole of freshet.toml."""

    source: dict[SourceName, SourceTable] = Field(default={}, description="[source.NAME]")
    subscriber: dict[SourceName, SubscriberTable] = Field(
        default={}, description="[subscriber.NAME]"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> "ConfigFile":
        config_rules.check(
            [table.spec(name) for name, table in self.source.items()],
            [table.spec(name) for name, table in self.subscriber.items()],
        )
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What a file says, as the rest of Freshet reads it."""

    sources: tuple[SourceSpec, ...]
    subscribers: tuple[SubscriberSpec, ...] = ()
    partitions: dict[str, int] = field(
        default_factory=dict
    )  # topic -> partitions, for topics that are created


def load(path: Path) -> Config:
    """Read and validate a file.

    Raises:
        ConfigurationError: it cannot be read or is wrong; the message names file, field, value and what is allowed.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    return parse(text, str(path))


def parse(text: str, name: str = "freshet.toml") -> Config:
    """Like `load`, from text; `name` stands in messages."""
    try:
        read = ConfigFile.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{name} is not TOML: {error}") from error
    except ValidationError as error:
        raise ConfigurationError(
            f"{name}: " + "; ".join(_explain(entry) for entry in error.errors())
        ) from error
    except (
        ValueError,
        RecursionError,
    ) as error:  # a number of thousands of digits, a thousand brackets
        raise ConfigurationError(f"{name} is not TOML that can be read: {error}") from error
    partitions = {
        topic: table.partitions
        for who, table in read.source.items()
        for topic in table.topics or (who,)
    }
    return Config(
        sources=tuple(table.spec(who) for who, table in read.source.items()),
        subscribers=tuple(table.spec(who) for who, table in read.subscriber.items()),
        partitions=partitions,
    )


def schema() -> dict[str, Any]:
    """JSON Schema of the file, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **ConfigFile.model_json_schema(),
    }


def _explain(entry: ErrorDetails) -> str:
    """One error in words: field, value, what is allowed."""
    path = ".".join(
        str(part)
        for part in entry["loc"]
        if part not in ("[key]",) and not str(part).startswith(("function-", "constrained-"))
    )
    kind, context = entry["type"], entry.get("ctx", {})
    if kind == "extra_forbidden":
        table = _table_at(entry["loc"][:-1])
        known = f"; known there: {', '.join(table.model_fields)}" if table else ""
        return f"{path} is not a setting{known}"
    if kind == "missing":
        return f"{path} is missing"
    if kind == "value_error":
        told = str(context.get("error", entry["msg"]))
        return (
            f"{path} = {_shown(entry['input'])}: {told}"
            if path and not isinstance(entry["input"], dict)
            else (f"{path}: {told}" if path else told)
        )
    if kind == "string_pattern_mismatch":
        return f"{path} = {_shown(entry['input'])} does not match {context['pattern']}"
    message = entry["msg"][0].lower() + entry["msg"][1:]
    return f"{path} = {_shown(entry['input'])}: {message}"


def _table_at(location: tuple[int | str, ...]) -> type[_Table] | None:
    if not location:
        return ConfigFile
    if location[0] == "subscriber":
        return SubscriberTable if len(location) == 2 else None
    tables: dict[int, type[_Table]] = {2: SourceTable}
    parts: dict[str, type[_Table]] = {
        "pipeline": PreparationTable,
        "limits": LimitsTable,
        "freshness": FreshnessTable,
    }
    return tables.get(len(location)) or (
        parts.get(str(location[2])) if len(location) == 3 else None
    )


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:59] + "…"
