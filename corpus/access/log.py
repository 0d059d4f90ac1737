"""The access log: who asked and who did what. Rows are only added, and chained per source."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, cast

from psycopg.rows import class_row

from corpus.database import Connection
from corpus.sql import query

OF_NO_SOURCE = ""
"""The chain of refused callers, and of what concerns the whole installation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A row to be written."""

    source: str  # one that does not exist: the row is of no source
    actor: str  # "team:NAME", "login:NAME", "unclaimed"
    action: str
    detail: dict[
        str, Any
    ]  # JSON; `query` becomes its digest unless the source keeps the text


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedRow:
    """A row as it was written."""

    source: str
    number: int
    at: datetime
    actor: str
    action: str
    detail: dict[str, Any]
    written_by: str  # login of the process
    digest: str  # hex


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainEnd:
    """The newest row of a chain. Kept elsewhere, it shows later that the chain up to it is what it was."""

    source: str
    number: int
    digest: str  # hex


@dataclass(frozen=True, slots=True, kw_only=True)
class LogProblem:
    """A place of a chain that does not fit."""

    source: str
    number: int
    problem: str


def append(connection: Connection, entries: Sequence[Entry]) -> None:
    """Write entries in order; their chains are locked until the transaction ends."""
    rows = [storable(asdict(entry)) for entry in entries]
    connection.execute(query("log_access"), {"entries": json.dumps(rows)})


def storable(value: Any) -> Any:
    """The value as JSON of the database can hold it: what a caller sends may have half characters, and U+0000."""
    match value:
        case str():
            encodable = value.encode("utf-8", "backslashreplace").decode()
            return encodable.replace("\0", "\\0")
        case dict():
            items = cast("dict[str, Any]", value).items()
            return {storable(name): storable(item) for name, item in items}
        case list() | tuple():
            return [storable(item) for item in cast("Sequence[Any]", value)]
        case _:
            return value


def rows(connection: Connection, source: str | None, limit: int) -> list[LoggedRow]:
    """The newest rows, newest first."""
    with connection.cursor(row_factory=class_row(LoggedRow)) as cursor:
        cursor.execute(query("access_log"), {"source": source, "limit": limit})
        return cursor.fetchall()


def ends(connection: Connection, source: str | None) -> list[ChainEnd]:
    """The end of each chain."""
    with connection.cursor(row_factory=class_row(ChainEnd)) as cursor:
        return cursor.execute(query("access_chains"), {"source": source}).fetchall()


def verify(connection: Connection, source: str | None) -> list[LogProblem]:
    """Where chains do not fit; none: no row was changed, removed or moved since it was written."""
    with connection.cursor(row_factory=class_row(LogProblem)) as cursor:
        cursor.execute(query("verify_access_log"), {"source": source})
        return cursor.fetchall()
