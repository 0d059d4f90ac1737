"""Search: by vector, by text, or both; now or as of an instant; within one embedding space."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _SourceRow:
    source: str
    spec: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _SpaceRow:
    space_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HitRow:
    """A row of the query `search`."""

    score: float
    source: str
    document_id: str
    version: int
    ordinal: int
    start: int
    heading: str | None
    text: str
    title: str | None
    uri: str | None
    metadata: str
    chunk_id: int
    batch: int
    topic: str | None
    partition: int | None
    record_offset: int | None
    event_at: datetime | None
    observed_at: datetime
    verified_at: datetime | None
    expires_at: datetime | None


def search(
    connection: Connection, request: SearchRequest, embedder_of: EmbedderOf
) -> SearchResponse:
    """Retrieve chunks, best first.

    1. read the sources to search; they share one embedding space
    2. embed the query in that space (not for mode text)
    3. for an instant, wait until no batch that is being committed can change the answer
    4. search in the database

    Raises:
        ConfigurationError: there is no such source, the instant lies in the future, or the request is malformed.
        SpaceMismatchError: the sources are of several embedding spaces.
        DependencyError: PostgreSQL does not answer.
    """
    with database_errors_translated():
        # Step 1.
        specs = _read_sources(connection, request.sources)
        if not specs:
            return SearchResponse(hits=())
        model, prefix = one_space(specs)
        space_id = _registered_space(connection, model, prefix)
        if space_id is None:  # nothing was ever embedded
            return SearchResponse(hits=())
        # Step 2.
        vector = None
        if request.mode != "text":
            vector = embedder_of(model, prefix).embed_query(request.query)
        parameters = {
            "query": vector,
            "space_id": space_id,
            "language": specs[0].text_search_language,
            **_parameters(request),
        }
        # Steps 3, 4.
        rows = _matching_chunks(connection, parameters)
    expire_after = {spec.source: spec.freshness.expire_after_seconds for spec in specs}
    return SearchResponse(
        hits=tuple(hit_of(row, expire_after.get(row.source)) for row in rows)
    )


def _read_sources(connection: Connection, names: tuple[str, ...]) -> list[SourceSpec]:
    """The sources of these names, or all of them where no name is given."""
    with connection.cursor(row_factory=class_row(_SourceRow)) as cursor:
        cursor.execute(query("search_spaces"), {"sources": list(names) or None})
        rows = cursor.fetchall()
    known = {row.source for row in rows}
    unknown = set(names) - known
    if unknown:
        raise ConfigurationError(
            f"there is no source {min(unknown)!r}; `freshet sources` lists them"
        )
    return [SourceSpec.from_json(row.spec) for row in rows]


def one_space(specs: list[SourceSpec]) -> tuple[str, str]:
    """Model and prefix that all sources share.

    Raises:
        SpaceMismatchError: they are of several embedding spaces.
    """
    spaces = {(spec.model, spec.prefix) for spec in specs}
    if len(spaces) > 1:
        listed = ", ".join(f"{spec.source} ({spec.model})" for spec in specs)
        raise SpaceMismatchError(
            f"these sources are of several embedding spaces: {listed}. Name sources of one space."
        )
    return spaces.pop()


def _registered_space(connection: Connection, model: str, prefix: str) -> int | None:
    fingerprint = read_embedding_spec(model, prefix).fingerprint()
    with connection.cursor(row_factory=class_row(_SpaceRow)) as cursor:
        cursor.execute(query("space_by_fingerprint"), {"fingerprint": fingerprint})
        row = cursor.fetchone()
    if row is None:
        return None
    return row.space_id


def _parameters(request: SearchRequest) -> dict[str, Any]:
    """Parameters of the query `search` that the request decides alone."""
    return {
        "text": None if request.mode == "vector" else request.query,
        "k": request.k,
        "mode": request.mode,
        "sources": list(request.sources) or None,
        "metadata": request.metadata or None,
        "as_of": _instant(request.as_of_ms),
    }


def _instant(epoch_ms: int | None) -> datetime | None:
    if epoch_ms is None:
        return None
    try:
        seconds = epoch_ms / 1000
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise ConfigurationError(
            f"as_of_ms is {epoch_ms}, which is not a time: {error}"
        ) from error


def _matching_chunks(
    connection: Connection, parameters: dict[str, Any]
) -> list[HitRow]:
    hits = connection.cursor(row_factory=class_row(HitRow))
    with _refusals_translated(), hits as cursor:
        if parameters["as_of"] is not None:
            connection.execute(query("settle"), parameters)
        cursor.execute(query("search"), parameters)
        return cursor.fetchall()


@contextmanager
def _refusals_translated() -> Generator[None]:
    """Turn what PostgreSQL refuses because of the request's values into a ConfigurationError."""
    try:
        yield
    except psycopg.DatabaseError as error:
        own = (error.sqlstate or "").startswith(_OWN_ERRORS)
        if not own and not isinstance(error, psycopg.DataError):
            raise
        reason = error.diag.message_primary or error
        raise ConfigurationError(f"the search was refused: {reason}") from error


# ── rows become hits ────────────────────────────────────────────────────────────────────────────────────────────────


def hit_of(row: HitRow, expire_after_seconds: int | None) -> SearchHit:
    """The hit as other teams see it; `expire_after_seconds` is the rule of the hit's source."""
    return SearchHit(
        source=row.source,
        document_id=row.document_id,
        version=row.version,
        text=row.text,
        score=row.score,
        position=row.ordinal,
        start=row.start,
        heading=row.heading,
        title=row.title,
        uri=row.uri,
        metadata=row.metadata,
        chunk_id=row.chunk_id,
        batch=row.batch,
        topic=row.topic,
        partition=row.partition,
        offset=row.record_offset,
        event_at_ms=_milliseconds(row.event_at),
        observed_at_ms=_milliseconds(row.observed_at),
        verified_at_ms=_milliseconds(row.verified_at),
        fresh_until_ms=_fresh_until(row, expire_after_seconds),
    )


def _fresh_until(row: HitRow, expire_after_seconds: int | None) -> int | None:
    """The event's own `expires_at`, else the source's `expire_after` since the document was last seen."""
    if row.expires_at is not None:
        return _milliseconds(row.expires_at)
    if expire_after_seconds is None:
        return None
    last_seen = max(row.observed_at, row.verified_at or row.observed_at)
    expires_at = last_seen.timestamp() + expire_after_seconds
    return round(expires_at * 1000)


def _milliseconds(instant: datetime | None) -> int | None:
    return None if instant is None else round(instant.timestamp() * 1000)
