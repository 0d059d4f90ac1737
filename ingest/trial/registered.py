"""Records whose schemas a registry has: read by them, each has the form of what it holds."""

import json
from dataclasses import replace
from typing import Any

from corpus.specs.formats import REGISTRY_FORMATS
from ingest.decode.fields import FieldError
from ingest.decode.registry.values import Reading, kind_of, read_part
from ingest.event import KafkaRecord
from ingest.trial.forms import Form, form_of_read

_FORMATS = {kind: name for name, kind in REGISTRY_FORMATS.items()}
_WORDS = {"avro": "Avro", "protobuf": "Protobuf", "json_schema": "JSON Schema"}


def form_by_schema(record: KafkaRecord, schema_id: str) -> Form:
    """The form of a record by the registry of this process.

    A record that cannot be read says why in its form, and has no vote on the format of its topic.

    Args:
        record: with a value, which is not compressed any more.
        schema_id: of the value.

    Raises:
        ConfigurationError: the registry refuses the login, or its address is none.
        DependencyError: the registry does not answer.
    """
    try:
        form = _form(record)
    except FieldError as error:
        form = Form(format="", variant=error.detail)
    return replace(form, schema_id=schema_id)


def _form(record: KafkaRecord) -> Form:
    value = record.value or b""
    name = _FORMATS.get(kind_of(record, "value", value), "")
    words = _WORDS.get(name, name)
    # As a row has it: columns that are left out are null.
    complete = read_part(record, "value", value, Reading(is_complete=True))
    form = form_of_read(record, complete)
    if form is not None and form.format == "debezium":
        variant = form.variant.replace("without schema", f"in {words}")
        return replace(form, variant=variant, written_by=name)
    fields = read_part(record, "value", value, Reading())
    if not isinstance(fields, dict):
        return Form(format="", variant=f"{words}, but no object")
    return Form(format=name, variant=f"{words} records", fields=fields)  # pyright: ignore[reportUnknownArgumentType]


def with_key(record: KafkaRecord) -> KafkaRecord:
    """The record with its key as JSON, where it can be read by a schema."""
    key = record.key
    if key is None:
        return record
    try:
        read: Any = read_part(record, "key", key, Reading(is_complete=True))
    except FieldError:
        return record
    text = json.dumps(read, ensure_ascii=False)
    return replace(record, key=text.encode("utf-8", "surrogatepass"))
