"""Named queries and their rows on an open connection."""

from collections.abc import Mapping
from typing import Any, TypeVar

import psycopg
from psycopg.rows import BaseRowFactory, TupleRow

from corpus.sql import query

Connection = psycopg.Connection[TupleRow]
Row = TypeVar("Row")


def fetch_one(
    connection: Connection,
    factory: BaseRowFactory[Row],
    name: str,
    values: Mapping[str, Any] | None = None,
) -> Row | None:
    """Execute a named query and return its first row, or None.

    Args:
        connection: any; its own row factory is not used.
        factory: makes a row: `class_row(SomeDataclass)`, `namedtuple_row`, `scalar_row`; see `psycopg.rows`.
        name: of the query.
        values: of its parameters.
    """
    with connection.cursor(row_factory=factory) as cursor:
        return cursor.execute(query(name), values).fetchone()


def fetch_all(
    connection: Connection,
    factory: BaseRowFactory[Row],
    name: str,
    values: Mapping[str, Any] | None = None,
) -> list[Row]:
    """Execute a named query and return all of its rows; the arguments are those of `fetch_one`."""
    with connection.cursor(row_factory=factory) as cursor:
        return cursor.execute(query(name), values).fetchall()
