"""Embedding spaces: vectors of two models are never compared, so each model's space is registered before its use."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg.rows import class_row

from corpus.database import Connection, database_errors_translated, fetch_all
from corpus.embed.model_files import read_embedding_spec
from corpus.embed.spaces import register, require_index
from corpus.embed.spec import (
    MAX_DIMENSIONS,
    EmbeddingSpec,
    SpaceChoice,
)
from corpus.errors import ConfigurationError
from corpus.source import SourceSpec
from corpus.sql import query
from workers.apply.change import Change
from workers.apply.kind import Kind, Names, Services, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class _SpaceRow:
    """A row of `registered_spaces`."""

    fingerprint: str
    vectors: str
    has_half: bool


@dataclass(frozen=True, slots=True)
class RegisteredSpace:
    """A space. Its name holds its fingerprint, so only the precision of its vectors can change."""

    vectors: str
    spec: EmbeddingSpec | None = None  # None: as read from the database

    def fields(self) -> Mapping[str, Any]:
        """The precision."""
        return {"vectors": self.vectors}


class Spaces(Kind[RegisteredSpace]):
    """The spaces of the models that the sources name."""

    name = "space"

    async def desired(
        self, services: Services, target: Target
    ) -> Mapping[str, RegisteredSpace]:
        """One per model, prefix and context. What no table chooses stays as it is.

        Raises:
            ConfigurationError: a model's files are missing or unreadable, or no index holds its vectors as they are
                wanted; the message names the source or the table.
        """
        rows = _read(services.connection)
        choices = {
            (choice.model, choice.prefix, choice.context): choice
            for choice in target.config.spaces
        }
        spaces: dict[str, RegisteredSpace] = {}
        for source in target.config.sources:
            spec = embedding_of(source)
            choice = choices.get((source.model, source.prefix, source.context))
            row = rows.get(spec.fingerprint())
            vectors = _wanted(source, spec, choice, row)
            spaces[space_name(spec)] = RegisteredSpace(vectors, spec)
        return spaces

    async def current(
        self, services: Services, names: Names
    ) -> Mapping[str, RegisteredSpace]:
        """Those that the database has."""
        rows = _read(services.connection)
        return {
            name: RegisteredSpace(rows[_fingerprint(name)].vectors)
            for name in names
            if _fingerprint(name) in rows
        }

    async def write(self, services: Services, change: Change[RegisteredSpace]) -> None:
        """Register it, and choose its precision; a storer builds its index."""
        desired = change.desired
        if desired is None or desired.spec is None:
            return
        values = {
            "fingerprint": desired.spec.fingerprint(),
            "vectors": desired.vectors,
        }
        with database_errors_translated():
            register(services.connection, desired.spec)
            services.connection.execute(query("choose_vectors"), values)


def _read(connection: Connection) -> dict[str, _SpaceRow]:
    with database_errors_translated():
        rows = fetch_all(connection, class_row(_SpaceRow), "registered_spaces")
    return {row.fingerprint: row for row in rows}


def _wanted(
    source: SourceSpec,
    spec: EmbeddingSpec,
    choice: SpaceChoice | None,
    row: _SpaceRow | None,
) -> str:
    """The precision that the space of a source should have.

    Raises:
        ConfigurationError: as `Spaces.desired`.
    """
    if row is None:
        _require_index(source, spec)
    if choice is None:
        return spec.default_precision if row is None else row.vectors
    table = f"space.{choice.name}.vectors = {choice.vectors!r}"
    if choice.vectors != "full":
        return choice.vectors
    if spec.dimensions > MAX_DIMENSIONS:
        raise ConfigurationError(
            f"{table}: {spec.model} makes vectors of {spec.dimensions:,} dimensions, and an index of full precision "
            f"holds at most {MAX_DIMENSIONS:,}; write half_index or half"
        )
    if row is not None and row.has_half:
        raise ConfigurationError(
            f"{table}: vectors of {spec.model} are kept in half precision, and do not become full again; "
            "write half_index, with which new ones are kept in full precision"
        )
    return choice.vectors


def _require_index(source: SourceSpec, spec: EmbeddingSpec) -> None:
    try:
        require_index(spec)
    except ConfigurationError as error:
        raise ConfigurationError(f"source.{source.source}.model: {error}") from error


def embedding_of(source: SourceSpec) -> EmbeddingSpec:
    """The space that a source's model puts texts into.

    Raises:
        ConfigurationError: the model's files are missing or unreadable; the message names the source.
    """
    try:
        return read_embedding_spec(source.model, source.prefix, source.context)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"source.{source.source}.model = {source.model!r}: {error}"
        ) from error


def space_name(spec: EmbeddingSpec) -> str:
    """The model for people, the fingerprint for comparing."""
    return f"{spec.model} {spec.fingerprint()}"


def _fingerprint(name: str) -> str:
    return name.rpartition(" ")[2]
