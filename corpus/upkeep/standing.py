"""What the tables and indexes of the corpus are like now, as PostgreSQL counts it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from corpus.database import Connection, fetch_all, fetch_one
from corpus.embed.build_memory import entry_bytes
from corpus.embed.history_index import (
    ClosedChunksWaiting,
    closed_chunks_waiting,
    closed_indexes,
)
from corpus.embed.space_indexes import chunk_indexes, space_indexes

# A transaction that is older keeps rows from being removed; rebuilding beside it would keep them in the new index.
HELD_SECONDS = 3600


def dead_share(dead: int, rows: int) -> float:
    """Of rows or entries, those that are dead, which are not among `rows`."""
    return dead / max(1, rows + dead)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableStanding:
    """A table (query `upkeep_tables`)."""

    name: str
    bytes: int
    rows: int
    dead: int  # versions of rows that nobody can see; entries of indexes lead to them
    modified: int  # rows since the newest ANALYZE
    last_vacuum: datetime | None
    last_analyze: datetime | None  # None: never, or its counts were lost in a crash

    @property
    def share(self) -> float:
        """Of its rows, those that are dead."""
        return dead_share(self.dead, self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexStanding:
    """An index (query `upkeep_indexes`)."""

    name: str
    table: str
    method: str
    bytes: int
    rows: int  # those that the index is of; as of the newest ANALYZE
    is_valid: bool
    is_built: bool  # a session builds an index of its table now
    is_left_over: bool  # of a rebuild that was interrupted
    dimensions: int | None  # of a vector index
    is_of_closed: bool  # and of closed chunks, where others are of visible ones
    is_half: bool

    def dead_entries(self, table: TableStanding) -> int:
        """Entries of a vector index that lead to no chunk of its kind, at most.

        Of visible chunks, each withdrawn one leaves an entry. A purge leaves dead rows, too, and their entries went
        before; so it is no more than what the index file holds beside the chunks that are surely visible. Chunks of
        one vector share an entry: where the file has room for less than the visible ones, its size says nothing.

        Of closed chunks, each that is purged leaves one, and most of the dead rows never had any: those of chunks that
        were closed or brought. So it is what the file holds beside the chunks of the newest ANALYZE, which comes of
        itself when a twentieth of the rows has changed.

        Args:
            table: that it is an index of.
        """
        if self.dimensions is None:
            return 0
        entries = self.bytes // entry_bytes(self.dimensions, is_half=self.is_half)
        if self.is_of_closed:
            return min(table.dead, max(0, entries - self.rows))
        if entries < self.rows:
            return table.dead
        surely_visible = max(0, self.rows - table.modified)
        return min(table.dead, entries - surely_visible)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """What may still see rows that are gone (query `upkeep_holders`)."""

    who: str
    since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerUpkeep:
    """Whether the server looks after tables by itself (query `autovacuum_settings`)."""

    is_on: bool
    counts: bool

    @property
    def problem(self) -> str | None:
        """What is wrong with it, in words."""
        if not self.counts:
            return "track_counts is off: the server counts no dead rows, so that nobody knows when upkeep is due"
        if not self.is_on:
            return "autovacuum is off: tables that nobody vacuums grow, until the server refuses to write"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """All of it, at one moment."""

    tables: tuple[TableStanding, ...]
    indexes: tuple[IndexStanding, ...]
    missing: tuple[str, ...]  # indexes that are to be built, in words
    closed: ClosedChunksWaiting
    holder: Holder | None
    server: ServerUpkeep

    def table(self, name: str) -> TableStanding:
        """One table."""
        return next(table for table in self.tables if table.name == name)

    def index(self, name: str) -> IndexStanding:
        """One index."""
        return next(index for index in self.indexes if index.name == name)


def read_standing(connection: Connection) -> Standing:
    """Look at everything; reads statistics only, so it takes milliseconds."""
    held = {"seconds": HELD_SECONDS}
    server = fetch_one(connection, class_row(ServerUpkeep), "autovacuum_settings")
    assert server is not None, "a query without FROM has a row"
    return Standing(
        tables=tuple(fetch_all(connection, class_row(TableStanding), "upkeep_tables")),
        indexes=tuple(
            fetch_all(connection, class_row(IndexStanding), "upkeep_indexes")
        ),
        missing=tuple(_missing(connection)),
        closed=closed_chunks_waiting(connection),
        holder=fetch_one(connection, class_row(Holder), "upkeep_holders", held),
        server=server,
    )


def _missing(connection: Connection) -> Iterator[str]:
    for space in space_indexes(connection):
        if space.is_wanted:
            yield f"vector index of {space.describe()}"
    for index in chunk_indexes(connection):
        if index.is_wanted:
            yield f"{index.name}: {index.state}"
    for closed in closed_indexes(connection):
        if closed.is_wanted:
            yield f"vector index of {closed.describe()}"
