"""How a source's records are read: the format, and the mapping of its fields to those of a document.

A path is a JMESPath expression; `header:NAME` is a header of the record instead. A path with `?` behind it may be
missing; of any other a record without it becomes a dead letter that names the path.
"""

from dataclasses import dataclass
from typing import Literal

Format = Literal[
    "native",
    "text",
    "json",
    "debezium",
    "cloudevents",
    "avro",
    "protobuf",
    "json_schema",
]
# Formats whose schemas a registry has, and what it calls their kind.
REGISTRY_FORMATS = {"avro": "AVRO", "protobuf": "PROTOBUF", "json_schema": "JSON"}
# Formats whose fields a mapping names; the others name them themselves.
MAPPED_FORMATS = frozenset({"json", "debezium", "cloudevents", *REGISTRY_FORMATS})
# Of them, those that are read without one, too.
OPTIONAL_MAPPING = frozenset({"cloudevents"})
HEADER = "header:"  # before a header's name
OPTIONAL = "?"  # behind a path that may be missing
EVERY_OTHER = "*"  # as metadata: every field that no other path names


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingSpec:
    """Which fields of a record are those of a document; None: the record names none.

    Every setting with its default and its meaning; the tables of `freshet.toml` take defaults from here.
    """

    # Names the document; None: the record's key does.
    id: str | None = None
    # A number that grows, or a time.
    version: str | None = None
    # The text of the document: a path, or a template such as "{title}\n\n{body}".
    content: str | None = None
    # The bytes of the document, a text or a file, as Base64; a record has these or a text.
    content_base64: str | None = None
    # The address of the document, which is fetched; a record has this, or a content.
    content_url: str | None = None
    # SHA-256 of what is fetched, as 64 hex digits.
    content_sha256: str | None = None
    title: str | None = None
    uri: str | None = None
    content_type: str | None = None
    updated_at: str | None = None
    expires_at: str | None = None
    acl: str | None = None
    language: str | None = None
    # Paths, each as "NAME = PATH" or as a path whose last name counts; or "*".
    metadata: tuple[str, ...] = ()
    # Conditions "PATH = VALUE"; where all of them hold, the record deletes its document.
    deleted_when: tuple[str, ...] = ()


NO_MAPPING = MappingSpec()


DebeziumVersion = Literal["auto", "lsn", "ts_us", "ts_ms", "binlog", "record"]
DebeziumEncoding = Literal["json", "avro", "protobuf", "json_schema"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DebeziumSpec:
    """How changes of rows are read."""

    # Of a row: "auto" is the position in the database's log where the connector writes one, else the time.
    version: DebeziumVersion = "auto"
    # What the connector writes for a large column that did not change (`unavailable.value.placeholder`).
    unavailable: str = "__debezium_unavailable_value"
    # A table that was truncated: the source stops and asks, or the records of it are ignored.
    truncate: Literal["stop", "ignore"] = "stop"
    # How the connector's converter writes values; the schemas of all but "json" are in a registry.
    encoding: DebeziumEncoding = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudEventsSpec:
    """Which CloudEvents are read; `*` in a type stands for anything."""

    # Types of events that carry a document; those of others are ignored.
    types: tuple[str, ...] = ("*",)
    # Types of events that delete one.
    deleted_types: tuple[str, ...] = ("*.deleted", "*.removed")
