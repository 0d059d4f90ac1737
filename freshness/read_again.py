"""Have the records read again whose documents have changed at their origin: a backfill of those records."""

from psycopg.rows import scalar_row

from corpus.database import Connection, fetch_all
from corpus.errors import ConfigurationError
from corpus.sql import query
from freshness.revalidate import MAX_READ_AGAIN
from freshness.revalidation import ReadAgain
from ingest.backfill import plan as backfill
from ingest.kafka import Cluster

_MAX_DOCUMENTS = 5_000


def order(connection: Connection, source: str, *, cluster: Cluster) -> ReadAgain:
    """Order a backfill of the records of all documents that have changed.

    What was ordered before and has not ended is returned again: its workflow may not have been started. A document
    whose record is not found in as many checks as others are read again is lost: it is withdrawn as due. A backfill
    that was cancelled or has failed does not count, and is ordered again.

    Args:
        connection: to PostgreSQL.
        source: whose documents.
        cluster: that has the records.

    Raises:
        DependencyError: Kafka or PostgreSQL does not answer.
    """
    values = {"source": source, "limit": _MAX_DOCUMENTS}
    under_way = fetch_all(connection, scalar_row, "reading_again", values)
    if under_way:
        return ReadAgain(backfills=tuple(under_way))
    changed = fetch_all(connection, scalar_row, "changed_at_origin", values)
    if not changed:
        return ReadAgain()
    try:
        return _begin(connection, source, changed, cluster)
    except ConfigurationError as error:
        return ReadAgain(waits_for=f"documents that changed wait: {error}")


def _begin(
    connection: Connection, source: str, changed: list[str], cluster: Cluster
) -> ReadAgain:
    plan = backfill.plan_documents(connection, cluster, source, changed, rate=0)
    numbers: list[int] = []
    with connection.transaction():
        if plan.records:
            number = backfill.begin(connection, plan)
            numbers.append(number)
        values = {
            "source": source,
            "document_ids": changed,
            "backfill": next(iter(numbers), None),
            "lost": list(plan.unknown),
            "most_read": MAX_READ_AGAIN,
        }
        connection.execute(query("note_read_again"), values)
    return ReadAgain(backfills=tuple(numbers))
