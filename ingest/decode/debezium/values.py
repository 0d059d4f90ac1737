"""The value of a change: an envelope or a row, out of JSON, or by the schema that a registry has for it."""

from typing import Any, cast

from corpus.source import SourceSpec
from ingest.decode import fields
from ingest.decode.debezium.schema import without_schema
from ingest.decode.fields import FieldError
from ingest.decode.json_fields import read_object
from ingest.decode.json_text import json_bytes_of_text
from ingest.decode.mapping import compiled
from ingest.decode.registry.values import Reading, read_part
from ingest.decode.repeated import refuse_repeated_in_rows
from ingest.event import KafkaRecord

_CLOUD = "iodebezium"
# Of two of these, either would be a row.
_ENVELOPE = ("op", "before", "after", "payload")
_CLOUD_OP = "iodebeziumop"
_MAGIC = b"\0"  # of Confluent's wire format
_NO_ENCODING = (
    "it begins with byte 0, as a value does whose schema is in a registry; "
    "debezium.encoding says which kind it is"
)


def value_of(record: KafkaRecord, spec: SourceSpec) -> dict[str, Any] | None:
    """The value as an envelope or a row; None: it is null.

    Raises:
        FieldError: it is neither.
        ConfigurationError: it needs a schema registry; none is set, or it refuses the login.
        DependencyError: the schema registry does not answer.
    """
    if spec.schema_kind:
        value = _registered(record, spec)
    else:
        value = _json_value(record, spec)
    if value is not None and _CLOUD_OP in value:
        return _from_cloud_event(value)
    return value


def _json_value(record: KafkaRecord, spec: SourceSpec) -> dict[str, Any] | None:
    text = record.value or b""
    if text[:1] == b'"':  # an object inside a JSON text, as the outbox router writes it
        text = json_bytes_of_text(text)
    text = without_schema(text)
    if text:
        refuse_repeated_in_rows(text, compiled(spec.mapping).unrepeated)
    try:
        return _payload(read_object(text, _ENVELOPE))
    except FieldError as error:
        if text[:1] != _MAGIC:
            raise
        raise FieldError(error.reason, f"{error.detail}; {_NO_ENCODING}") from None


def _registered(record: KafkaRecord, spec: SourceSpec) -> dict[str, Any] | None:
    """The value by its schema. Columns that Protobuf leaves out are null, as they are in the other encodings."""
    reading = Reading(spec.schema_kind, is_complete=True)
    value = read_part(record, "value", record.value or b"", reading)
    if isinstance(value, str):  # as the outbox router writes an object
        value = read_object(value.encode("utf-8", "surrogatepass"))
    if value is None or isinstance(value, dict):
        return cast("dict[str, Any] | None", value)
    raise fields.invalid("the value", value, "an envelope or a row")


def _from_cloud_event(value: dict[str, Any]) -> dict[str, Any]:
    """The envelope in a CloudEvent of Debezium's converter."""
    data = value.get("data")
    if not isinstance(data, dict):
        raise fields.invalid("data", data, "an object")
    row = _payload(cast("dict[str, Any]", data)) or {}
    said = {name.removeprefix(_CLOUD): value[name] for name in value}
    source = said | {"ts_us": said.get("tsus"), "ts_ms": said.get("tsms")}
    return {**row, "op": value[_CLOUD_OP], "source": source}


def _payload(value: dict[str, Any]) -> dict[str, Any] | None:
    """The value without its schema; None: the payload is null."""
    if value.keys() != {"schema", "payload"}:
        return value
    payload = value["payload"]
    if payload is None or isinstance(payload, dict):
        return cast("dict[str, Any] | None", payload)
    raise fields.invalid("payload", payload, "an object")
