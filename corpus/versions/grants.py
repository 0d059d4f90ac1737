"""Grants: which upsert of a version says who may read its document, the one that was written last.

Within a log, offsets say what was written last: a clock may step back. Between logs, record versions do. As a log goes
on, its time does not go back: a later record counts as no older than those before it. So per log its last upsert
counts, with the greatest record version of all its upserts, and of the logs the one that has the greatest.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Grant(NamedTuple):
    """The upserts of one log."""

    offset: int  # of the last one
    record_version: int  # the greatest of them
    row: int  # of the last one, in the batch's table of events


# By log, as marks are (`corpus.versions.marks`). A head has access lists in place of rows.
Grants = Mapping[str, Grant]


def with_grant(grants: Grants, log: str, grant: Grant) -> dict[str, Grant]:
    """With the upsert of a log (`freshet.latest_grants`)."""
    merged = dict(grants)
    known = merged.get(log, grant)
    last = grant if _place(log, grant) >= _place(log, known) else known
    record_version = max(known.record_version, grant.record_version)
    merged[log] = last._replace(record_version=record_version)
    return merged


def granting_row(grants: Grants) -> int:
    """The row that says who may read (`freshet.granted_acl`); there is one."""
    newest = max(grants, key=lambda log: (grants[log].record_version, log))
    return grants[newest].row


def _place(log: str, grant: Grant) -> tuple[int, int]:
    """What orders the records of a log; redriven ones have no order but their times."""
    is_redriven = log.endswith("/")
    return (grant.record_version if is_redriven else 0, grant.offset)
