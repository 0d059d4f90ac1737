"""Which form a record has, as `freshet try` names it; no configuration is known yet, and nothing in here raises."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

from corpus.clean.files.kinds import is_file
from corpus.source import SourceSpec
from ingest.decode.debezium.rows import relaxed
from ingest.decode.encoding import document_text, json_bytes
from ingest.decode.fields import FieldError
from ingest.decode.inflate import HEADER, inflated
from ingest.decode.json_text import json_bytes_of_text, load_json
from ingest.decode.received import ReceivedFields
from ingest.event import KafkaRecord

Fields = dict[str, Any]

NO_VALUE = "no value (deletes)"

# What a value may become when it is inflated; the default limit of a source.
_MAX_BYTES = SourceSpec(source="s", topics=("t",)).pipeline.max_document_bytes
_NATIVE = frozenset(ReceivedFields.__struct_fields__) | {"source"}
_WRAPPED = frozenset({"schema", "payload"})
_ENVELOPE = frozenset({"before", "after"})
_OPERATIONS = frozenset({"c", "u", "r", "d", "t", "m"})
_TRANSACTION = frozenset({"status", "id", "event_count"})
_SCHEMA_CHANGE = frozenset({"ddl", "databaseName"})
_OUTBOX = frozenset({"aggregateid", "aggregatetype", "payload"})
_FLATTENED = re.compile(
    r"__(deleted|op|lsn|table|db|schema|ts_ms|source_\w+|source\.\w+)"
)
_CLOUD_BODY = "data"
_CLOUD_HEADERS = "ce_"
_CLOUD_TYPE = "application/cloudevents"
_DEBEZIUM_CLOUD = "iodebeziumop"
# Header of Confluent's serialisers that write the id of the schema apart.
_SCHEMA_HEADERS = frozenset({"__value_schema_id", "__key_schema_id"})
_WIRE_BYTES = 5  # magic byte 0, and the id of the schema
_GUID_BYTES = 17  # magic byte 1, and the id as a UUID
_AVRO_FILE = b"Obj\x01"
_PACKED = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"\xff\x06\x00\x00sNaPpY": "snappy",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What one record looks like."""

    format: (
        str  # of `corpus.specs.formats.Format`, or "registry"; empty: it says nothing
    )
    variant: str  # of the format, in words
    # What the paths of a mapping begin at; None: there are no such fields.
    fields: Fields | None = None
    deletes: bool = False
    type: str = ""  # of a CloudEvent
    schema_id: str = ""  # of a schema registry; empty: there is none
    written_by: str = ""  # of a change: `DebeziumSpec.encoding`; empty: JSON
    encoding: str = ""  # that the value is compressed with; empty: it is not


# The form of a record whose value names a schema.
BySchema = Callable[[KafkaRecord, str], Form]


def form_of(record: KafkaRecord, by_schema: BySchema | None = None) -> Form:
    """The form of a record.

    Args:
        record: as it came.
        by_schema: reads a record by the registry, which has the schema of the id; None: there is no registry.
    """
    if record.unreadable is not None:
        return Form(format="", variant="a record that cannot be read")
    if record.value is None:
        return _without_value(record)
    encoding = _header(record, HEADER)
    try:
        record = inflated(record, _MAX_BYTES)
    except FieldError:
        return Form(format="", variant=f"{encoding} that cannot be inflated")
    value = record.value or b""
    schema_id = _schema_id(record, value)
    if schema_id and by_schema is not None:
        form = by_schema(record, schema_id)
    else:
        form = _form_of_value(record, value, schema_id)
    return replace(form, encoding=encoding)


def form_of_read(record: KafkaRecord, value: Any) -> Form | None:
    """The form of a value that was read by its schema; None: it is no object."""
    if isinstance(value, str):
        inner = _json_of(value.encode("utf-8", "surrogatepass"))
        if isinstance(inner, dict):
            return _string_encoded(record, cast("Fields", inner))
    if isinstance(value, dict):
        return _form_of_object(record, cast("Fields", value), "")
    return None


def _without_value(record: KafkaRecord) -> Form:
    kind = _header(record, f"{_CLOUD_HEADERS}type")
    if kind:
        return Form(
            format="cloudevents", variant="binary mode", deletes=True, type=kind
        )
    return Form(format="", variant=NO_VALUE, deletes=True)


def _form_of_value(
    record: KafkaRecord,
    value: bytes,
    schema_id: str,
) -> Form:
    """By the headers, the first bytes, then the fields."""
    if _header(record, f"{_CLOUD_HEADERS}specversion"):
        return _cloud_binary(record, value)
    loaded = _json_of(value)
    if isinstance(loaded, dict):
        return _form_of_object(record, cast("Fields", loaded), schema_id)
    if schema_id:
        return Form(format="registry", variant=_AVRO, schema_id=schema_id)
    if isinstance(loaded, str):
        inner = _json_of(json_bytes_of_text(value))
        if isinstance(inner, dict):
            return _string_encoded(record, cast("Fields", inner))
    return _form_of_bytes(value)


_AVRO = "a schema registry's wire format: Avro or Protobuf"
_JSON_SCHEMA = "with Confluent's header"


# ── bytes ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _schema_id(record: KafkaRecord, value: bytes) -> str:
    """The id of the schema in a registry, as Confluent's serialisers write it; empty where there is none."""
    for name, header in record.headers:
        if name in _SCHEMA_HEADERS and header and name.startswith("__value"):
            return _id_in(header)
    is_wire = len(value) > _WIRE_BYTES and value[:2] == b"\0\0"
    # UTF-32 begins with zeros, too, and has three more in each of its characters.
    if is_wire and value[4:7] != b"\0\0\0":
        return _id_in(value[:_WIRE_BYTES])
    return ""


def _id_in(header: bytes) -> str:
    if header[:1] == b"\x01" and len(header) >= _GUID_BYTES:
        return header[1:_GUID_BYTES].hex()
    return str(int.from_bytes(header[1:_WIRE_BYTES]))


def _json_of(value: bytes) -> Any:
    """The JSON of a value; None where it is none."""
    try:
        text = json_bytes(value).decode("utf-8", "surrogateescape")
        return load_json(text)
    except (FieldError, RecursionError):
        return None


def _form_of_bytes(value: bytes) -> Form:
    for beginning, name in _PACKED.items():
        if value.startswith(beginning):
            variant = f"{name} without the header {HEADER}"
            return Form(format="", variant=variant)
    if value.startswith(_AVRO_FILE):
        return Form(format="", variant="an Avro file, which no format reads")
    if is_file(value):
        return Form(format="text", variant="files (bytes)")
    if value.lstrip()[:1] == b"{":
        return Form(format="", variant="JSON that is damaged")
    try:
        document_text(value, ())
    except FieldError:
        return Form(format="", variant="bytes that are neither a text nor a known file")
    return Form(format="text", variant="texts")


# ── objects ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _form_of_object(record: KafkaRecord, value: Fields, schema_id: str) -> Form:
    if _DEBEZIUM_CLOUD in value:
        return _debezium_cloud(value)
    is_event = "specversion" in value and "type" in value
    content_type = _header(record, "content-type")
    if is_event or content_type.lower().startswith(_CLOUD_TYPE):
        return _cloud_structured(value)
    payload, has_schema = _payload(value)
    change = _debezium(record, payload, has_schema=has_schema)
    if change is not None:
        return change
    if not has_schema and _is_native(value, record):
        deletes = value.get("op") == "delete"
        return Form(
            format="native",
            variant="Freshet's own fields",
            fields=value,
            deletes=deletes,
        )
    variant = "an object"
    if has_schema:
        variant = "an object below payload, with its schema"
        value = {"payload": payload}
    if schema_id:
        variant = f"{variant} {_JSON_SCHEMA}"
    return Form(format="json", variant=variant, fields=value, schema_id=schema_id)


def _payload(value: Fields) -> tuple[Fields, bool]:
    """A value without the schema that Kafka Connect's JSON converter writes beside it."""
    payload = value.get("payload")
    if value.keys() != _WRAPPED or not isinstance(payload, dict):
        return value, False
    return cast("Fields", payload), True


def _is_native(value: Fields, record: KafkaRecord) -> bool:
    names = value.keys()
    if not names <= _NATIVE or ("id" not in names and record.key is None):
        return False
    return "content" in names or "content_base64" in names or "op" in names


# ── Debezium ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _debezium(
    record: KafkaRecord,
    value: Fields,
    *,
    has_schema: bool,
) -> Form | None:
    """A change of a row, or what a connector writes beside changes; None: it is neither."""
    schema = "without schema"
    if has_schema:
        schema = "with schema"
    if _is_envelope(value):
        return _envelope(value, schema)
    is_flattened = any(map(_FLATTENED.fullmatch, value))
    if is_flattened or _is_of_connector(record):
        return _flattened(value, schema)
    return _beside_changes(value)


def _is_envelope(value: Fields) -> bool:
    op = value.get("op")
    if not isinstance(op, str) or op not in _OPERATIONS:
        return False
    return "source" in value or value.keys() >= _ENVELOPE


def _flattened(
    value: Fields,
    schema: str,
) -> Form:
    row = {name: each for name, each in value.items() if not name.startswith("__")}
    is_deleted = value.get("__deleted") in (True, "true")
    return _row_form(
        f"flattened rows {schema}",
        row,
        deletes=is_deleted or value.get("__op") == "d",
    )


def _beside_changes(
    value: Fields,
) -> Form | None:
    """What a connector writes that is no change of a row."""
    names = value.keys()
    if names >= _TRANSACTION and value["status"] in ("BEGIN", "END"):
        return _row_form("markers of transactions", None)
    if names >= _SCHEMA_CHANGE:
        return _row_form("changes of the schema", None)
    if names == {"ts_ms"}:
        return _row_form("heartbeats", None)
    return None


def _is_of_connector(record: KafkaRecord) -> bool:
    return any(name.startswith("__debezium.") for name, _ in record.headers)


def _envelope(
    value: Fields,
    schema: str,
) -> Form:
    op = value["op"]
    row = value.get("after")
    variant = f"envelope {schema}"
    if isinstance(row, str):
        variant = f"{variant}, MongoDB's documents as JSON in a text"
        inner = _json_of(row.encode("utf-8", "surrogatepass"))
        row = relaxed(inner)
    if op == "t":
        variant = f"{variant}; a truncated table"
    if not isinstance(row, dict):
        return _row_form(variant, None, deletes=op == "d")
    fields = cast("Fields", row)
    if fields.keys() >= _OUTBOX:
        variant = f"{variant}, rows of an outbox"
        fields = _with_outbox_payload(fields)
    return _row_form(variant, fields, deletes=op == "d")


def _with_outbox_payload(row: Fields) -> Fields:
    payload = row["payload"]
    if isinstance(payload, str):
        inner = _json_of(payload.encode("utf-8", "surrogatepass"))
        if isinstance(inner, dict):
            return row | {"payload": inner}
    return row


def _debezium_cloud(value: Fields) -> Form:
    """An envelope in a CloudEvent of Debezium's own converter."""
    data = value.get(_CLOUD_BODY)
    envelope: Fields = {}
    if isinstance(data, dict):
        envelope, _ = _payload(cast("Fields", data))
    form = _envelope(envelope | {"op": value[_DEBEZIUM_CLOUD]}, "")
    variant = form.variant.replace("envelope ", "envelope as CloudEvents")
    return _row_form(variant, form.fields, deletes=form.deletes)


def _string_encoded(record: KafkaRecord, value: Fields) -> Form:
    """An object inside a JSON text, as the outbox router of Debezium writes it."""
    form = _debezium(record, value, has_schema=False)
    if form is not None:
        return form
    return _row_form("routed outbox events, as JSON in a text", value)


def _row_form(variant: str, row: Fields | None, *, deletes: bool = False) -> Form:
    return Form(format="debezium", variant=variant, fields=row, deletes=deletes)


# ── CloudEvents ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _cloud_structured(value: Fields) -> Form:
    data = value.get(_CLOUD_BODY)
    fields = cast("Fields", data) if isinstance(data, dict) else None
    kind = value.get("type")
    return Form(
        format="cloudevents",
        variant="structured mode",
        fields=fields,
        type=kind if isinstance(kind, str) else "",
    )


def _cloud_binary(record: KafkaRecord, value: bytes) -> Form:
    media_type = _header(record, "content-type").partition(";")[0].strip().lower()
    fields = None
    if not media_type or media_type.endswith(("/json", "+json")):
        loaded = _json_of(value)
        if isinstance(loaded, dict):
            fields = cast("Fields", loaded)
    return Form(
        format="cloudevents",
        variant="binary mode",
        fields=fields,
        type=_header(record, f"{_CLOUD_HEADERS}type"),
    )


def is_native_body(fields: Fields) -> bool:
    """Whether the body of a CloudEvent has Freshet's own fields."""
    names = fields.keys()
    return names <= _NATIVE and ("content" in names or "op" in names)


def _header(
    record: KafkaRecord,
    wanted: str,
) -> str:
    """The last header of a name, in upper or lower case; empty where there is none."""
    value = b""
    for name, header in record.headers:
        if name.lower() == wanted and header is not None:
            value = header
    return value.decode("utf-8", "replace")
