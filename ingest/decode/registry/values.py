"""Formats `avro`, `protobuf` and `json_schema`: a record's schema is in the registry; the mapping reads the object.

A key that names a schema is read by it, whatever the format of the value: keys are often simpler than values.
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from corpus.dead_letter import Quoting
from corpus.source import SourceSpec
from corpus.specs.formats import REGISTRY_FORMATS
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

# Reads what is framed; the names are those that an object may not have twice.
Reader = Callable[[Framed, tuple[str, ...]], Any]


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
    wanted = REGISTRY_FORMATS[spec.format]
    value = _read(record, "value", record.value or b"", wanted, mapping.unrepeated)
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
    key = record.key
    if key is None or spec.format not in REGISTRY_FORMATS or spec.key_format == "text":
        return record
    if record.value is not None and spec.mapping.id is not None:
        return record
    if not key.startswith(_MAGIC) and header_of(record, "key") is None:
        return record
    value = _read(record, "key", key, "", ())
    text = json.dumps(value, ensure_ascii=False)
    return replace(record, key=text.encode("utf-8", "surrogatepass"))


def _read(
    record: KafkaRecord,
    part: Part,
    content: bytes,
    wanted: str,
    unrepeated: tuple[str, ...],
) -> Any:
    """What a key or a value holds.

    Args:
        record: of it.
        part: which of them it is.
        content: its bytes.
        wanted: the kind of schema; empty: any.
        unrepeated: names that an object may not have twice.
    """
    frame = framed(record, part, content)
    kind, read = _readers.of(registry(), frame.schema)
    if wanted and kind != wanted:
        raise unusable(
            f"schema {frame.schema} is {kind}, and the source reads {wanted}"
        )
    try:
        return read(frame, unrepeated)
    except FieldError as error:
        detail = f"the {part} cannot be read by schema {frame.schema}: {error.detail}"
        raise FieldError(error.reason, detail) from None


# ── readers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _avro(schema: StoredSchema) -> Reader:
    read = avro_reader(schema)
    return lambda frame, _: read(frame.payload)


def _protobuf(schema: StoredSchema) -> Reader:
    read = protobuf_reader(schema)
    return lambda frame, _: read(frame.payload, frame.place)


def _json(schema: StoredSchema) -> Reader:
    read = json_reader(schema)
    return lambda frame, unrepeated: read(frame.payload, unrepeated)


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
