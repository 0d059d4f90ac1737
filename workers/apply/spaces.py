"""Embedding spaces: vectors of two models are never compared, so each model's space is registered before its use."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg.rows import scalar_row

from corpus.database import database_errors_translated
from corpus.embed.model_files import read_embedding_spec
from corpus.embed.spaces import register
from corpus.embed.spec import EmbeddingSpec
from corpus.errors import ConfigurationError
from corpus.source import SourceSpec
from corpus.sql import query
from workers.apply.change import Change
from workers.apply.kind import Kind, Names, Services, Target


@dataclass(frozen=True, slots=True)
class RegisteredSpace:
    """A space; its name holds its fingerprint, so there is nothing in it that could change."""

    spec: EmbeddingSpec | None = None  # None: as read from the database

    def fields(self) -> Mapping[str, Any]:
        """None."""
        return {}


class Spaces(Kind[RegisteredSpace]):
    """The spaces of the models that the sources name."""

    name = "space"

    async def desired(
        self, services: Services, target: Target
    ) -> Mapping[str, RegisteredSpace]:
        """One per model, prefix and context.

        Raises:
            ConfigurationError: a model's files are missing or unreadable; the message names the source.
        """
        specs = [embedding_of(source) for source in target.config.sources]
        return {space_name(spec): RegisteredSpace(spec) for spec in specs}

    async def current(
        self, services: Services, names: Names
    ) -> Mapping[str, RegisteredSpace]:
        """Those that the database has."""
        with (
            database_errors_translated(),
            services.connection.cursor(row_factory=scalar_row) as cursor,
        ):
            cursor.execute(query("registered_spaces"))
            registered = set(cursor.fetchall())
        return {
            name: RegisteredSpace()
            for name in names
            if _fingerprint(name) in registered
        }

    async def write(self, services: Services, change: Change[RegisteredSpace]) -> None:
        """Register it, with its vector index."""
        if change.desired is not None and change.desired.spec is not None:
            with database_errors_translated():
                register(services.connection, change.desired.spec)


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
