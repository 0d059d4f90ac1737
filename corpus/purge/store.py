"""Purges in the database: what one may remove, what it removed, and how sources stand."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row, dict_row, scalar_row

from corpus.database import Connection, fetch_all, fetch_one
from corpus.errors import ConfigurationError, DependencyError
from corpus.purge.purge import (
    OVERDUE_INTERVALS,
    PurgeCursor,
    PurgeFailure,
    PurgeResult,
)
from corpus.sql import query

# Newest purges of a source that are kept.
KEPT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgePage:
    """What a page did (the queries `purge_...`)."""

    looked_at: int  # rows
    after: str  # last key, where pages follow keys
    removed: dict[str, int]  # by kind


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgePlan:
    """What a purge that begins now removes (query `plan_purge`)."""

    source: str
    history_from: datetime | None  # the horizon; None: all history is kept
    held_by: str | None  # a subscriber that was not notified of everything yet
    removed: dict[str, int]  # by kind
    held: dict[str, int]  # what waits for that subscriber


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeSummary:
    """A purge (query `list_purges`)."""

    purge: int
    source: str
    state: str
    phase: str
    started_at: datetime
    finished_at: datetime | None
    seconds: float
    history_from: datetime | None
    removed: dict[str, int]
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A source by its purges (query `purge_standing`)."""

    source: str
    history_from: datetime | None
    removed: dict[str, int]  # by kind, by all purges
    purge: int | None  # the newest with a result; None: there was none
    finished_at: float  # epoch seconds; 0: never
    history_from_epoch: float  # 0: all history is kept
    is_overdue: bool  # by the source's interval

    def __str__(self) -> str:
        if self.purge is None:
            return "never"
        late = ", overdue" if self.is_overdue else ""
        return f"purge {self.purge}: {described(self.removed)} in all{late}"


def described(removed: Mapping[str, int]) -> str:
    """What was removed, in words."""
    counts = [f"{kind} {n:,}" for kind, n in sorted(removed.items()) if n]
    return ", ".join(counts) or "nothing"


def begin(connection: Connection, cursor: PurgeCursor) -> int:
    """The number of the purge that a run begins, or has begun. The horizon moves when this is committed.

    Raises:
        ConfigurationError: there is no such source.
        DependencyError: an index that it needs is not built yet.
    """
    _require_indexes(connection)
    source = cursor.order.source
    values = {
        "source": source,
        "workflow_id": cursor.workflow_id,
        "run_id": cursor.run_id,
    }
    number = fetch_one(connection, scalar_row, "begin_purge", values)
    if number is None:
        raise ConfigurationError(
            f"there is no source {source!r}; `freshet sources` lists them"
        )
    values = {"source": source, "purge": number, "kept": KEPT}
    connection.execute(query("end_stale_purges"), values)
    connection.execute(query("forget_old_purges"), values)
    horizon = fetch_one(connection, scalar_row, "move_horizon", values)
    values["history_from"] = horizon
    connection.execute(query("note_horizon"), values)
    return int(number)


def _require_indexes(connection: Connection) -> None:
    for row in fetch_all(connection, dict_row, "chunk_indexes"):
        if row["state"] != "built":
            raise DependencyError(
                f"index freshet.{row['name']} is {row['state']}; a storer or `freshet migrate` builds it, and the "
                "purge begins then"
            )


def bounds(connection: Connection, source: str) -> dict[str, Any]:
    """Up to which instants pages remove; parameters of their queries."""
    row = fetch_one(connection, dict_row, "purge_bounds", {"source": source})
    if row is None:
        raise ConfigurationError(f"there is no source {source!r} any more")
    return row


def note(connection: Connection, cursor: PurgeCursor, removed: dict[str, int]) -> None:
    """Count what a page removed, in its transaction."""
    values = {
        "source": cursor.order.source,
        "purge": cursor.purge,
        "phase": str(cursor.phase),
        "removed": json.dumps(removed),
    }
    connection.execute(query("note_purged"), values)


def finish(connection: Connection, cursor: PurgeCursor) -> PurgeResult:
    """Write the result.

    Raises:
        ConfigurationError: the purge's row was removed.
    """
    values = {"purge": cursor.purge}
    result = fetch_one(connection, class_row(PurgeResult), "finish_purge", values)
    if result is None:
        raise ConfigurationError(f"there is no purge {cursor.purge} any more")
    return result


def fail(connection: Connection, failure: PurgeFailure) -> None:
    """A purge ended without a result."""
    values = {
        "purge": failure.purge,
        "run_id": failure.run_id,
        "error": failure.error,
    }
    connection.execute(query("fail_purge"), values)


def plan(connection: Connection, source: str) -> PurgePlan:
    """What a purge that begins now removes; changes nothing.

    Raises:
        ConfigurationError: there is no such source.
    """
    values = {"source": source}
    planned = fetch_one(connection, class_row(PurgePlan), "plan_purge", values)
    if planned is None:
        raise ConfigurationError(
            f"there is no source {source!r}; `freshet sources` lists them"
        )
    return planned


def purges(
    connection: Connection,
    *,
    source: str | None = None,
    purge: int | None = None,
    limit: int = 20,
) -> list[PurgeSummary]:
    """The newest purges."""
    values = {"source": source, "purge": purge, "limit": limit}
    return fetch_all(connection, class_row(PurgeSummary), "list_purges", values)


def standings(connection: Connection, source: str | None = None) -> list[Standing]:
    """Every source, or one."""
    values = {"source": source, "intervals": OVERDUE_INTERVALS}
    return fetch_all(connection, class_row(Standing), "purge_standing", values)
