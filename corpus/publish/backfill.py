"""Parts of a backfill: no position moves, and what is published is recognised by its row."""

from collections.abc import Sequence
from typing import Any

from psycopg.rows import scalar_row

from corpus.batch import BatchRef
from corpus.publish.transaction import PublishTransaction

_NAMES = ("backfill", "topic", "partition", "first_offset", "next_offset")


def is_published(transaction: PublishTransaction, refs: Sequence[BatchRef]) -> bool:
    """Whether all of these parts are published."""
    published = [
        transaction.fetch_first(scalar_row, "part_is_published", **_values(ref))
        for ref in refs
    ]
    return all(published)


def record_parts(transaction: PublishTransaction, refs: Sequence[BatchRef]) -> None:
    """Write that the parts are published with this batch, and that their dead letters are mended."""
    for ref in refs:
        transaction.execute("backfill_published", **_values(ref))
    transaction.execute("mended_dead_letters")


def _values(ref: BatchRef) -> dict[str, Any]:
    return {name: getattr(ref, name) for name in _NAMES}
