"""A reader beside a stack: it looks all the time, and counts what must never be seen (promises 2 and 9)."""

import random
import threading
from dataclasses import dataclass, field
from datetime import datetime

from psycopg.rows import namedtuple_row

from corpus.database import Connection
from tests.bench.stack import Stack

_LOOKS_PER_RECORD = 10
_LOOKS_PER_RECHECK = 50


class Reader(threading.Thread):
    """Looks until it is stopped.

    Attributes:
        looks: how often it has looked.
        refused: looks while PostgreSQL was away.
        seen: what must not be seen, and how often it was.
    """

    def __init__(self, stack: Stack, pause: float = 0.02) -> None:
        super().__init__(daemon=True)
        self._stack = stack
        self._pause = pause
        self._ended = threading.Event()
        self._batches = RecordedBatches()
        self.looks = 0
        self.refused = 0
        self.seen: dict[str, int] = {
            "documents without chunks": 0,
            "mixed versions": 0,
            "half batches": 0,
            "two versions": 0,
        }

    def run(self) -> None:
        connection: Connection | None = None
        while not self._ended.wait(self._pause):
            try:
                connection = connection or self._stack.connect()
                self._look(connection)
            except Exception:
                self.refused += 1
                if connection is not None:
                    connection.close()
                connection = None
                self._ended.wait(0.2)
        if connection is not None:
            connection.close()

    def _look(self, connection: Connection) -> None:
        row = connection.execute(_LOOK.encode()).fetchone()
        for name, count in zip(self.seen, row or (), strict=True):
            self.seen[name] += count
        if self.looks % _LOOKS_PER_RECORD == 0:
            self._batches.record_new(connection)
        if self.looks % _LOOKS_PER_RECHECK == 0:
            self._batches.check_one(connection)
        self.looks += 1

    def stop(self) -> dict[str, int]:
        """Look once more at every batch, and return what was seen."""
        self._ended.set()
        self.join()
        with self._stack.connect() as connection:
            self._batches.check_all(connection)
        return {
            "looks": self.looks,
            "looks while the database was away": self.refused,
            "looks at a corpus as of a batch": self._batches.looks,
            **self.seen,
            "batches as of which the corpus changed": len(self._batches.changed),
        }


@dataclass
class RecordedBatches:
    """What the corpus was as of each batch when the batch was first seen, and whether it still is.

    Attributes:
        looks: how often one was looked at again.
        changed: (source, batch) as of which the corpus is another now.
    """

    looks: int = 0
    changed: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])
    _recorded: dict[tuple[str, int], tuple[datetime, str]] = field(
        default_factory=dict[tuple[str, int], tuple[datetime, str]]
    )

    def record_new(self, connection: Connection) -> None:
        """Take the batches that are not known yet."""
        known = {source: 0 for source, _ in self._recorded}
        for source, batch in self._recorded:
            known[source] = max(known[source], batch)
        with connection.cursor(row_factory=namedtuple_row) as cursor:
            rows = cursor.execute(_BATCHES).fetchall()
        for row in rows:
            if row.batch > known.get(row.source, 0):
                content = self._corpus(connection, row.source, row.published_at)
                self._recorded[row.source, row.batch] = (row.published_at, content)

    def check_one(self, connection: Connection) -> None:
        """Look again at any of them."""
        if self._recorded:
            self._check(connection, random.choice(list(self._recorded)))

    def check_all(self, connection: Connection) -> None:
        """Look again at each."""
        for batch in self._recorded:
            self._check(connection, batch)

    def _check(self, connection: Connection, batch: tuple[str, int]) -> None:
        published_at, content = self._recorded[batch]
        self.looks += 1
        if self._corpus(connection, batch[0], published_at) != content:
            self.changed.add(batch)

    @staticmethod
    def _corpus(connection: Connection, source: str, as_of: datetime) -> str:
        row = connection.execute(_AS_OF, {"source": source, "as_of": as_of}).fetchone()
        return repr(row)


_BATCHES = "SELECT source, batch, published_at FROM freshet.batch ORDER BY source, batch"

# Documents and chunks that were visible at an instant, as one value each.
_AS_OF = """
SELECT (SELECT md5(string_agg(concat_ws(' ', document_id, version, chunk_ids), ',' ORDER BY document_id))
        FROM freshet.document WHERE source = %(source)s
        AND visible_from <= %(as_of)s AND (visible_to IS NULL OR %(as_of)s < visible_to)),
       (SELECT md5(string_agg(chunk_id::text, ',' ORDER BY chunk_id))
        FROM freshet.chunk WHERE source = %(source)s
        AND visible_from <= %(as_of)s AND (visible_to IS NULL OR %(as_of)s < visible_to))
"""

# One statement, one snapshot, as a search is: every visible document's chunks against the visible chunks.
_LOOK = """
WITH listed AS (
    SELECT d.source, d.document_id, d.batch, d.content_bytes, cardinality(d.chunk_ids) AS named, t.chunk_id
    FROM freshet.document d LEFT JOIN LATERAL (SELECT DISTINCT unnest(d.chunk_ids) AS chunk_id) t ON true
    WHERE d.visible_to IS NULL
), joined AS (
    SELECT l.*, c.chunk_id AS open FROM listed l
    LEFT JOIN freshet.chunk c ON c.chunk_id = l.chunk_id AND c.visible_to IS NULL AND c.document_id = l.document_id
)
SELECT (SELECT count(*) FROM (SELECT document_id FROM joined GROUP BY source, document_id, content_bytes
                              HAVING count(open) = 0 AND content_bytes > 20) x),
       (SELECT count(*) FROM joined WHERE chunk_id IS NOT NULL AND open IS NULL)
         + (SELECT count(*) FROM freshet.chunk c WHERE c.visible_to IS NULL
            AND NOT EXISTS (SELECT FROM listed l WHERE l.chunk_id = c.chunk_id)),
       (SELECT count(*) FROM freshet.batch b WHERE b.kind = 'ingest' AND b.documents_written <>
            (SELECT count(*) FROM freshet.document d
             WHERE d.source = b.source AND d.batch = b.batch AND d.kind = 'document')),
       (SELECT count(*) FROM (SELECT document_id FROM freshet.document WHERE visible_to IS NULL
                              GROUP BY source, document_id HAVING count(*) > 1) x)
"""
