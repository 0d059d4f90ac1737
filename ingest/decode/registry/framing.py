"""Which schema wrote a key or a value: Confluent's wire format, with the id before the bytes or in a header."""

import struct
from typing import Literal, NamedTuple
from uuid import UUID

from corpus.dead_letter import DeadLetterReason
from ingest.decode.fields import FieldError
from ingest.event import KafkaRecord

Part = Literal["key", "value"]

_BY_ID = b"\x00"  # the magic byte before a number
_BY_GUID = b"\x01"  # the magic byte before a GUID
_NUMBER = struct.Struct(">I")
_GUID_BYTES = 16
_MAX_ID = 2**31 - 1  # Java's int, which is what a registry reads
_PLACES: dict[Part, str] = {"key": "the key", "value": "the value"}
_HEADERS: dict[Part, str] = {"key": "__key_schema_id", "value": "__value_schema_id"}


Headers = tuple[tuple[str, bytes | None], ...]
# The name that a registry has given to a schema: a number, or a GUID.
SchemaRef = int | str


def header_of(
    record: KafkaRecord,
    part: Part,
) -> bytes | None:
    """The header that names the schema; None: there is none. Of two the first counts, as for Confluent's clients."""
    wanted = _HEADERS[part]
    for name, value in record.headers:
        if name == wanted and value is not None:
            return value
    return None


def without_name(
    headers: Headers,
    part: Part,
) -> Headers:
    """The headers without those that name the schema."""
    named = _HEADERS[part]
    return tuple(header for header in headers if header[0] != named)


class Framed(NamedTuple):
    """The bytes of a key or a value, and the schema that wrote them."""

    schema: SchemaRef
    # What is behind the name in a header: Protobuf has the place of the message in its schema there.
    place: bytes | None  # None: the name is before the payload, and so is the index
    payload: bytes


def framed(
    record: KafkaRecord,
    part: Part,
    content: bytes,
) -> Framed:
    """The schema that wrote a key or a value, and the bytes that it wrote.

    Args:
        record: of the key or the value.
        part: which of them.
        content: its bytes.

    Raises:
        FieldError: neither a header nor the first bytes name a schema.
    """
    if record.headers:
        header = header_of(record, part)
        if header is not None:
            schema, rest = _name_in(header, f"the header {_HEADERS[part]}")
            return Framed(schema, rest, content)
    schema, rest = _name_in(content, _PLACES[part])
    return Framed(schema, None, rest)


def _name_in(
    content: bytes,
    where: str,
) -> tuple[SchemaRef, bytes]:
    magic = content[:1]
    if magic == _BY_ID:
        end = 1 + _NUMBER.size
        if len(content) < end:
            raise unusable(f"{where} ends within the id of its schema")
        number: int = _NUMBER.unpack_from(content, 1)[0]
        if not 0 < number <= _MAX_ID:
            raise unusable(f"{where} names schema {number}, which is no id")
        return number, content[end:]
    if magic == _BY_GUID:
        end = 1 + _GUID_BYTES
        if len(content) < end:
            raise unusable(f"{where} ends within the GUID of its schema")
        return str(UUID(bytes=content[1:end])), content[end:]
    begins = f"begins with byte {content[0]}" if content else "is empty"
    raise unusable(
        f"{where} {begins}, and not with Confluent's magic byte 0 (or 1) and the id of a schema"
    )


def unusable(detail: str) -> FieldError:
    """Why a record cannot be read by its schema."""
    return FieldError(DeadLetterReason.NOT_DECODABLE, detail)
