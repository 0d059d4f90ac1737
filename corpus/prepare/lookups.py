"""What the prepare step looks up beside the documents: its source, and which texts have a vector."""

from dataclasses import dataclass
from typing import Any

from psycopg.rows import class_row, scalar_row

from corpus.chunk import Chunk
from corpus.database import Connection, fetch_all, fetch_one
from corpus.errors import ConfigurationError
from corpus.preparation import PreparationRules, preparation_rules
from corpus.source import SourceSpec


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
    values = {"space_id": space_id, "hashes": list(texts)}
    seen = set(fetch_all(connection, scalar_row, "embedded_texts", values))
    return {digest: chunk for digest, chunk in texts.items() if digest not in seen}
