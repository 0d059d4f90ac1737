"""A table of articles in PostgreSQL that is edited at random, in transactions of one to five edits."""

import hashlib
import random
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.rows import namedtuple_row

SCHEMA = """
CREATE SCHEMA kb;
CREATE TABLE kb.articles (
    id bigint PRIMARY KEY,
    title text NOT NULL,
    body text NOT NULL,
    revised_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE kb.articles ALTER COLUMN body SET STORAGE EXTERNAL;
"""
TABLE = "kb.articles"
_LARGE = 3_000  # bytes: above 2 kB a column is stored apart, and an update that does not touch it leaves it out
_PARAGRAPHS = 3


class LiveTable:
    """Edits rows.

    Args:
        connection: to the database of the table, in autocommit mode.
        rng: decides.
        ids: the rows have ids from 1 to this number, so that ids come again.
    """

    def __init__(
        self,
        connection: "psycopg.Connection[Any]",
        rng: random.Random,
        ids: int,
    ) -> None:
        self._connection = connection
        self._rng = rng
        self._ids = ids
        self._number = 0
        self.edits: dict[str, int] = {}
        self._kinds: tuple[tuple[Callable[[], int], int], ...] = (
            (self._insert, 30),
            (self._retitle, 35),
            (self._rewrite, 15),
            (self._rename, 8),
            (self._delete, 12),
        )

    def create(self, rows: int) -> None:
        """Make the table with some rows, which a snapshot has to find."""
        self._connection.execute(SCHEMA)
        for _ in range(rows):
            self._insert()

    def transaction(self) -> None:
        """One to five edits that are committed at once."""
        edits, weights = zip(*self._kinds, strict=True)
        size = self._rng.choice([1, 1, 1, 2, 5])
        with self._connection.transaction():
            for edit in self._rng.choices(edits, weights, k=size):
                name = edit.__name__.strip("_")
                self.edits[name] = self.edits.get(name, 0) + edit()

    def empty(self) -> None:
        """TRUNCATE."""
        self._connection.execute("TRUNCATE kb.articles")

    def documents(self) -> dict[str, str]:
        """id -> SHA-256 of what the mapping makes of the row."""
        with self._connection.cursor(row_factory=namedtuple_row) as cursor:
            rows = cursor.execute("SELECT id, title, body FROM kb.articles").fetchall()
        texts = {str(row.id): f"{row.title}\n\n{row.body}" for row in rows}
        return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}

    def _insert(self) -> int:
        return self._run(
            "INSERT INTO kb.articles (id, title, body) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            self._rng.randint(1, self._ids),
            self._title(),
            self._body(),
        )

    def _retitle(self) -> int:
        return self._run(
            "UPDATE kb.articles SET title = %s, revised_at = now() WHERE id = %s",
            self._title(),
            self._some_id(),
        )

    def _rewrite(self) -> int:
        return self._run(
            "UPDATE kb.articles SET body = %s WHERE id = %s", self._body(), self._some_id()
        )

    def _rename(self) -> int:
        return self._run(
            "UPDATE kb.articles SET id = %(new)s WHERE id = %(old)s "
            "AND NOT EXISTS (SELECT FROM kb.articles WHERE id = %(new)s)",
            new=self._rng.randint(1, self._ids),
            old=self._some_id(),
        )

    def _delete(self) -> int:
        return self._run("DELETE FROM kb.articles WHERE id = %s", self._some_id())

    def _run(self, statement: str, *values: Any, **named: Any) -> int:
        """Rows that it has changed."""
        return self._connection.execute(statement.encode(), named or values).rowcount

    def _some_id(self) -> int | None:
        rows = self._connection.execute("SELECT id FROM kb.articles ORDER BY id").fetchall()
        if not rows:
            return None
        return self._rng.choice(rows)[0]

    def _title(self) -> str:
        self._number += 1
        return f"Article of edit {self._number}"

    def _body(self) -> str:
        self._number += 1
        words = [f"{self._rng.getrandbits(40):x}" for _ in range(_LARGE // 10)]
        size = len(words) // _PARAGRAPHS
        parts = [" ".join(words[at : at + size]) for at in range(0, len(words), size)]
        return f"Text of edit {self._number}.\n\n" + "\n\n".join(parts)
