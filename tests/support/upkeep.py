"""Tables and indexes as the server might count them."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from corpus.embed.history_index import ClosedChunksWaiting
from corpus.upkeep.standing import IndexStanding, ServerUpkeep, Standing, TableStanding

DAY = datetime(2026, 11, 26, tzinfo=UTC)
SERVER = ServerUpkeep(is_on=True, counts=True)
ENTRY = 2_048  # bytes, of 384 dimensions


def table(**other: Any) -> TableStanding:
    """Chunks that have not changed since they were analysed."""
    usual = TableStanding(
        name="chunk",
        bytes=100_000_000,
        rows=100_000,
        dead=0,
        modified=0,
        last_vacuum=None,
        last_analyze=DAY,
    )
    return replace(usual, **other)


def index(**other: Any) -> IndexStanding:
    """A vector index of all of them."""
    usual = IndexStanding(
        name="vectors",
        table="chunk",
        method="hnsw",
        bytes=100_000 * ENTRY,
        rows=100_000,
        is_valid=True,
        is_built=False,
        is_left_over=False,
        dimensions=384,
        is_of_closed=False,
        is_half=False,
    )
    return replace(usual, **other)


def standing(table: TableStanding, *indexes: IndexStanding, **other: Any) -> Standing:
    usual = Standing(
        tables=(table,),
        indexes=indexes,
        missing=(),
        closed=ClosedChunksWaiting(chunks=0, since=None),
        holder=None,
        server=SERVER,
    )
    return replace(usual, **other)
