"""`freshet.toml`: sources and subscribers as a person writes them, validated, and turned into `SourceSpec` and `SubscriberSpec`.

TOML, since an indentation cannot change its meaning, it has comments, and Python reads it without a further library.
A source is a table of its own, `[source.NAME]`: TOML itself refuses a name twice, and an error says `source.NAME.field`.
"""

import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema, model_validator
from pydantic_core import ErrorDetails

from corpus.errors import ConfigurationError
from corpus.pipeline import PipelineSpec
from corpus.source import BatchLimits, FreshnessSpec, SourceSpec, VersionRule
from corpus.subscription import SubscriberSpec

_NAME = r"^[a-z0-9][a-z0-9_.-]{0,62}$"
_TOPIC = r"^[a-zA-Z0-9._-]{1,249}$"
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_SIZES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def seconds(value: Any) -> Any:
    """A duration in seconds: a number of them, or text such as "30d", "1h30m", "250ms"."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError('a duration such as "30d", "1h30m", "250ms", or a number of seconds')  # noqa: TRY004 - pydantic takes ValueError only
    if isinstance(value, (int, float)):
        return value
    text = value.replace(" ", "")
    if not re.fullmatch(r"(\d+(\.\d+)?(ms|s|m|h|d|w))+", text):
        raise ValueError('a duration such as "30d", "1h30m", "250ms" (units: ms, s, m, h, d, w), or a number of seconds')
    return sum(float(number) * _UNITS[unit] for number, _, unit in re.findall(r"(\d+(\.\d+)?)(ms|s|m|h|d|w)", text))


def size(value: Any) -> Any:
    """A size in bytes: a whole number of them, or text such as "8MB", "512KiB"."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?I?B)?", value.strip().upper()) if isinstance(value, str) else None
    if found is None:
        raise ValueError('a size such as "8MB", "512KiB" (units: B, KB, MB, GB, KiB, MiB, GiB), or a whole number of bytes')
    return int(float(found[1]) * _SIZES[found[2] or ""])


def _whole_seconds(value: Any) -> int:
    number = seconds(value)
    if number != int(number):
        raise ValueError(f"whole seconds; {value!r} is {number:g} s")
    return int(number)


def _milliseconds(value: Any) -> int:
    return round(seconds(value) * 1000)


def _written(reader: Callable[[Any], Any], example: str) -> tuple[BeforeValidator, WithJsonSchema]:
    schema = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string"}], "examples": [example]}
    return BeforeValidator(reader), WithJsonSchema(schema)


Bytes = Annotated[int, Field(ge=1), *_written(size, "8MB")]
Seconds = Annotated[int, Field(ge=1), *_written(_whole_seconds, "30d")]
FractionOfSeconds = Annotated[float, Field(gt=0), *_written(seconds, "20s")]
Milliseconds = Annotated[int, Field(ge=0, le=60_000), *_written(_milliseconds, "50ms")]
Count = Annotated[int, Field(ge=1, strict=True)]
Topic = Annotated[str, Field(pattern=_TOPIC)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PipelineTable(_Table):
    """[source.NAME.pipeline]: how documents are prepared."""

    content_type: str | None = Field(
        default=None, description="Media type of every document, whatever its event says; default: the event's, else text/plain."
    )
    unknown_content_type: Literal["reject", "text"] = Field(
        default="reject", description="An unknown media type: dead letter, or taken as plain text."
    )
    html: Literal["main", "all"] = Field(default="main", description="HTML: the main text only, or every visible text.")
    chunker: Literal["structure", "whole"] = Field(
        default="structure", description="Chunks end at headings, paragraphs, sentences; or one chunk a document."
    )
    max_tokens: Annotated[int, Field(ge=16, strict=True)] | None = Field(
        default=None, description="A chunk's limit in tokens; default: what the model reads."
    )
    min_tokens: Annotated[int, Field(ge=1, strict=True)] = Field(default=32, description="Smaller pieces are joined to a neighbour.")
    max_document_bytes: Bytes = Field(default=32_000_000, description="Larger events are dead-lettered.")
    max_chunks: Count = Field(default=50_000, description="Documents of more chunks are dead-lettered.")
    max_nesting: Count = Field(default=512, description="Deeper HTML is read without structure.")
    clean_timeout: FractionOfSeconds = Field(default=20.0, description="Documents that take longer to clean are dead-lettered.")

    def spec(self) -> PipelineSpec:
        """As the workers read it."""
        fields = self.model_dump()
        return PipelineSpec(clean_timeout_seconds=fields.pop("clean_timeout"), **fields)


class LimitsTable(_Table):
    """[source.NAME.limits]: micro-batches, and how far a source may run ahead."""

    max_records: Count = Field(default=5_000, description="Records a batch.")
    max_bytes: Bytes = Field(default=8_000_000, description="Bytes a batch; one larger document makes a batch of its own.")
    linger: Milliseconds = Field(default=0, description="Wait this long for more records before a batch is cut.")
    max_in_flight: Annotated[int, Field(ge=1, le=16, strict=True)] = Field(default=3, description="Batches worked on side by side.")
    max_pending_records: Count = Field(default=20_000, description="Records read ahead of publishing; above it the source pauses.")
    max_pending_bytes: Bytes = Field(default=64_000_000, description="Bytes read ahead of publishing; above it the source pauses.")

    def spec(self) -> BatchLimits:
        """As the workers read it."""
        fields = self.model_dump()
        return BatchLimits(linger_ms=fields.pop("linger"), **fields)


class FreshnessTable(_Table):
    """[source.NAME.freshness]: ages; what is left out is not judged."""

    warn_after: Seconds | None = Field(default=None, description="Age of the newest event, or of the oldest unverified document, for WARN.")
    error_after: Seconds | None = Field(default=None, description="Likewise for ERROR.")
    expire_after: Seconds | None = Field(default=None, description="Documents not observed or verified for this long are withdrawn.")
    check_every: Seconds = Field(default=300, description="How often it is checked.")
    max_expiry_ratio: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.5, description="A check that would expire more of the visible documents stops."
    )

    @model_validator(mode="after")
    def _in_order(self) -> "FreshnessTable":
        if self.warn_after is not None and self.error_after is not None and self.warn_after > self.error_after:
            raise ValueError(f"warn_after ({self.warn_after} s) must not be longer than error_after ({self.error_after} s)")
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

    topics: Annotated[list[Topic], Field(min_length=1)] | None = Field(default=None, description="Kafka topics; default: the source's name.")
    partitions: Annotated[int, Field(ge=1, le=1_000, strict=True)] = Field(default=3, description="Of a topic that `freshet apply` creates.")
    format: Literal["native", "text"] = Field(
        default="native", description="native: JSON events; text: the value is the document, the rest stands in headers."
    )
    model: Annotated[str, Field(min_length=1)] = Field(default="all-MiniLM-L6-v2", description="Embedding model, as sentence-transformers names it.")
    prefix: str = Field(default="", description="Put before every document text, for models that want one.")
    version_rule: VersionRule = Field(default=VersionRule.EVENT, description="Where a document's version comes from; a wrong choice loses data.")
    text_search_language: Annotated[str, Field(pattern="^[a-z_]{1,63}$")] = Field(
        default="english", description="PostgreSQL text search configuration."
    )
    dead_letter_topic: Topic | None = Field(default=None, description='Default: "{first topic}.dead-letters".')
    pipeline: PipelineTable = PipelineTable()
    limits: LimitsTable = LimitsTable()
    freshness: FreshnessTable = FreshnessTable()

    @model_validator(mode="after")
    def _apart(self) -> "SourceTable":
        if self.topics and len(set(self.topics)) < len(self.topics):
            raise ValueError("topics names a topic twice")
        if self.topics and self.dead_letter_topic in self.topics:
            raise ValueError(f"dead_letter_topic {self.dead_letter_topic!r} is one of its topics: its dead letters would come back for ever")
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
    endpoint: Annotated[str, Field(pattern="^[a-zA-Z][a-zA-Z0-9-]{0,199}$")] = Field(description="Nexus endpoint; made by `freshet apply`.")
    namespace: Annotated[str, Field(min_length=1)] = Field(description="The team's Temporal namespace.")
    task_queue: Annotated[str, Field(min_length=1)] = Field(description="Where the team's Nexus handler polls.")
    from_start: bool = Field(default=True, description="The first notice is of the first batch; else of the next one.")


class ConfigFile(_Table):
    """The whole of freshet.toml."""

    source: dict[Annotated[str, Field(pattern=_NAME)], SourceTable] = Field(default={}, description="[source.NAME]")
    subscriber: dict[Annotated[str, Field(pattern=_NAME)], SubscriberTable] = Field(default={}, description="[subscriber.NAME]")

    @model_validator(mode="after")
    def _known_sources(self) -> "ConfigFile":
        for name, subscriber in self.subscriber.items():
            for source in subscriber.sources:
                if source not in self.source:
                    known = ", ".join(sorted(self.source)) or "none"
                    raise ValueError(f"subscriber.{name}.sources names {source!r}, which is no source of this file (there: {known})")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What a file says, as the rest of Freshet reads it."""

    sources: tuple[SourceSpec, ...]
    subscribers: tuple[SubscriberSpec, ...] = ()
    partitions: dict[str, int] = field(default_factory=dict)  # topic -> partitions, for topics that are created


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
        raise ConfigurationError(f"{name}: " + "; ".join(_explain(entry) for entry in error.errors())) from error
    subscribers = [
        SubscriberSpec(
            subscriber=who,
            sources=tuple(table.sources),
            endpoint=table.endpoint,
            namespace=table.namespace,
            task_queue=table.task_queue,
            from_start=table.from_start,
        )
        for who, table in read.subscriber.items()
    ]
    partitions = {topic: table.partitions for who, table in read.source.items() for topic in table.topics or (who,)}
    return Config(sources=tuple(table.spec(who) for who, table in read.source.items()), subscribers=tuple(subscribers), partitions=partitions)


def schema() -> dict[str, Any]:
    """JSON Schema of the file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **ConfigFile.model_json_schema()}


def _explain(entry: ErrorDetails) -> str:
    """One error in words: field, value, what is allowed."""
    path = ".".join(str(part) for part in entry["loc"] if part not in ("[key]",) and not str(part).startswith(("function-", "constrained-")))
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
            f"{path} = {_shown(entry['input'])}: {told}" if path and not isinstance(entry["input"], dict) else (f"{path}: {told}" if path else told)
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
    parts: dict[str, type[_Table]] = {"pipeline": PipelineTable, "limits": LimitsTable, "freshness": FreshnessTable}
    return tables.get(len(location)) or (parts.get(str(location[2])) if len(location) == 3 else None)


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:59] + "…"
