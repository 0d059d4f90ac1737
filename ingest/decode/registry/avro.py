"""Values written by an Avro schema, read by fastavro; schemas by which it would never end are refused before.

fastavro reads in C, without a limit: a few bytes can stand for 2^62 empty values, or for a million nested records, at
which the process ends. So a schema may have no value that takes no bytes inside a list, and no value that contains
itself always; where a value may contain itself, fastavro's Python code reads it, which stops at Python's depth.
"""

import io
import json
from collections.abc import Callable
from typing import Any, cast

import fastavro
from fastavro import _read_py, parse_schema
from fastavro.schema import SchemaParseException, UnknownType

from ingest.decode.fields import FieldError
from ingest.decode.paths import plain
from ingest.decode.registry import avro_values
from ingest.decode.registry.avro_indexes import BEYOND, without_negative
from ingest.decode.registry.avro_limits import Limits
from ingest.decode.registry.framing import unusable
from ingest.decode.registry.schemas import StoredSchema

MAX_DEPTH = 64
MAX_TYPES = 10_000  # in a schema, with its references
MAX_FREE_VALUES = 100  # values without bytes, per value that is written
_SIMPLE = {
    "null": 0,
    "boolean": 1,
    "int": 1,
    "long": 1,
    "float": 4,
    "double": 8,
    "bytes": 1,
    "string": 1,
}
_KEPT = ("name", "size", "symbols", "logicalType", "precision", "scale")
_COMPLEX = ("record", "error", "array", "map", "fixed", "enum")

_WITHIN = "within"

Reader = Callable[[bytes], Any]


def avro_reader(schema: StoredSchema) -> Reader:
    """What reads the values of a schema.

    Raises:
        FieldError: it is no Avro schema, or values by it could not be read within limits.
    """
    check = _Check()
    known: dict[str, Any] = {}
    try:
        parsed: Any = None
        checked: Any = None
        for _, text in (*schema.references, ("", schema.text)):
            checked = check.checked(json.loads(text))
            parsed = parse_schema(checked, known)
        is_within = not _is_record(checked)
        if is_within:
            parsed = parse_schema(_around(checked), known)
        for one in (parsed, *known.values()):
            without_negative(one)
        check.measure()
        limits = Limits(check.named, checked)
    except RecursionError:
        raise unusable("it is nested too deeply") from None
    except (
        SchemaParseException,
        UnknownType,
        ValueError,
        TypeError,
        KeyError,
    ) as error:
        raise unusable(f"it is no Avro schema ({type(error).__name__})") from None
    # The library says only in part what it takes.
    reader: Any = _read_py if check.is_recursive else fastavro
    read = reader.schemaless_reader

    def value_of(payload: bytes) -> Any:
        stream = limits.stream(payload)
        value = _read(read, stream, parsed)
        left = len(payload) - stream.tell()
        if left:
            raise unusable(f"{left:,} bytes are left over behind it")
        if is_within:
            value = value[_WITHIN]
        return plain(value) if check.has_bytes else value

    return value_of


def _read(
    read: Any,
    stream: io.BytesIO,
    parsed: Any,
) -> Any:
    try:
        return read(stream, parsed)
    except RecursionError:
        raise unusable("it is nested too deeply") from None
    except KeyError:  # of an enum's symbols
        raise unusable(BEYOND) from None
    except (EOFError, IndexError) as error:
        is_short = isinstance(error, EOFError) or stream.tell() == _size(stream)
        raise unusable("it ends too early" if is_short else BEYOND) from None
    except UnicodeDecodeError:
        raise unusable("a text is not UTF-8") from None
    except (MemoryError, FieldError):
        raise
    except Exception as error:
        raise unusable(type(error).__name__) from None


def _is_record(schema: Any) -> bool:
    return isinstance(schema, dict) and "fields" in schema


def _around(schema: Any) -> dict[str, Any]:
    """A record of one field, which takes no bytes: fastavro parses any other schema again for each value.

    So only a record takes types of other schemas along, and stays as `without_negative` leaves it.
    """
    field = {"name": _WITHIN, "type": schema}
    return {"type": "record", "name": "FreshetAround", "fields": [field]}


def _size(stream: io.BytesIO) -> int:
    return stream.getbuffer().nbytes


class _Check:
    """Goes through a schema, keeps what reading needs of it, and finds what would not end.

    Attributes:
        is_recursive: whether a value may contain one of its own type.
        has_bytes: whether a value may have bytes.
        named: its types that have names.
    """

    def __init__(self) -> None:
        self.is_recursive = False
        self.has_bytes = False
        self.named: dict[str, dict[str, Any]] = {}
        self._open: set[str] = set()
        self._lists: list[Any] = []
        self._types = 0
        self._measured: dict[str, tuple[int, int]] = {}

    def checked(
        self,
        schema: Any,
        namespace: str = "",
        depth: int = 0,
    ) -> Any:
        """The schema, with full names, and without what reading does not need.

        Raises:
            FieldError: it is too large or too deep.
            KeyError: it is no schema; so are TypeError and ValueError.
        """
        self._types += 1
        if depth > MAX_DEPTH or self._types > MAX_TYPES:
            raise unusable(
                f"it has more than {MAX_TYPES:,} types, or more than {MAX_DEPTH} levels"
            )
        if isinstance(schema, str):
            return self._name(schema, namespace)
        if isinstance(schema, list):
            branches = cast("list[Any]", schema)
            return [self.checked(each, namespace, depth + 1) for each in branches]
        if not isinstance(schema, dict):
            raise TypeError("no schema")
        return self._type(cast("dict[str, Any]", schema), namespace, depth)

    def _name(
        self,
        name: str,
        namespace: str,
    ) -> str:
        if name in _SIMPLE:
            self.has_bytes |= name == "bytes"
            return name
        full = _full_name(name, namespace)
        if full not in self.named and name in self.named:
            full = name
        if full not in self.named:
            raise ValueError("a type that is not defined")
        self.is_recursive |= full in self._open
        return full

    def _type(
        self,
        schema: dict[str, Any],
        namespace: str,
        depth: int,
    ) -> Any:
        kind = schema.get("type")
        if not isinstance(kind, str) or kind not in {*_COMPLEX, *_SIMPLE}:
            return self.checked(kind, namespace, depth + 1)
        kept = {name: schema[name] for name in _KEPT if name in schema}
        kept["type"] = kind
        if kind in _SIMPLE:
            kept.pop("name", None)
        self.has_bytes |= kind in ("bytes", "fixed")
        if kind in ("array", "map"):
            inside = "items" if kind == "array" else "values"
            kept[inside] = self.checked(schema[inside], namespace, depth + 1)
            kept.pop("name", None)
            self._lists.append(kept[inside])
        elif kind in ("record", "error", "fixed", "enum"):
            self._define(kept, schema, namespace, depth)
        return kept

    def _define(
        self,
        kept: dict[str, Any],
        schema: dict[str, Any],
        namespace: str,
        depth: int,
    ) -> None:
        full = _full_name(str(schema["name"]), str(schema.get("namespace", namespace)))
        kept["name"] = full
        self.named[full] = kept
        if kept["type"] not in ("record", "error"):
            return
        self._open.add(full)
        within = full.rpartition(".")[0]
        kept["fields"] = [
            {
                "name": field["name"],
                "type": self.checked(field["type"], within, depth + 1),
            }
            for field in schema["fields"]
        ]
        self._open.discard(full)

    def measure(self) -> None:
        """Refuse a schema of values without end.

        Raises:
            FieldError: says which rule it breaks.
        """
        for name in self.named:
            self._measure(name)
        for inside in self._lists:
            least, _ = self._measure(inside)
            if least == 0:
                raise unusable("it has a list of values that take no bytes")

    def _measure(
        self,
        schema: Any,
    ) -> tuple[int, int]:
        """How many bytes a value takes at least, and how many values in it take none."""
        if isinstance(schema, list):
            return 1, 0  # its place in the union; which branch follows is not known
        if isinstance(schema, str):
            if schema in _SIMPLE:
                return _SIMPLE[schema], int(schema == "null")
            return self._measure_named(schema)
        if "fields" in schema:
            return self._measure_named(schema["name"])
        kind = schema["type"]
        if kind == "fixed":
            return int(schema["size"]), int(schema["size"] == 0)
        return _SIMPLE.get(kind, 1), int(kind == "null")

    def _measure_named(
        self,
        name: str,
    ) -> tuple[int, int]:
        measured = self._measured.get(name)
        if measured is not None:
            return measured
        schema = self.named[name]
        if "fields" not in schema:
            self._measured[name] = self._measure({**schema, "name": ""})
            return self._measured[name]
        if name in self._open:
            raise unusable("it has a type whose values contain themselves without end")
        self._open.add(name)
        parts = [self._measure(field["type"]) for field in schema["fields"]]
        self._open.discard(name)
        least = sum(part[0] for part in parts)
        free = sum(part[1] for part in parts) + int(least == 0)
        if free > MAX_FREE_VALUES:
            raise unusable(f"it has more than {MAX_FREE_VALUES} values without bytes")
        self._measured[name] = least, free
        return least, free


def _full_name(
    name: str,
    namespace: str,
) -> str:
    if "." in name or not namespace:
        return name
    return f"{namespace}.{name}"


avro_values.install()
