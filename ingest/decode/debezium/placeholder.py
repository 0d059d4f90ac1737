"""Debezium's placeholder for a column that did not change, in the types that it has.

A text is the placeholder itself; bytes are its Base64; an array has it as its only member, and an array of numbers has
its bytes. It is recognised wherever a value is nothing but it.
"""

import base64
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple, cast

from corpus.dead_letter import DeadLetterReason, Quoting
from ingest.decode.fields import FieldError, shown

_MAX_NAMED = 3  # in a detail
_BACKSLASH = ord("\\")
# Characters that JSON may escape by one more, and not only by their code.
_WITH_SHORT_ESCAPES = frozenset('"\\/\b\f\n\r\t')


class _Forms(NamedTuple):
    text: str
    encoded: str  # of a column of bytes
    numbers: list[int]
    beginnings: tuple[bytes, bytes, bytes, bytes]  # of them, in a record
    escape: bytes  # that may hide a character of them in JSON


@lru_cache(maxsize=64)
def _forms(placeholder: str) -> _Forms:
    plain = placeholder.encode()
    encoded = base64.b64encode(plain).decode()
    numbers = list(plain)
    first = [str(number) for number in numbers[:6]]
    beginnings = (
        plain,
        encoded.encode(),
        ",".join(first).encode(),
        ", ".join(first).encode(),
    )
    return _Forms(
        text=placeholder,
        encoded=encoded,
        numbers=numbers,
        beginnings=beginnings,
        escape=_escape(placeholder + encoded),
    )


def _escape(text: str) -> bytes:
    """What an escape of any of these characters begins with in JSON."""
    if not _WITH_SHORT_ESCAPES.isdisjoint(text):
        return b"\\"
    return b"\\u00" if text.isascii() else b"\\u"


def may_have_placeholder(
    value: bytes,
    fields: Mapping[str, Any],
    placeholder: str,
    schema_kind: str,
) -> bool:
    """Whether a record may hold it; nearly none does, and nothing more is looked at then.

    Any character may be escaped in JSON, and some serializers escape `<` and `=` always. So a record with an escape may
    hold it, too.

    Args:
        value: of the record, as it came.
        fields: that were read from it.
        placeholder: as the connector writes it.
        schema_kind: `SourceSpec.schema_kind`.
    """
    # Each by itself: a generator would take longer than the searches.
    forms = _forms(placeholder)
    plain, encoded, close, spaced = forms.beginnings
    if plain in value:
        return True
    if schema_kind not in ("", "JSON"):
        # Texts and bytes are as they are in Avro and Protobuf, and numbers have as many forms as types.
        return _may_have_numbers(fields, placeholder)
    if encoded in value:
        return True
    if close in value:
        return True
    if spaced in value:
        return True
    # One byte is found in a tenth of the time of several.
    return _BACKSLASH in value and forms.escape in value


def _may_have_numbers(
    fields: Mapping[str, Any],
    placeholder: str,
) -> bool:
    numbers = _forms(placeholder).numbers
    for each in fields.values():
        if isinstance(each, dict):
            return True
        if not isinstance(each, list):
            continue
        members = cast("list[Any]", each)
        if members == numbers:
            return True
        if any(isinstance(member, dict | list) for member in members):
            return True
    return False


def is_placeholder(
    value: Any,
    placeholder: str,
) -> bool:
    """Whether a column's value is nothing but the placeholder."""
    forms = _forms(placeholder)
    match value:
        case str():
            return value in (forms.text, forms.encoded)
        case bytes():
            return value == forms.text.encode()
        case list():
            members = cast("list[Any]", value)
            if members == forms.numbers:
                return True
            return len(members) > 0 and all(
                is_placeholder(member, placeholder) for member in members
            )
        case dict():
            inner = cast("dict[str, Any]", value)
            return placeholder in inner or placeholder in inner.values()
        case _:
            return False


def names_with_placeholder(
    value: Mapping[str, Any], wanted: frozenset[str] | None, placeholder: str
) -> list[str]:
    """The fields of a value that are the placeholder, or have it anywhere within.

    Args:
        value: an object.
        wanted: names of fields that count; None: all of them.
        placeholder: as the connector writes it.
    """
    found: list[str] = []
    for name in sorted(value):
        if wanted is not None and name not in wanted:
            continue
        column = value[name]
        if _holds(column, placeholder):
            found.append(name)
    return found


def _holds(value: Any, placeholder: str) -> bool:
    """Looks at each member once, however deep it is."""
    match value:
        case list():
            members = cast("list[Any]", value)
            is_form = members == _forms(placeholder).numbers
            return is_form or any(_holds(member, placeholder) for member in members)
        case dict():
            inner = cast("dict[str, Any]", value)
            if placeholder in inner:
                return True
            return any(_holds(member, placeholder) for member in inner.values())
        case _:
            return is_placeholder(value, placeholder)


def left_out(names: list[str]) -> FieldError:
    """Why a record cannot be used whose fields are placeholders, in a format that does not complete them."""
    named = ", ".join(map(shown, names[:_MAX_NAMED]))
    if len(names) > _MAX_NAMED:
        named += f" and {len(names) - _MAX_NAMED:,} more"
    detail = Quoting.LEFT_OUT.detail(value=named)
    return FieldError(DeadLetterReason.UNAVAILABLE_COLUMN, detail)
