"""Values that carry their schema (`schemas.enable`): about half of their bytes, and nothing of it is needed."""

import msgspec

_SCHEMA_FIRST = b'{"schema":'


class _WithSchema(msgspec.Struct, forbid_unknown_fields=True):
    schema: msgspec.Raw  # passed over, and not read
    payload: msgspec.Raw


_decoder = msgspec.json.Decoder(_WithSchema)
_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def without_schema(value: bytes) -> bytes:
    """The payload as it is written, where the value begins with its schema as JsonConverter writes it; else the value.

    A payload that is no object is left with its schema.
    """
    if not value.startswith(_SCHEMA_FIRST):
        return value
    try:
        payload = bytes(_decoder.decode(value).payload)
    except _ERRORS:
        return value
    return payload if payload.startswith(b"{") else value
