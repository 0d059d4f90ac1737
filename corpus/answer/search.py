"""Search: by vector, by text, or both; now, as of an instant or of a batch; within one embedding space."""

import logging
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import class_row, scalar_row

from corpus.access.reader import Reader, reading_as
from corpus.answer.bounds import MAX_TEXT_CHARACTERS
from corpus.answer.cancellation import cancellable
from corpus.answer.query_vectors import EmbedderOf
from corpus.answer.searched import searched_specs
from corpus.database import Connection, database_errors_translated, fetch_one
from corpus.disclosure.error_text import public_text
from corpus.embed.model_files import read_embedding_spec
from corpus.errors import (
    ConfigurationError,
    DependencyError,
    SpaceMismatchError,
    UnreadableSpecError,
)
from corpus.log_limit import LogLimit
from corpus.service import DocumentPart, SearchHit, SearchRequest, SearchResponse
from corpus.source import SourceSpec
from corpus.sql import query

logger = logging.getLogger(__name__)
logger.addFilter(LogLimit())

_OWN_ERRORS = "FR"  # class of the SQLSTATEs that Freshet's SQL functions raise
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Longest wait for each batch that is being published and may change the answer; most take less.
SETTLE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _SpaceRow:
    space_id: int


@dataclass(frozen=True, slots=True)
class _Space:
    space_id: int
    model: str
    prefix: str


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
    language: str | None = None
    part: dict[str, Any] | None = None  # a `corpus.clean.parts.Part`


def search(
    connection: Connection,
    request: SearchRequest,
    embedder_of: EmbedderOf,
    *,
    max_seconds: float | None = None,
    reader: Reader | None = None,
) -> SearchResponse:
    """Retrieve chunks, best first.

    1. read the sources to search; they share one embedding space
    2. embed the query in that space (not for mode text)
    3. for an instant, wait until no batch that is being published can change the answer
    4. search in the database

    Args:
        connection: in autocommit mode.
        request: that `search_problem` finds nothing wrong with; `corpus.answer.rerank` knows its `rerank`.
        embedder_of: gives the embedder of a space.
        max_seconds: of each of the steps 3 and 4; None: step 4 has no limit.
        reader: a source that is not granted to it does not exist; None: whoever the connection logged in as.

    Raises:
        ConfigurationError: there is no such source or batch, the instant lies in the future, or the request is
            malformed.
        SpaceMismatchError: the sources are of several embedding spaces.
        UnreadableSpecError: this version cannot read the specification of a named source.
        DependencyError: PostgreSQL does not answer in time, or a batch is being published that may change the answer.
    """
    with database_errors_translated(), cancellable(connection):
        # Step 1.
        with _as_reader(connection, reader):
            specs, sources = _read_sources(connection, request.sources, reader)
            space = _space_of(connection, specs)
            if space is None:
                return SearchResponse(hits=())
            as_of = _as_of(connection, request, specs)
        # Step 2.
        vector = None
        if request.mode != "text":
            embedder = embedder_of(space.model, space.prefix)
            vector = embedder.embed_query(request.query)
        parameters = {
            "query": vector,
            "space_id": space.space_id,
            "as_of": as_of,
            "sources": sources,
            **_parameters(request),
        }
        # Steps 3, 4; what step 3 locks is free before step 4 begins.
        if request.as_of_batch is None and as_of is not None:
            with _as_reader(connection, reader):
                _settle(connection, parameters, max_seconds)
        with _as_reader(connection, reader):
            rows = _matching_chunks(connection, parameters, max_seconds)
    expire_after = {spec.source: spec.freshness.expire_after_seconds for spec in specs}
    return SearchResponse(
        hits=tuple(hit_of(row, expire_after.get(row.source)) for row in rows)
    )


def _as_reader(
    connection: Connection, reader: Reader | None
) -> AbstractContextManager[None]:
    """The rows of a reader; without one, those of the login."""
    if reader is None:
        return nullcontext()
    return reading_as(connection, reader)


def _read_sources(
    connection: Connection, names: tuple[str, ...], reader: Reader | None
) -> tuple[list[SourceSpec], list[str] | None]:
    """The sources of these names, or all that there are for this reader where no name is given.

    A source whose specification cannot be read is left out of all of them, with a line in the log.

    Returns:
        The specifications, and the names to search in; None: in all sources.
    """
    stored = searched_specs(connection, _candidates(names, reader))
    unknown = set(names).difference(stored.specs, stored.unreadable)
    if unknown:
        raise ConfigurationError(
            f"there is no source {min(unknown)!r}; `freshet sources` lists them"
        )
    for source, reason in stored.unreadable.items():
        if names:
            raise UnreadableSpecError(f"source {source!r} cannot be searched: {reason}")
        context = {"action": "spec_unreadable", "source": source, "kind": source}
        logger.warning("source is left out of a search: %s", reason, extra=context)
    if names or stored.unreadable or reader is not None:
        return list(stored.specs.values()), list(stored.specs)
    return list(stored.specs.values()), None


def _candidates(names: tuple[str, ...], reader: Reader | None) -> list[str] | None:
    """The names to look for: of those that are asked for, the granted ones; None: every source."""
    if reader is None:
        return list(names) or None
    return sorted(reader.sources.intersection(names or reader.sources))


def _space_of(connection: Connection, specs: list[SourceSpec]) -> _Space | None:
    """The embedding space of the sources; None where there is no source, or nothing was ever embedded."""
    if not specs:
        return None
    model, prefix, context = one_space(specs)
    space_id = _registered_space(connection, model, prefix, context)
    if space_id is None:
        return None
    return _Space(space_id, model, prefix)


def one_space(specs: list[SourceSpec]) -> tuple[str, str, str]:
    """Model, prefix and context that all sources share.

    Raises:
        SpaceMismatchError: they are of several embedding spaces.
    """
    spaces = {(spec.model, spec.prefix, spec.context) for spec in specs}
    if len(spaces) > 1:
        listed = ", ".join(
            f"{spec.source} ({spec.model}, context {spec.context})" for spec in specs
        )
        raise SpaceMismatchError(
            f"these sources are of several embedding spaces: {listed}. Name sources of one space."
        )
    return spaces.pop()


def _registered_space(
    connection: Connection, model: str, prefix: str, context: str
) -> int | None:
    spec = read_embedding_spec(model, prefix, context)
    fingerprint = spec.fingerprint()
    with connection.cursor(row_factory=class_row(_SpaceRow)) as cursor:
        values = {"fingerprint": fingerprint}
        cursor.execute(query("space_by_fingerprint"), values)
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
        "metadata": request.metadata or None,
        "max_characters": MAX_TEXT_CHARACTERS,
    }


# ── as of ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _as_of(
    connection: Connection, request: SearchRequest, specs: list[SourceSpec]
) -> datetime | None:
    """The instant that the request names; None: now."""
    if request.as_of_batch is not None:
        return _published_at(connection, request.as_of_batch, specs)
    if request.as_of_us is not None:
        return _instant("as_of_us", request.as_of_us, 1)
    if request.as_of_ms is not None:
        return _instant("as_of_ms", request.as_of_ms, 1_000)
    return None


def _published_at(
    connection: Connection, batch: int, specs: list[SourceSpec]
) -> datetime:
    """The instant of a batch. It is final: batches of one source are published one after the other."""
    if len(specs) != 1:
        raise ConfigurationError(
            f"as_of_batch is {batch}, a batch of one source; name the source"
        )
    values = {"source": specs[0].source, "batch": batch}
    instant: datetime | None = fetch_one(
        connection, scalar_row, "batch_published_at", values
    )
    if instant is None:
        raise ConfigurationError(
            f"source {specs[0].source!r} has no published batch {batch}"
        )
    return instant


def _instant(name: str, value: int, microseconds: int) -> datetime:
    try:
        return _EPOCH + timedelta(microseconds=value * microseconds)
    except OverflowError as error:
        raise ConfigurationError(f"{name} is {value}, which is not a time") from error


def _settle(
    connection: Connection, parameters: dict[str, Any], max_seconds: float | None
) -> None:
    """Wait for the batches that may change the answer; see `freshet.settle` in the schema."""
    seconds = min(SETTLE_SECONDS, max_seconds or SETTLE_SECONDS)
    with _refusals_translated(), _limits(connection, seconds):
        connection.execute(query("settle"), parameters)


@contextmanager
def _limits(connection: Connection, seconds: float) -> Generator[None]:
    """A transaction whose statements, and their waits for locks, end after this time."""
    statement_ms = round(seconds * 1000)
    lock_ms = max(
        1, statement_ms - 100
    )  # first, since its error names what is waited for
    with connection.transaction():
        connection.execute(
            query("limit_waiting"), {"lock_ms": lock_ms, "statement_ms": statement_ms}
        )
        yield


# ── the query ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _matching_chunks(
    connection: Connection, parameters: dict[str, Any], max_seconds: float | None
) -> list[HitRow]:
    limits = nullcontext() if max_seconds is None else _limits(connection, max_seconds)
    hits = connection.cursor(row_factory=class_row(HitRow))
    with _refusals_translated(), limits, hits as cursor:
        cursor.execute(query("search"), parameters)
        return cursor.fetchall()


@contextmanager
def _refusals_translated() -> Generator[None]:
    """Say which requests PostgreSQL refuses because of their values, and which take too long for now."""
    try:
        yield
    except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled) as error:
        reason = public_text(error)
        raise DependencyError(
            f"the search could not be answered in time: {reason}; search again"
        ) from error
    except psycopg.DatabaseError as error:
        sqlstate = error.sqlstate or ""
        is_own = sqlstate.startswith(_OWN_ERRORS)
        is_of_values = is_own or isinstance(error, psycopg.DataError)
        if not is_of_values:
            raise
        reason = public_text(error)
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
        language=row.language,
        part=_part_of(row),
    )


def _part_of(row: HitRow) -> DocumentPart | None:
    if row.part is None:
        return None
    names = (field.name for field in fields(DocumentPart))
    return DocumentPart(**{name: row.part[name] for name in names})


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
