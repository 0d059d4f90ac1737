"""What several commands look up, so that a wrong name is an error and not an empty answer."""

from typing import TYPE_CHECKING, Any

from psycopg.rows import dict_row

from corpus.database import Connection, connect, database_errors_translated
from corpus.sql import query
from workers.cli.console import CommandError

if TYPE_CHECKING:
    from workers.config.settings import Settings


def require_source(connection: Connection, source: str | None) -> None:
    """Refuse a source that was never configured; None is every source.

    Raises:
        CommandError: there is none of that name.
        DependencyError: PostgreSQL does not answer.
    """
    if source is None:
        return
    with database_errors_translated():
        row = connection.execute(query("source_spec"), {"source": source}).fetchone()
    if row is None:
        raise CommandError(
            f"there is no source {source!r}; `freshet sources` lists them"
        )


def query_rows(
    name: str, values: dict[str, Any], *, source: str | None = None
) -> list[dict[str, Any]]:
    """The rows of a query.

    Args:
        name: of the query.
        values: its parameters.
        source: must exist if it is named.

    Raises:
        ConfigurationError: there is no address of PostgreSQL.
        CommandError: there is no such source.
        DependencyError: PostgreSQL does not answer.
    """
    from workers.config.settings import load

    settings = load()
    with (
        database_errors_translated(),
        connect(settings.database_url) as connection,
        connection.cursor(row_factory=dict_row) as cursor,
    ):
        require_source(connection, source)
        cursor.execute(query(name), values)
        return cursor.fetchall()


def source_rows(settings: "Settings") -> list[dict[str, Any]]:
    """Every source with its state, its condition, its sums, its lag and its backfill; see `ingest.overview`.

    Raises:
        DependencyError: PostgreSQL does not answer.
    """
    from ingest.kafka import Cluster
    from ingest.overview import overview
    from workers.backfilling import add_backfills
    from workers.conditions import explain

    cluster = Cluster(settings.kafka_bootstrap, settings.kafka_properties)
    with (
        connect(settings.database_url, application="freshet-sources") as connection,
        database_errors_translated(),
    ):
        rows = overview(connection, cluster)
        add_backfills(connection, rows)
    explain(settings, rows)
    return rows
