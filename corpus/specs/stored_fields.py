"""Fields of a specification as JSON holds them: checked by the types that the specification declares.

What is stored may be of a newer version of Freshet: keys that are not known are left out, and a value that is none of
those that this version knows is an error, not a default.
"""

from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from enum import StrEnum
from functools import cache
from types import UnionType
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

# How a field is stored, where JSON has no such type.
_STORED_TYPES: dict[Any, frozenset[type]] = {
    float: frozenset({float, int}),
    tuple[str, ...]: frozenset({list, tuple}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rules:
    """What the fields of a specification may hold when they are stored."""

    types: Mapping[str, frozenset[type]]
    values: Mapping[str, frozenset[str]]  # of fields that allow certain values only


@cache
def _rules_of(kind: type[Any]) -> _Rules:
    hints = get_type_hints(kind)
    literals = {
        name: frozenset(get_args(hint))
        for name, hint in hints.items()
        if get_origin(hint) is Literal
    }
    types = {name: _stored_types(hint) for name, hint in hints.items()}
    return _Rules(types=types, values=literals)


def _stored_types(hint: Any) -> frozenset[type]:
    if hint in _STORED_TYPES:
        return _STORED_TYPES[hint]
    if get_origin(hint) is Literal:
        return frozenset({str})
    if get_origin(hint) is UnionType:
        return frozenset[type]().union(*map(_stored_types, get_args(hint)))
    if is_dataclass(hint):
        return frozenset({dict})
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return frozenset[type]((str, hint))
    return frozenset({cast("type[Any]", hint)})


def known_fields(kind: type[Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """The stored values that are fields of `kind`; lists become tuples.

    Raises:
        TypeError: one has another type.
        ValueError: one is none of the values that this version knows.
    """
    rules = _rules_of(kind)
    known: dict[str, Any] = {}
    for name, types in rules.types.items():
        if name not in stored:
            continue
        value = stored[name]
        if type(value) not in types:
            raise TypeError(f"{name} is {value!r}")
        known[name] = as_tuple(value)
    for name, allowed in rules.values.items():
        if name in known and known[name] not in allowed:
            raise ValueError(f"{name} is {known[name]!r}")
    return known


def part_of(kind: type[Any], stored: Mapping[str, Any]) -> Any:
    """A part of a specification.

    Raises:
        TypeError: as `known_fields`.
        ValueError: as `known_fields`, or a number is too small.
    """
    known = known_fields(kind, stored)
    for name, value in known.items():
        if isinstance(value, int | float) and value < _least(name):
            raise ValueError(f"{name} is {value!r}")
    return kind(**known)


def as_tuple(value: Any) -> Any:
    """A list as a tuple, which can be hashed; anything else as it is."""
    if isinstance(value, list):
        return tuple(cast("list[Any]", value))
    return value


def _least(name: str) -> int:
    """The least number that a field allows. A limit of 0 would let nothing through."""
    is_limit = name.startswith("max_") and not name.endswith("_ratio")
    return int(is_limit)
