"""A connection that answers named queries with rows that a test wrote down."""

from collections import namedtuple
from collections.abc import Generator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from psycopg.rows import dict_row, scalar_row

from corpus.sql import query


class Database:
    """Answers `connection.execute(query(NAME))` with the rows given as `NAME=[{column: value}]`; others have none.

    `executed` holds the names of the queries in order, with their values.
    """

    def __init__(self, **rows: list[dict[str, Any]]) -> None:
        self._rows = {query(name): answer for name, answer in rows.items()}
        self._names = {query(name): name for name in rows}
        self.executed: list[tuple[str, Any]] = []

    def cursor(self, *, row_factory: Any = None) -> "_Cursor":
        """As psycopg's, with its row factory."""
        return _Cursor(self, row_factory)

    def execute(self, text: str, values: Any = None) -> "_Cursor":
        """Tuples."""
        return _Cursor(self, None).execute(text, values)

    @contextmanager
    def transaction(self) -> Generator[None]:
        """Does nothing."""
        yield

    def answer(self, text: str, values: Any) -> list[dict[str, Any]]:
        """Rows of a query, which is written down."""
        self.executed.append((self._names.get(text, text), values))
        return self._rows.get(text, [])


class _Cursor:
    def __init__(self, database: Database, row_factory: Any) -> None:
        self._database, self._row_factory = database, row_factory
        self._rows: list[Any] = []

    def execute(self, text: str, values: Any = None) -> "_Cursor":
        rows = self._database.answer(text, values)
        self._rows = [_shaped(row, self._row_factory) for row in rows]
        return self

    def fetchall(self) -> list[Any]:
        return self._rows

    def fetchone(self) -> Any:
        return self._rows[0] if self._rows else None

    def __enter__(self) -> "_Cursor":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


def _shaped(row: dict[str, Any], row_factory: Any) -> Any:
    if row_factory is dict_row:
        return row
    if row_factory is scalar_row:
        return next(iter(row.values()))
    return namedtuple("Row", row)(**row)
