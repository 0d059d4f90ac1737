"""Values that carry their schema (`schemas.enable`): about half of their bytes, and nothing of it is needed."""

import re

import msgspec

_SCHEMA_FIRST = b'{"schema":'
_BETWEEN = re.compile(rb'\s*,\s*"payload"\s*:\s*')


class _WithSchema(msgspec.Struct, forbid_unknown_fields=True):
    schema: msgspec.Raw  # passed over, and not read
    payload: msgspec.Raw


_decoder = msgspec.json.Decoder(_WithSchema)
_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def without_schema(value: bytes) -> bytes:
    """The payload as it is written, where the value begins with its schema as JsonConverter writes it; else the value.

    A payload that is no object is left with its schema, and so is one of several: the parser takes the last.
    """
    if not value.startswith(_SCHEMA_FIRST):
        return value
    try:
        members = _decoder.decode(value)
    except _ERRORS:
        return value
    schema, payload = bytes(members.schema), bytes(members.payload)
    end = value.index(schema, len(_SCHEMA_FIRST)) + len(schema)
    is_one = _BETWEEN.fullmatch(value, end, value.rindex(payload))
    return payload if is_one and payload.startswith(b"{") else value
