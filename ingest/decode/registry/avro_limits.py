"""How many values a few bytes of Avro may become, and the end of reading where they are too many.

Sixty records in one another, each the only field of the one around it, take one byte: 10 KB of them became 111 MB. A
schema says how many values each read from the bytes stands for at most, so it is enough to count reads.
"""

import io
from collections.abc import Mapping
from typing import Any, cast

from ingest.decode.registry.framing import unusable

MAX_VALUES = 1_000_000  # in what one payload becomes
_CONTAINER = (
    5  # a record, a list or a map takes as much memory as so many texts and numbers
)
# Values that are not behind reads of their own, where they cannot be repeated.
_MAX_ONCE = 10_000
_FEWEST = 1.25
_STEP = 1.25
_MOST = 200_000.0
_FREE = ("null",)

Schema = Any


class Limits:
    """What payloads of a schema may become.

    Args:
        named: its types, by their full names.
        root: the schema.

    Raises:
        FieldError: its values take hardly any bytes.
    """

    def __init__(
        self,
        named: Mapping[str, dict[str, Any]],
        root: Schema,
    ) -> None:
        per_read = _FEWEST
        while not _Excess(named, per_read).is_bounded(root):
            per_read *= _STEP
            if per_read > _MOST:
                raise unusable("its values take hardly any bytes")
        self._max_reads = int((MAX_VALUES - _MAX_ONCE) / per_read)

    def stream(
        self,
        payload: bytes,
    ) -> io.BytesIO:
        """A payload that is read within limits; each read of one that is not empty takes a byte."""
        if len(payload) <= self._max_reads:
            return io.BytesIO(payload)
        return _Counted(payload, self._max_reads)


class _Counted(io.BytesIO):
    """Bytes that are read so often."""

    def __init__(
        self,
        payload: bytes,
        reads: int,
    ) -> None:
        super().__init__(payload)
        self._left = reads

    def read(
        self,
        size: int | None = -1,
        /,
    ) -> bytes:
        """Some bytes.

        Raises:
            FieldError: they were read too often.
        """
        self._left -= 1
        if self._left < 0:
            raise unusable(f"it has more than {MAX_VALUES:,} values")
        return super().read(size)


class _Excess:
    """Values of a type beyond those that its reads stand for, at most: where none is, there are few for the bytes.

    Args:
        named: types by their full names.
        per_read: values that each read stands for.
    """

    def __init__(
        self,
        named: Mapping[str, dict[str, Any]],
        per_read: float,
    ) -> None:
        self._named = named
        self._per_read = per_read
        self._known: dict[str, float] = {}
        self._open: set[str] = set()
        self._repeated: list[float] = []
        self._recursive: set[str] = set()

    def is_bounded(
        self,
        root: Schema,
    ) -> bool:
        """Whether nothing that may be repeated has any, and nothing else many."""
        once = [self._of(root), *map(self._of_named, self._named)]
        again = [*self._repeated, *(self._known[name] for name in self._recursive)]
        return max(once) <= _MAX_ONCE and max(again, default=0) <= 0

    def _of(
        self,
        schema: Schema,
    ) -> float:
        if isinstance(schema, list):
            branches = map(self._of, cast("list[Schema]", schema))
            return max(branches, default=0) - self._per_read
        if isinstance(schema, str):
            if schema in self._named:
                return self._of_named(schema)
            return self._of_single(schema)
        if "fields" in schema:
            return self._of_named(schema["name"])
        return self._of_single(schema["type"], schema)

    def _of_single(
        self,
        kind: str,
        schema: Mapping[str, Any] | None = None,
    ) -> float:
        if kind in _FREE or (schema and schema.get("size") == 0):
            return 1
        if schema is None or kind not in ("array", "map"):
            return 1 - self._per_read
        if kind == "array":
            self._repeated.append(self._of(schema["items"]))
        else:
            name = 1 - self._per_read
            self._repeated.append(name + self._of(schema["values"]))
        return _CONTAINER - self._per_read

    def _of_named(
        self,
        name: str,
    ) -> float:
        known = self._known.get(name)
        if known is not None:
            return known
        if name in self._open:
            self._recursive.add(name)
            return 0
        schema = self._named[name]
        if "fields" not in schema:
            excess = self._of_single(schema["type"], schema)
        else:
            self._open.add(name)
            fields = (self._of(field["type"]) for field in schema["fields"])
            excess = _CONTAINER + sum(fields)
            self._open.discard(name)
        self._known[name] = excess
        return excess
