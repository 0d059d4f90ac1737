"""Values that carry their schema (`schemas.enable`): about half of their bytes, and nothing of it is needed."""

from typing import Any

import msgspec

_SCHEMA_FIRST = b'{"schema":'


class _WithSchema(msgspec.Struct, forbid_unknown_fields=True):
    schema: msgspec.Raw  # passed over, and not read
    payload: dict[str, Any]


_decoder = msgspec.json.Decoder(_WithSchema)
_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def payload_behind_schema(value: bytes) -> dict[str, Any] | None:
    """The payload, where the value begins with its schema as JsonConverter writes it; None: it has another form."""
    if not value.startswith(_SCHEMA_FIRST):
        return None
    try:
        return _decoder.decode(value).payload
    except _ERRORS:
        return None
