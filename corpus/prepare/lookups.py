"""What the prepare step looks up beside the documents: its source, what was refused, and which texts have a vector."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from psycopg.rows import class_row

from corpus.batch import BatchRef
from corpus.chunk import Chunk
from corpus.database import Connection, fetch_all, fetch_one
from corpus.dead_letter import DeadLetterReason
from corpus.embed.known_texts import known_texts
from corpus.errors import ConfigurationError
from corpus.preparation import PreparationRules, preparation_rules
from corpus.source import SourceSpec

_POSITION = ("topic", "partition", "offset")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceToPrepare:
    """A row of the query `source_to_prepare`."""

    spec: dict[str, Any]
    prepare_again: str | None
    highest: int  # version that the source has accepted; -1: none is known

    def rules(self, spec: SourceSpec, *, again: bool) -> PreparationRules:
        """Which documents stay as they were prepared; a backfill has asked for all of its own."""
        asked = spec.pipeline.newest_fingerprint() if again else self.prepare_again
        return preparation_rules(spec.pipeline, asked)


def source_to_prepare(connection: Connection, source: str) -> SourceToPrepare:
    """What the database has of the source of a batch.

    Raises:
        ConfigurationError: it is not in the database.
    """
    values = {"source": source}
    factory = class_row(SourceToPrepare)
    stored = fetch_one(connection, factory, "source_to_prepare", values)
    if stored is None:
        raise ConfigurationError(
            f"source {source!r} is not in the database; run `freshet apply`"
        )
    return stored


def unseen_texts(
    connection: Connection, space_id: int | None, texts: dict[bytes, Chunk]
) -> dict[bytes, Chunk]:
    """Those of the texts that have no vector in the space, by hash."""
    if not texts:
        return {}
    seen = known_texts(connection, space_id, texts)
    return {digest: chunk for digest, chunk in texts.items() if digest not in seen}


@dataclass(frozen=True, slots=True, kw_only=True)
class _RefusedEvent:
    """An event that PostgreSQL refused before (query `refused_events_of`)."""

    topic: str
    partition: int
    record_offset: int
    detail: str
    is_bare: bool


def _refused(
    connection: Connection, refs: Sequence[BatchRef]
) -> dict[tuple[str, int, int], _RefusedEvent]:
    """The refused events of these references' partitions, by position."""
    partitions = {(ref.source, ref.topic, ref.topic_id, ref.partition) for ref in refs}
    refused: dict[tuple[str, int, int], _RefusedEvent] = {}
    for partition in partitions:
        names = ("source", "topic", "topic_id", "partition")
        values: dict[str, Any] = dict(zip(names, partition, strict=True))
        factory = class_row(_RefusedEvent)
        for event in fetch_all(connection, factory, "refused_events_of", values):
            refused[event.topic, event.partition, event.record_offset] = event
    return refused


def without_refused(
    connection: Connection, frame: pl.DataFrame, refs: Sequence[BatchRef]
) -> pl.DataFrame:
    """The events with those that PostgreSQL refused before as dead letters: they are folded no more.

    Of a bare one, only the record's key and value are kept.
    """
    refused = _refused(connection, refs)
    if not refused:
        return frame
    rows = list(map(refused.get, frame.select(_POSITION).iter_rows()))
    details = [None if row is None else row.detail for row in rows]
    is_refused = pl.Series([row is not None for row in rows], dtype=pl.Boolean)
    is_bare = pl.Series(
        [row is not None and row.is_bare for row in rows], dtype=pl.Boolean
    )
    changed = [
        ("outcome", is_refused, pl.lit("dead_letter")),
        ("reason", is_refused, pl.lit(DeadLetterReason.NOT_STORABLE.value)),
        ("detail", is_refused, pl.Series(details, dtype=pl.String)),
        ("document_id", is_bare, pl.lit(None, pl.String)),
        ("headers", is_bare, pl.lit(None, pl.String)),
    ]
    return frame.with_columns(
        pl.when(where).then(value).otherwise(pl.col(name)).alias(name)
        for name, where, value in changed
    )
