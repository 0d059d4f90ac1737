"""What several commands look up first, so that a wrong name is an error and not an empty answer."""

from corpus.database import Connection, database_errors_translated
from corpus.sql import query
from workers.cli.console import CommandError


def require_source(connection: Connection, source: str | None) -> None:
    """Refuse a source that was never configured; None is every source.

    Raises:
        CommandError: there is none of that name.
        DependencyError: PostgreSQL does not answer.
    """
    if source is None:
        return
    with database_errors_translated():
        found = connection.execute(query("source_spec"), {"source": source}).fetchone()
    if found is None:
        raise CommandError(f"there is no source {source!r}; `freshet sources` lists them")
