"""How large a Parquet file becomes when it is read, by its own headers; nothing is decompressed.

Parquet writes its headers in Thrift's compact protocol. Polars shows none of the sizes in them, and the library that
does (pyarrow) would be 150 MB for one sum, so the few types of the protocol are read here.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

_MAGIC = b"PAR1"
_TAIL_BYTES = 8  # length of the footer, and the magic
_MAX_DEPTH = 16
# What a value takes in memory beyond its bytes: a string's view is the largest.
_VALUE_BYTES = 16

# Of a field.
_TRUE = 1
_BOOLEANS = (_TRUE, 2)

_Struct = dict[int, Any]


class MalformedError(Exception):
    """The content is no Parquet file."""


@dataclass(frozen=True, slots=True)
class Expansion:
    """What a file becomes when it is read."""

    rows: int
    # At most. The sizes of the pages are summed up: a page's header decides how much is decompressed, whatever the
    # footer says.
    memory_bytes: int


def expansion_of(content: bytes) -> Expansion:
    """What a file becomes, by its headers.

    Raises:
        MalformedError: the content is no Parquet file.
    """
    try:
        footer = _footer(content)
        groups = footer[4]
        rows = sum(group[3] for group in groups)
        return Expansion(rows, sum(_pages(content, groups)))
    except (IndexError, KeyError, TypeError, ValueError, struct.error) as error:
        raise MalformedError(type(error).__name__) from error


def _footer(content: bytes) -> _Struct:
    tail = content[-_TAIL_BYTES:]
    if tail[4:] != _MAGIC or content[:4] != _MAGIC:
        raise ValueError("no magic")
    length = struct.unpack("<I", tail[:4])[0]
    begin = len(content) - _TAIL_BYTES - length
    if begin < len(_MAGIC):
        raise ValueError("no footer")
    return _Reader(content, begin).struct()


def _pages(content: bytes, groups: Sequence[_Struct]) -> Iterator[int]:
    """What each page takes."""
    for group in groups:
        for column in group[1]:
            yield from _pages_of(content, column[3])


def _pages_of(content: bytes, column: _Struct) -> Iterator[int]:
    begin = min(column[9], column.get(11) or column[9])
    end = begin + column[7]
    if begin < len(_MAGIC) or end > len(content):
        raise ValueError("pages outside of the file")
    while begin < end:
        reader = _Reader(content, begin)
        page = reader.struct()
        size, compressed = page[2], page[3]
        if size < 0 or compressed < 0:
            raise ValueError("a page of a negative size")
        yield size + _values_of(page) * _VALUE_BYTES
        begin = reader.position + compressed


def _values_of(page: _Struct) -> int:
    # A page of data, of a dictionary, or of data in the second format.
    header = page.get(5)
    if header is None:
        header = page.get(7)
    if header is None:
        header = page[8]
    values: int = header[1]
    if values < 0:
        raise ValueError("a negative number of values")
    return values


class _Reader:
    """Reads values of Thrift's compact protocol, one after the other.

    Every batch reads some ten files, and a file has a few hundred values, so a value takes as few calls as possible.
    """

    def __init__(self, content: bytes, position: int) -> None:
        self._content = content
        self.position = position
        self._depth = 0

    def struct(self) -> _Struct:
        """A structure: values by the number of their field."""
        self._enter()
        content = self._content
        values: _Struct = {}
        field = 0
        while header := content[self.position]:
            self.position += 1
            step = header >> 4
            kind = header & 0x0F
            if step:
                field += step
            else:
                field = self.integer()
            if kind in _BOOLEANS:  # the type is the value
                values[field] = kind == _TRUE
            else:
                values[field] = _READ[kind](self)
        self.position += 1
        self._depth -= 1
        return values

    def list(self) -> list[Any]:
        """Values of one type."""
        self._enter()
        header = self.byte()
        length, kind = header >> 4, header & 0x0F
        if length == 0x0F:
            length = self._varint()
        if length > len(self._content) - self.position:
            raise ValueError("a list beyond the end")
        read = _READ[kind]
        values = [read(self) for _ in range(length)]
        self._depth -= 1
        return values

    def byte(self) -> int:
        """The next byte."""
        value = self._content[self.position]
        self.position += 1
        return value

    def integer(self) -> int:
        """A number of any width."""
        value = self._content[self.position]
        if value < 0x80:
            self.position += 1
        else:
            value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def double(self) -> bytes:
        """A number that is not needed, as it is written."""
        return self._bytes(8)

    def binary(self) -> bytes:
        """Bytes, or a text."""
        return self._bytes(self._varint())

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ValueError("too deep")

    def _bytes(self, length: int) -> bytes:
        begin = self.position
        end = begin + length
        value = self._content[begin:end]
        if len(value) != length:
            raise ValueError("beyond the end")
        self.position = end
        return value

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("a number that is too large")


# By the type of a value; in a list, a boolean is a byte. Parquet uses no others.
_READ: dict[int, Callable[[_Reader], Any]] = {
    **dict.fromkeys((1, 2, 3), _Reader.byte),
    **dict.fromkeys((4, 5, 6), _Reader.integer),
    7: _Reader.double,
    8: _Reader.binary,
    **dict.fromkeys((9, 10), _Reader.list),
    12: _Reader.struct,
}
