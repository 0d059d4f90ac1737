"""Formats `avro`, `protobuf` and `json_schema`: a record's schema is in the registry; the mapping reads the object.

A key that names a schema is read by it, whatever the format of the value: keys are often simpler than values.
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, cast

from corpus.dead_letter import Quoting, by_schema
from corpus.source import SourceSpec
from ingest.decode.fields import FieldError, shown
from ingest.decode.json_fields import mapped_event
from ingest.decode.mapping import compiled
from ingest.decode.registry.avro import avro_reader
from ingest.decode.registry.framing import (
    Framed,
    Part,
    SchemaRef,
    framed,
    header_of,
    unusable,
    without_name,
)
from ingest.decode.registry.json_schema import json_reader
from ingest.decode.registry.protobuf import protobuf_reader
from ingest.decode.registry.schemas import (
    UNKNOWN_SECONDS,
    SchemaRegistry,
    StoredSchema,
    registry,
)
from ingest.event import Decoded, KafkaRecord

MAX_READERS = 500
_MAGIC = (b"\x00", b"\x01")


class Reading(NamedTuple):
    """How a key or a value is read.

    Attributes:
        kind: of its schema; empty: any.
        unrepeated: names that an object may not have twice.
        is_complete: whether fields that the schema has and the bytes have not are there, as null.
        topic: of the record; `read_part` fills it in.
    """

    kind: str = ""
    unrepeated: tuple[str, ...] = ()
    is_complete: bool = False
    topic: str = ""


Reader = Callable[[Framed, Reading], Any]


def decode_registered(
    record: KafkaRecord,
    spec: SourceSpec,
) -> Decoded:
    """Read a value by its schema, then by the source's mapping.

    Raises:
        ConfigurationError: there is no registry, or it refuses the login.
        DependencyError: the registry does not answer.
        FieldError: the value names no schema that the registry has, or is none of it.
    """
    mapping = compiled(spec.mapping)
    reading = Reading(spec.schema_kind, mapping.unrepeated)
    value = read_part(record, "value", record.value or b"", reading)
    if not isinstance(value, dict):
        raise unusable(Quoting.NO_OBJECT.detail(value=shown(value)))
    return mapped_event(cast("dict[str, Any]", value), mapping, record, spec)


def with_plain_key(
    record: KafkaRecord,
    spec: SourceSpec,
) -> KafkaRecord:
    """The record with its key as JSON, where the key names a schema and may name the document.

    Raises:
        ConfigurationError: as `decode_registered`.
        DependencyError: as `decode_registered`.
        FieldError: as `decode_registered`.
    """
    is_named_by_value = record.value is not None and spec.mapping.id is not None
    # A row of a table is named by its key first, so that its tombstone is, too.
    if is_named_by_value and spec.format != "debezium":
        return record
    return with_read_key(record, spec)


def with_read_key(
    record: KafkaRecord,
    spec: SourceSpec,
) -> KafkaRecord:
    """The record with its key as JSON, where the key names a schema; it no longer names one then.

    Raises:
        ConfigurationError: as `decode_registered`.
        DependencyError: as `decode_registered`.
        FieldError: as `decode_registered`.
    """
    key = record.key
    if key is None or not spec.schema_kind or spec.key_format == "text":
        return record
    if not key.startswith(_MAGIC) and header_of(record, "key") is None:
        return record
    reading = Reading(is_complete=spec.format == "debezium")
    value = read_part(record, "key", key, reading)
    text = json.dumps(value, ensure_ascii=False)
    return replace(
        record,
        key=text.encode("utf-8", "surrogatepass"),
        headers=without_name(record.headers, "key"),
    )


def kind_of(
    record: KafkaRecord,
    part: Part,
    content: bytes,
) -> str:
    """The kind of schema that wrote a key or a value.

    Raises:
        ConfigurationError: as `decode_registered`.
        DependencyError: as `decode_registered`.
        FieldError: none did that the registry has.
    """
    frame = framed(record, part, content)
    kind, _ = _readers.of(registry(), frame.schema)
    return kind


def read_part(
    record: KafkaRecord,
    part: Part,
    content: bytes,
    reading: Reading,
) -> Any:
    """What a key or a value holds.

    Args:
        record: of it.
        part: which of them it is.
        content: its bytes.
        reading: how it is read.

    Raises:
        ConfigurationError: as `decode_registered`.
        DependencyError: as `decode_registered`.
        FieldError: as `decode_registered`.
    """
    frame = framed(record, part, content)
    kind, read = _readers.of(registry(), frame.schema)
    if reading.kind and kind != reading.kind:
        raise unusable(
            f"schema {frame.schema} is {kind}, and the source reads {reading.kind}"
        )
    try:
        return read(frame, reading._replace(topic=record.topic))
    except FieldError as error:
        detail = by_schema(part, frame.schema, error.detail)
        raise FieldError(error.reason, detail) from None


# ── readers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _avro(schema: StoredSchema) -> Reader:
    read = avro_reader(schema)
    return lambda frame, _: read(frame.payload)


def _protobuf(schema: StoredSchema) -> Reader:
    read = protobuf_reader(schema)
    return lambda frame, reading: read(frame.payload, frame.place, reading.is_complete)


def _json(schema: StoredSchema) -> Reader:
    read = json_reader(schema)
    return lambda frame, reading: read(frame.payload, reading.unrepeated, reading.topic)


_KINDS: dict[str, Callable[[StoredSchema], Reader]] = {
    "AVRO": _avro,
    "PROTOBUF": _protobuf,
    "JSON": _json,
}


class _Readers:
    """The readers of the schemas that were read last, and why others cannot be used."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: SchemaRegistry | None = None
        self._known: dict[SchemaRef, tuple[str, Reader]] = {}
        self._refused: dict[SchemaRef, tuple[FieldError, float]] = {}

    def of(
        self,
        source: SchemaRegistry,
        reference: SchemaRef,
    ) -> tuple[str, Reader]:
        """The kind of a schema, and what reads by it.

        Raises:
            FieldError: it is not known, or cannot be used.
        """
        if source is not self._of:
            self._begin(source)
        known = self._known.get(reference)
        if known is not None:
            return known
        refused = self._refused.get(reference)
        if refused is not None and time.monotonic() < refused[1]:
            raise refused[0]
        return self._ask(source, reference)

    def _begin(
        self,
        source: SchemaRegistry,
    ) -> None:
        """Another registry gives the same numbers to other schemas."""
        with self._lock:
            self._known.clear()
            self._refused.clear()
            self._of = source

    def _ask(
        self,
        source: SchemaRegistry,
        reference: SchemaRef,
    ) -> tuple[str, Reader]:
        try:
            schema = source.schema(reference)
            found = schema.kind, _compiled(reference, schema)
        except FieldError as error:
            until = time.monotonic() + UNKNOWN_SECONDS
            self._keep(self._refused, reference, (error, until))
            raise
        self._keep(self._known, reference, found)
        return found

    def _keep(
        self,
        kept: dict[SchemaRef, Any],
        reference: SchemaRef,
        one: Any,
    ) -> None:
        with self._lock:
            kept[reference] = one
            if len(kept) > MAX_READERS:
                kept.pop(next(iter(kept)))


def _compiled(
    reference: SchemaRef,
    schema: StoredSchema,
) -> Reader:
    compile_schema = _KINDS.get(schema.kind)
    if compile_schema is None:
        raise unusable(
            f"schema {reference} is of an unknown kind, {schema.kind[:20]!r}"
        )
    try:
        return compile_schema(schema)
    except FieldError as error:
        detail = f"schema {reference} cannot be used: {error.detail}"
        raise FieldError(error.reason, detail) from None


_readers = _Readers()
