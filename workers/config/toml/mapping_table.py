"""[source.NAME.mapping], and the tables of single formats: how records are read."""

from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from corpus.specs.formats import (
    HEADER,
    MAPPED_FORMATS,
    NO_MAPPING,
    OPTIONAL_MAPPING,
    CloudEventsSpec,
    DebeziumEncoding,
    DebeziumSpec,
    DebeziumVersion,
    MappingSpec,
)
from workers.config.table import Table

_MAPPING = MappingSpec()
_DEBEZIUM: Any = DebeziumSpec()
_CLOUDEVENTS = CloudEventsSpec()
_MAX_PATH = 2_000  # characters
_MAX_PATHS = 200


def _metadata(value: Any) -> Any:
    """A list of paths; one of them, or "*", may stand alone."""
    return [value] if isinstance(value, str) else value


def _conditions(value: Any) -> Any:
    """Conditions as `PATH = VALUE`, from such a text or from a table."""
    if isinstance(value, str):
        return [_condition(value)]
    if isinstance(value, dict):
        table = cast("dict[str, Any]", value)
        return [f"{path} = {_value(wanted)}" for path, wanted in table.items()]
    return value


def _condition(text: str) -> str:
    path, separator, wanted = text.rpartition("=")
    path = path.removesuffix("=").strip()
    if not separator or not path or not wanted.strip():
        raise ValueError(
            'a field and its value, such as "status = deleted" or {status = "deleted"}'
        )
    return f"{path} = {wanted.strip().strip(_QUOTES)}"


def _value(wanted: Any) -> str:
    if isinstance(wanted, bool):
        return str(wanted).lower()
    if isinstance(wanted, str | int | float):
        return str(wanted)
    raise ValueError("the value of a condition must be text, a number, true or false")


_QUOTES = "'\"`"
Path = Annotated[str, Field(min_length=1, max_length=_MAX_PATH)]
Paths = Annotated[
    list[Path],
    Field(max_length=_MAX_PATHS),
    BeforeValidator(_metadata),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}},
            ],
            "examples": ["*", ["author.name", "tags"]],
        }
    ),
]
Conditions = Annotated[
    list[Path],
    Field(max_length=_MAX_PATHS),
    BeforeValidator(_conditions),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string"}, {"type": "object"}],
            "examples": ["status = deleted", {"deleted": True}],
        }
    ),
]


class MappingTable(Table):
    """[source.NAME.mapping]: paths in a record (JMESPath), or `header:NAME`; one with `?` behind may be missing."""

    id: Path | None = Field(
        default=_MAPPING.id,
        description="Names the document; a template, too. Default: the record's key.",
    )
    version: Path | None = Field(
        default=_MAPPING.version,
        description="A number that grows, or a time. Default: the record's time and offset.",
    )
    content: Path | None = Field(
        default=_MAPPING.content,
        description='The text: a path, or a template such as "{title}\\n\\n{body}".',
    )
    content_base64: Path | None = Field(
        default=_MAPPING.content_base64,
        description="The bytes of a text or of a file such as a PDF, as Base64; a record has these or a text.",
    )
    content_url: Path | None = Field(
        default=_MAPPING.content_url,
        description="The address of the document, which is fetched; a path or a template.",
    )
    content_sha256: Path | None = Field(
        default=_MAPPING.content_sha256,
        description="SHA-256 of what is fetched, in hex.",
    )
    title: Path | None = Field(
        default=_MAPPING.title, description="A path or a template."
    )
    uri: Path | None = Field(default=_MAPPING.uri, description="A path or a template.")
    content_type: Path | None = Field(
        default=_MAPPING.content_type, description="Media type of the content."
    )
    updated_at: Path | None = Field(
        default=_MAPPING.updated_at, description="When the document was changed."
    )
    expires_at: Path | None = Field(
        default=_MAPPING.expires_at, description="When the document ends."
    )
    acl: Path | None = Field(
        default=_MAPPING.acl,
        description="A list of the groups that may read it; null is no list, unless the path may be missing.",
    )
    language: Path | None = Field(
        default=_MAPPING.language, description="Language of the content."
    )
    metadata: Paths = Field(
        default=list(_MAPPING.metadata),
        description='Paths, each named by its last name or as "NAME = PATH"; "*": every field that no path names.',
    )
    deleted_when: Conditions = Field(
        default=list(_MAPPING.deleted_when),
        description="A field and its value by which a record deletes its document.",
    )

    @model_validator(mode="after")
    def _readable(self) -> "MappingTable":
        # Loads JMESPath, which most commands do not need.
        from ingest.decode.mapping import compiled

        compiled(self.spec())
        return self

    def spec(self) -> MappingSpec:
        """As the workers read it."""
        fields = self.model_dump()
        metadata = tuple(fields.pop("metadata"))
        deleted_when = tuple(fields.pop("deleted_when"))
        return MappingSpec(metadata=metadata, deleted_when=deleted_when, **fields)


class DebeziumTable(Table):
    """[source.NAME.debezium]: changes of a table's rows."""

    version: DebeziumVersion = Field(
        default=_DEBEZIUM.version,
        description="auto: the position in the database's log (lsn, binlog), else the time; or one of them; "
        "record: the record's time and offset.",
    )
    unavailable: Annotated[str, Field(min_length=8, max_length=200)] = Field(
        default=_DEBEZIUM.unavailable,
        description="What the connector writes for a large column that did not change.",
    )
    truncate: Literal["stop", "ignore"] = Field(
        default=_DEBEZIUM.truncate,
        description="A table was truncated: the source stops and asks (`freshet source truncate`), or the record is "
        "ignored.",
    )
    encoding: DebeziumEncoding = Field(
        default=_DEBEZIUM.encoding,
        description="How the connector's converter writes values; the schemas of all but json are in a schema "
        "registry.",
    )

    def spec(self) -> DebeziumSpec:
        """As the workers read it."""
        return DebeziumSpec(**self.model_dump())


class CloudEventsTable(Table):
    """[source.NAME.cloudevents]: which types of events are read; `*` stands for anything."""

    types: list[Path] = Field(
        default=list(_CLOUDEVENTS.types),
        description="Types that carry a document; others are ignored.",
    )
    deleted_types: list[Path] = Field(
        default=list(_CLOUDEVENTS.deleted_types),
        description="Types that delete one.",
    )

    def spec(self) -> CloudEventsSpec:
        """As the workers read it."""
        return CloudEventsSpec(
            types=tuple(self.types),
            deleted_types=tuple(self.deleted_types),
        )


def check_mapping(format_name: str, mapping: MappingSpec) -> None:
    """Refuse a mapping that does not fit the format.

    Raises:
        ValueError: says what is missing, or cannot be mapped.
    """
    if format_name in OPTIONAL_MAPPING and mapping == NO_MAPPING:
        return
    if format_name in MAPPED_FORMATS:
        contents = (mapping.content, mapping.content_base64, mapping.content_url)
        if not any(contents):
            raise ValueError(
                f'format = "{format_name}" needs mapping.content: which field of a record is the text '
                "(or mapping.content_base64: its bytes; or mapping.content_url: its address)"
            )
        return
    for path in _paths_of(mapping):
        if not path.startswith(HEADER):
            raise ValueError(
                f'format = "{format_name}" names its fields itself; its mapping can only take headers '
                f'("{HEADER}NAME"), not {path!r}'
            )


def _paths_of(mapping: MappingSpec) -> list[str]:
    paths: list[str] = [*mapping.deleted_when]
    for entry in mapping.metadata:
        path = entry.rpartition(" = ")[2]
        paths.append(path)
    for name in MappingSpec.__dataclass_fields__:
        value = getattr(mapping, name)
        if isinstance(value, str):
            paths.append(value)
    return paths
