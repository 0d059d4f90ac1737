"""The specifications of the sources that a search covers: each is read once, and again when it has changed.

A search that names no source covers all of them. To read 5,000 specifications takes seconds, their digests some
milliseconds.
"""

import threading
from dataclasses import dataclass
from typing import Any

from psycopg.rows import class_row

from corpus.database import Connection
from corpus.errors import UnreadableSpecError
from corpus.source import SourceSpec, StoredSpecs, read_spec
from corpus.sql import query

MAX_KNOWN = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Searched:
    """A row of the query `searched_sources`."""

    source: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """A row of the query `search_spaces`."""

    source: str
    digest: str
    spec: dict[str, Any]


# A specification, or why it cannot be read.
_Read = SourceSpec | UnreadableSpecError


class _Known:
    """What was read last, by source and digest."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read: dict[tuple[str, str], _Read] = {}

    def get(self, row: _Searched) -> _Read | None:
        """What is known of a row; None: nothing."""
        return self._read.get((row.source, row.digest))

    def add(self, row: _Stored) -> _Read:
        """Read a specification, and keep it."""
        read = _read(row)
        with self._lock:
            if len(self._read) >= MAX_KNOWN:
                self._read.clear()
            self._read[row.source, row.digest] = read
        return read


def searched_specs(connection: Connection, sources: list[str] | None) -> StoredSpecs:
    """The specifications of those of the sources that there are for whoever asks.

    Args:
        connection: shows the rows of the sources that may be searched.
        sources: names; None: all of them.
    """
    values = {"sources": sources}
    with connection.cursor(row_factory=class_row(_Searched)) as cursor:
        rows = cursor.execute(query("searched_sources"), values).fetchall()
    read = {row.source: _known.get(row) for row in rows}
    new = [source for source, one in read.items() if one is None]
    if new:
        read |= _read_new(connection, new)
    specs: dict[str, SourceSpec] = {}
    unreadable: dict[str, str] = {}
    for source, one in read.items():
        match one:
            case SourceSpec():
                specs[source] = one
            case UnreadableSpecError():
                unreadable[source] = str(one)
            case None:  # it went meanwhile
                pass
    return StoredSpecs(specs=specs, unreadable=unreadable)


def _read_new(connection: Connection, sources: list[str]) -> dict[str, _Read]:
    values = {"sources": sources}
    with connection.cursor(row_factory=class_row(_Stored)) as cursor:
        rows = cursor.execute(query("search_spaces"), values).fetchall()
    return {row.source: _known.add(row) for row in rows}


def _read(row: _Stored) -> _Read:
    try:
        return read_spec(row.source, row.spec)
    except UnreadableSpecError as error:
        return error


_known = _Known()
