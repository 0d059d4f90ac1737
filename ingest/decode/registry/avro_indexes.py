"""Numbers of Avro that stand for a branch of a union or a symbol of an enum: a negative one stands for none.

fastavro takes -1 for the last, as Python does, so that damaged bytes became another value: the last branch of a union,
or the last symbol, which may be who may read. What it looks a number up in is replaced here.
"""

from collections.abc import Callable
from typing import Any, cast

from ingest.decode.registry.framing import unusable

BEYOND = "it has a number beyond its schema"
_ITEM = cast("Callable[..., Any]", list[Any].__getitem__)


class _Branches(list[Any]):
    """The branches of a union, by number.

    fastavro asks for the type `list`, and its C code adds the length to a negative number before it asks. The length
    is read for nothing else, so that here it is 0, and the number comes as it was written.
    """

    __slots__ = ()

    def __len__(self) -> int:
        return 0

    def __getitem__(self, number: Any, _of: Callable[..., Any] = _ITEM) -> Any:
        if number < 0:
            raise unusable(BEYOND)
        return _of(self, number)


def without_negative(schema: Any) -> Any:
    """Let what a parsed schema looks numbers up in have no negative ones. Its parts are changed in place.

    Returns:
        The schema itself, or what takes the place of a union.
    """
    if isinstance(schema, list):
        branches = cast("list[Any]", schema)
        return _Branches(map(without_negative, branches))
    if not isinstance(schema, dict):
        return schema
    parts = cast("dict[str, Any]", schema)
    for name in ("type", "items", "values"):
        if name in parts:
            parts[name] = without_negative(parts[name])
    for field in parts.get("fields", ()):
        field["type"] = without_negative(field["type"])
    symbols = parts.get("symbols")
    if isinstance(symbols, list):
        # Of a mapping, C takes the number as a key.
        parts["symbols"] = dict(enumerate(cast("list[str]", symbols)))
    return parts
