"""Values written by a Protobuf schema: the message that its index names, as a plain object by the schema's names.

Numbers stay numbers, 64 bits too; an enum is its name; bytes are Base64; the well-known types are as ProtoJSON has them
(a Timestamp is "2026-11-26T12:00:00Z"). A field without presence that is not in the bytes has its default, as Protobuf
means it; one with presence is absent. Bytes that the schema has no field for are not dropped: the record is refused.
"""

import base64
from collections.abc import Callable
from typing import Any

from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message

from ingest.decode.registry import avro_values
from ingest.decode.registry.framing import unusable
from ingest.decode.registry.protoc import ROOT, compiled_files
from ingest.decode.registry.schemas import StoredSchema

MAX_VALUES = 1_000_000  # in an object, defaults included
_MAX_INDEX = 32  # levels of nested messages
_MAX_VARINT_BYTES = 5
_WELL_KNOWN = "google.protobuf."
_DECIMALS = ("confluent.type.Decimal", "confluent.types.Decimal")

# Reads a payload; the index of the message where it is not before the payload; whether absent fields are null.
Reader = Callable[[bytes, bytes | None, bool], Any]


def protobuf_reader(schema: StoredSchema) -> Reader:
    """What reads the values of a schema.

    Raises:
        DependencyError: the compiler cannot be run.
        FieldError: it is no Protobuf schema.
    """
    pool = DescriptorPool()
    try:
        for file in compiled_files(schema.text, schema.references):
            pool.Add(file)
        root = pool.FindFileByName(ROOT)
    except (TypeError, KeyError, DecodeError):
        raise unusable("it is no Protobuf schema") from None
    messages = list(root.message_types_by_name.values())

    def value_of(
        payload: bytes,
        index: bytes | None,
        is_complete: bool,
    ) -> Any:
        if index is None:
            path, payload = _index(payload)
        else:
            path, _ = _index(index)
        descriptor = _message_at(messages, path)
        return _value(descriptor, payload, _Plain(pool, is_complete=is_complete))

    return value_of


def _value(
    descriptor: Descriptor,
    payload: bytes,
    plain: "_Plain",
) -> Any:
    message = message_factory.GetMessageClass(descriptor)()
    try:
        message.ParseFromString(payload)
    except DecodeError:
        raise unusable("it ends too early, or is no message of its schema") from None
    size = message.ByteSize()
    message.DiscardUnknownFields()
    left = size - message.ByteSize()
    if left:
        raise unusable(f"{left:,} bytes of it are of fields that its schema has not")
    try:
        return plain.object_of(message)
    except (ValueError, TypeError, json_format.Error) as error:
        raise unusable(
            f"a value is none of its type ({type(error).__name__})"
        ) from None


# ── the message ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _index(content: bytes) -> tuple[list[int], bytes]:
    """The places that lead to the message in its schema, and what is behind them. A single 0 is the first message."""
    count, rest = _varint(content)
    if count == 0:
        return [0], rest
    if not 0 < count <= _MAX_INDEX:
        raise unusable("the index of its message is none")
    path: list[int] = []
    for _ in range(count):
        place, rest = _varint(rest)
        path.append(place)
    return path, rest


def _varint(content: bytes) -> tuple[int, bytes]:
    value = 0
    for place, byte in enumerate(content[:_MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            zigzag = (value >> 1) ^ -(value & 1)
            return zigzag, content[place + 1 :]
    raise unusable("it ends within the index of its message")


def _message_at(
    messages: list[Descriptor],
    path: list[int],
) -> Descriptor:
    found: Descriptor | None = None
    for place in path:
        if not 0 <= place < len(messages):
            raise unusable(f"its schema has no message {'.'.join(map(str, path))}")
        found = messages[place]
        messages = list(found.nested_types)
    if found is None:
        raise unusable("the index of its message is none")
    return found


# ── its values ──────────────────────────────────────────────────────────────────────────────────────────────────────


class _Plain:
    """A message as a plain object.

    Args:
        pool: of its schema.
        is_complete: whether a field that is absent is null; else it is absent.
    """

    def __init__(
        self,
        pool: DescriptorPool,
        *,
        is_complete: bool,
    ) -> None:
        self._pool = pool
        self._is_complete = is_complete
        self._values = 0

    def object_of(
        self,
        message: Message,
    ) -> dict[str, Any]:
        """The fields by their names.

        Raises:
            FieldError: they are too many.
        """
        if any(field.is_extension for field, _ in message.ListFields()):
            raise unusable("it has an extension, which no path can name")
        fields: dict[str, Any] = {}
        for field in message.DESCRIPTOR.fields:
            self._count(1)
            if field.has_presence and not message.HasField(field.name):
                if self._is_complete:
                    fields[field.name] = None
                continue
            fields[field.name] = self._field(field, getattr(message, field.name))
        return fields

    def _count(
        self,
        values: int,
    ) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            raise unusable(f"it has more than {MAX_VALUES:,} values")

    def _field(
        self,
        field: Any,
        value: Any,
    ) -> Any:
        if not field.is_repeated:
            return self._single(field, value)
        self._count(len(value))
        kind = field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            inside = kind.fields_by_name["value"]
            return {_key(key): self._single(inside, value[key]) for key in value}
        return [self._single(field, each) for each in value]

    def _single(
        self,
        field: Any,
        value: Any,
    ) -> Any:
        if field.type == FieldDescriptor.TYPE_BYTES:
            return base64.b64encode(value).decode()
        if field.type == FieldDescriptor.TYPE_ENUM:
            known = field.enum_type.values_by_number.get(value)
            return value if known is None else known.name
        if field.message_type is None:
            return value
        return self._message(value)

    def _message(
        self,
        message: Message,
    ) -> Any:
        name = message.DESCRIPTOR.full_name
        if name in _DECIMALS:
            decimal: Any = message
            return avro_values.decimal_text(decimal.value, decimal.scale)
        if name.startswith(_WELL_KNOWN):
            return json_format.MessageToDict(message, descriptor_pool=self._pool)
        return self.object_of(message)


def _key(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)
