"""Names that a row of Debezium, or the body of a CloudEvent, may not have twice.

Parsers differ on which of two values counts, and the fast parser does not say that there were two. A row has the same
names before and after its change, and a schema has them, too. So a value is taken apart first, and the names are
looked for in each row by itself.
"""

import msgspec

from ingest.decode.encoding import json_bytes, utf8_text
from ingest.decode.json_text import load_object, may_repeat

_ABSENT = msgspec.Raw(b"")
_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Members(msgspec.Struct):
    """What a value of these formats is made of, each as it is written."""

    op: msgspec.Raw = _ABSENT
    schema: msgspec.Raw = _ABSENT
    payload: msgspec.Raw = _ABSENT
    before: msgspec.Raw = _ABSENT
    after: msgspec.Raw = _ABSENT
    data: msgspec.Raw = _ABSENT
    iodebeziumop: msgspec.Raw = _ABSENT


_decoder = msgspec.json.Decoder(_Members)


def refuse_repeated_in_rows(value: bytes, names: tuple[str, ...]) -> None:
    """Look for a row that has one of these names twice.

    Args:
        value: of a record of Debezium, in any of its forms.
        names: that count.

    Raises:
        FieldError: there is one.
        RecursionError: the row is nested too deeply.
    """
    is_behind_schema = value.startswith(b'{"schema"')  # which has the names, too
    if not is_behind_schema and not may_repeat(value, names):
        return
    for row in _rows_of(value):
        _refuse_repeated(row, names)


def refuse_repeated_in_data(value: bytes, names: tuple[str, ...]) -> None:
    """The same for the body in a structured CloudEvent."""
    if not may_repeat(value, names):
        return
    members = _members_of(value)
    if members is not None:
        _refuse_repeated(bytes(members.data), names)


def _rows_of(value: bytes) -> list[bytes]:
    """The rows in a value, as they are written; the value itself where it is one, or cannot be taken apart."""
    for _ in range(3):  # a CloudEvent, a schema and a payload, an envelope
        members = _members_of(value)
        if members is None:
            return [value]
        if _is_envelope(members):
            return [bytes(members.before), bytes(members.after)]
        inner = _inner(members)
        if not inner:
            return [value]
        value = inner
    return [value]


def _is_envelope(members: _Members) -> bool:
    before, after = bool(members.before), bool(members.after)
    if before and after:
        return True
    return bool(members.op) and (before or after)


def _inner(members: _Members) -> bytes:
    """What a CloudEvent, or a schema, is around; empty: the value is neither."""
    if members.iodebeziumop:
        return bytes(members.data)
    if bytes(members.schema).startswith(b"{"):  # and is no column of this name
        return bytes(members.payload)
    return b""


def _members_of(value: bytes) -> _Members | None:
    try:
        return _decoder.decode(value)
    except _ERRORS:
        return None


def _refuse_repeated(row: bytes, names: tuple[str, ...]) -> None:
    if row.startswith(b"{") and may_repeat(row, names):
        load_object(utf8_text(json_bytes(row)), names)
