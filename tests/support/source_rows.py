"""The rows of one source, saved and put back: what a restored database does to it."""

from dataclasses import dataclass
from typing import Any

from corpus.database import Connection

_TABLES = (
    *("batch", "batch_range", "document", "chunk", "dead_letter"),
    *("source_position", "record_outcome"),
)


@dataclass(frozen=True)
class SavedRows:
    """Rows per table, as binary COPY has them, and what the source's own row says of its batches."""

    tables: dict[str, bytes]
    newest: tuple[Any, ...]


def saved_rows(connection: Connection, source: str) -> SavedRows:
    """The rows as they are now."""
    tables: dict[str, bytes] = {}
    for table in _TABLES:
        rows = (
            f"SELECT {_columns(connection, table)} FROM freshet.{table} WHERE source = '{source}'"
        )
        with connection.cursor().copy(f"COPY ({rows}) TO STDOUT (FORMAT BINARY)") as copy:
            tables[table] = b"".join(bytes(part) for part in copy)
    newest = connection.execute(
        "SELECT last_batch, last_published_at FROM freshet.source WHERE source = %s", (source,)
    ).fetchone()
    assert newest is not None
    return SavedRows(tables, newest)


def restore_rows(
    connection: Connection, source: str, saved: SavedRows, *, raise_epoch: bool = True
) -> None:
    """Put the rows back; where the epoch rises, consumers read from the restored positions at once."""
    with connection.transaction():
        # The ledger last: documents, ranges and dead letters refer to it.
        for table in (*_TABLES[1:], _TABLES[0]):
            connection.execute(f"DELETE FROM freshet.{table} WHERE source = %s", (source,))
        for table, rows in saved.tables.items():
            columns = _columns(connection, table)
            into = f"COPY freshet.{table} ({columns}) FROM STDIN (FORMAT BINARY)"
            with connection.cursor().copy(into) as copy:
                copy.write(rows)
        connection.execute(
            """UPDATE freshet.source SET last_batch = %s, last_published_at = %s, epoch = epoch + %s
               WHERE source = %s""",
            (*saved.newest, int(raise_epoch), source),
        )


def _columns(connection: Connection, table: str) -> str:
    names = connection.execute(
        """SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute
           WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''""",
        (f"freshet.{table}",),
    ).fetchone()
    assert names is not None
    return str(names[0])
