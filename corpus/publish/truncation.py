"""Carry out the truncation of a table: deletes for every document that came of it, judged as all deletes are."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import polars as pl
from psycopg.rows import class_row

from corpus.errors import ConfigurationError
from corpus.publish.transaction import PublishTransaction
from corpus.versions.truncation import DELETES

# The planner takes temporary tables for small; above this many rows, real figures are worth an ANALYZE.
_ANALYZE_ROWS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """A row of the query `truncations_in_batch`."""

    topic: str
    partition: int
    record_offset: int
    topic_id: str | None  # None: the decision is gone
    own_version: int | None
    record_version: int | None


def add_deletes(
    transaction: PublishTransaction, events: pl.DataFrame
) -> Sequence[Confirmed]:
    """Add deletes for the documents of truncated tables to what the batch says, before it is judged.

    Raises:
        ConfigurationError: the decision is not in the database, which is older than the batch. Nothing was deleted; the
            consumer reads the record again, and asks.
    """
    if not (events["reason"] == DELETES).any():
        return ()
    confirmed = transaction.fetch_all(
        class_row(Confirmed), "truncations_in_batch", rule=DELETES
    )
    added = 0
    for one in confirmed:
        if one.topic_id is None:
            raise ConfigurationError(
                f"nobody decided about the truncated table at {one.topic}/{one.partition}@{one.record_offset}: the "
                "database is older than this batch"
            )
        added += transaction.execute("truncate_documents", **asdict(one))
    if added > _ANALYZE_ROWS:
        transaction.execute("analyze_incoming")
    return confirmed


def note_deletes(
    transaction: PublishTransaction, confirmed: Sequence[Confirmed]
) -> None:
    """Keep how many documents each truncation deleted."""
    for one in confirmed:
        transaction.execute("truncation_applied", **asdict(one))
