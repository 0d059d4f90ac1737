"""The transaction that publishes one batch: the parameters of its queries, and the locks that it begins with."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import BaseRowFactory, class_row, scalar_row

from corpus.batch import BatchInput, PublishRequest
from corpus.errors import ConfigurationError, StalePreparationError
from corpus.sessions.rows import Connection, Row, fetch_all, fetch_one
from corpus.source import SourceSpec
from corpus.sql import query


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedSource:
    """The source's row (query `lock_source`)."""

    published_at: datetime  # the instant of this batch, later than that of every other batch of the source
    epoch: int
    spec: dict[str, Any]
    last_batch: int  # number of the newest published batch
    highest_version: int | None  # accepted so far; -1: none; None: not kept yet


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishTransaction:
    """An open transaction that holds the source's locks."""

    connection: Connection
    request: PublishRequest
    spec: SourceSpec
    source: LockedSource
    space_id: int | None  # of the batch's space, in this transaction

    @property
    def batch(self) -> BatchInput:
        """The batch that is published."""
        return self.request.batch

    @property
    def published_at(self) -> datetime:
        """The instant at which the batch becomes visible."""
        return self.source.published_at

    def execute(self, name: str, **values: Any) -> int:
        """Execute a named query; returns the number of rows that it changed."""
        return self.connection.execute(query(name), self._parameters(values)).rowcount

    def fetch_one(self, factory: BaseRowFactory[Row], name: str, **values: Any) -> Row:
        """The only row of a named query, which always has one (an aggregate)."""
        row = fetch_one(self.connection, factory, name, self._parameters(values))
        assert row is not None, f"query {name} returned no row"
        return row

    def fetch_first(
        self, factory: BaseRowFactory[Row], name: str, **values: Any
    ) -> Row | None:
        """The first row of a named query, or None."""
        return fetch_one(self.connection, factory, name, self._parameters(values))

    def fetch_all(
        self, factory: BaseRowFactory[Row], name: str, **values: Any
    ) -> list[Row]:
        """All rows of a named query."""
        return fetch_all(self.connection, factory, name, self._parameters(values))

    def _parameters(self, values: dict[str, Any]) -> dict[str, Any]:
        """Parameters that the queries of `publish.sql` share, and those of one query."""
        prepared = self.request.prepared
        return {
            "source": self.batch.source,
            "batch": self.batch.batch,
            "published_at": self.published_at,
            "epoch": self.source.epoch,
            "expire_after": self.spec.freshness.expire_after_seconds,
            "language": self.spec.text_search_language,
            "pipeline": "" if prepared is None else prepared.pipeline,
            "space_id": self.space_id,
            "own_first": self.spec.own_first,
            "again": any(ref.backfill for ref in self.batch.refs),
            "highest_version": None if prepared is None else prepared.highest_accepted,
            **values,
        }


def begin(connection: Connection, request: PublishRequest) -> PublishTransaction:
    """Lock the source inside an open transaction, and take the batch's instant.

    Raises:
        ConfigurationError: the source is not in the database.
    """
    values = {"source": request.batch.source}
    connection.execute(query("lock_publishing"), values)
    source = fetch_one(connection, class_row(LockedSource), "lock_source", values)
    if source is None:
        raise ConfigurationError(
            f"source {request.batch.source!r} is not in the database; run `freshet apply`"
        )
    return PublishTransaction(
        connection=connection,
        request=request,
        spec=SourceSpec.from_json(source.spec),
        source=source,
        space_id=_space_of(connection, request),
    )


def _space_of(connection: Connection, request: PublishRequest) -> int | None:
    if request.prepared is None:
        return None
    values = {"fingerprint": request.prepared.space_fingerprint}
    return fetch_one(connection, scalar_row, "space_by_fingerprint", values)


def check_space(transaction: PublishTransaction) -> None:
    """Check that the batch's space has the id that it was prepared with.

    It has another one, or none, where the database was restored meanwhile: the rows that the preparation compared with
    may be gone.

    Raises:
        StalePreparationError: it has not.
    """
    prepared = transaction.request.prepared
    if prepared is None:
        return
    if transaction.space_id != prepared.space_id:
        raise StalePreparationError(
            f"embedding space {prepared.space_fingerprint} has id {transaction.space_id}, "
            f"the batch was prepared with {prepared.space_id}; prepare again"
        )
