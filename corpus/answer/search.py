"""Search: vector, text, hybrid; now and as of an instant; within one embedding space."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from corpus.database import Connection, database_errors_translated
from corpus.embed.embedder import Embedder
from corpus.embed.model_files import read_embedding_spec
from corpus.errors import ConfigurationError, SpaceMismatchError
from corpus.service import SearchHit, SearchRequest, SearchResponse
from corpus.source import SourceSpec
from corpus.sql import query

_OWN_ERRORS = "FR"  # class of the SQLSTATEs that Freshet's SQL functions raise

# (model, prefix) -> an embedder that makes vectors of that space.
EmbedderOf = Callable[[str, str], Embedder]


def search(
    connection: Connection, request: SearchRequest, embedder_of: EmbedderOf
) -> SearchResponse:
    """Retrieve chunks, best first.

    1. find the one embedding space of the sources asked
    2. embed the query in it (not for mode text)
    3. for an instant, wait until nothing that is being committed can change the answer
    4. ask the database

    Raises:
        ConfigurationError: there is no such source, the instant lies in the future, or the request is malformed.
        SpaceMismatchError: the sources asked are of several embedding spaces.
        DependencyError: PostgreSQL does not answer.
    """
    sources = list(request.sources) or None
    with database_errors_translated():
        # Step 1.
        specs = [
            SourceSpec.from_json(row[1])
            for row in connection.execute(query("search_spaces"), {"sources": sources}).fetchall()
        ]
        if sources and (unknown := set(sources) - {spec.source for spec in specs}):
            raise ConfigurationError(
                f"there is no source {sorted(unknown)[0]!r}; `freshet sources` lists them"
            )
        if not specs:
            return SearchResponse(hits=())
        model, prefix = _one_space(specs)
        space = connection.execute(
            query("space_by_fingerprint"),
            {"fingerprint": read_embedding_spec(model, prefix).fingerprint()},
        ).fetchone()
        if space is None:
            return SearchResponse(hits=())  # nothing was ever embedded
        # Step 2.
        vector = (
            None
            if request.mode == "text"
            else embedder_of(model, prefix).embed_query(request.query)
        )
        values: dict[str, Any] = {
            "query": vector,
            "text": None if request.mode == "vector" else request.query,
            "k": request.k,
            "mode": request.mode,
            "space_id": space[0],
            "sources": sources,
            "metadata": request.metadata or None,
            "as_of": None
            if request.as_of_ms is None
            else datetime.fromtimestamp(request.as_of_ms / 1000, UTC),
            "language": specs[0].text_search_language,
        }
        try:
            # Step 3.
            if values["as_of"] is not None:
                connection.execute(query("settle"), values)
            # Step 4.
            with connection.cursor(row_factory=dict_row) as cursor:
                rows = cursor.execute(query("search"), values).fetchall()
        except psycopg.DatabaseError as error:
            if not isinstance(error, psycopg.DataError) and not (error.sqlstate or "").startswith(
                _OWN_ERRORS
            ):
                raise
            raise ConfigurationError(
                f"the search was refused: {error.diag.message_primary or error}"
            ) from error
    expire_after = {spec.source: spec.freshness.expire_after_seconds for spec in specs}
    return SearchResponse(hits=tuple(_hit(row, expire_after.get(row["source"])) for row in rows))


def _one_space(specs: list[SourceSpec]) -> tuple[str, str]:
    spaces = {(spec.model, spec.prefix) for spec in specs}
    if len(spaces) > 1:
        listed = ", ".join(f"{spec.source} ({spec.model})" for spec in specs)
        raise SpaceMismatchError(
            f"these sources are of several embedding spaces: {listed}. Name sources of one space."
        )
    return spaces.pop()


def _hit(row: dict[str, Any], expire_after_seconds: int | None) -> SearchHit:
    return SearchHit(
        source=row["source"],
        document_id=row["document_id"],
        version=row["version"],
        text=row["text"],
        score=row["score"],
        position=row["ordinal"],
        start=row["start"],
        heading=row["heading"],
        title=row["title"],
        uri=row["uri"],
        metadata=row["metadata"],
        chunk_id=row["chunk_id"],
        batch=row["batch"],
        topic=row["topic"],
        partition=row["partition"],
        offset=row["record_offset"],
        event_at_ms=_milliseconds(row["event_at"]),
        observed_at_ms=_milliseconds(row["observed_at"]),
        verified_at_ms=_milliseconds(row["verified_at"]),
        fresh_until_ms=_fresh_until(row, expire_after_seconds),
    )


def _fresh_until(row: dict[str, Any], expire_after_seconds: int | None) -> int | None:
    """The event's own end, else by the source's `expire_after`."""
    if row["expires_at"] is not None:
        return round(row["expires_at"].timestamp() * 1000)
    if expire_after_seconds is None:
        return None
    seen = max(
        instant for instant in (row["observed_at"], row["verified_at"]) if instant is not None
    )
    return round((seen.timestamp() + expire_after_seconds) * 1000)


def _milliseconds(instant: datetime | None) -> int | None:
    return None if instant is None else round(instant.timestamp() * 1000)
