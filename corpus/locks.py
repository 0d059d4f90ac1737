"""Who waits for whom in the database: a lock wait is a state with a name, and not only a delay."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row

from corpus.sessions.advisory_lock import LockHolder, describe_instant, describe_session
from corpus.sessions.rows import Connection, fetch_all
from corpus.sql import query

logger = logging.getLogger(__name__)

_LONG_COPY_SECONDS = 15.0
_STUCK_SECONDS = 3.0
_FIRST_WITH_COPY_PROGRESS = 14_00_00  # PostgreSQL 14
# Sessions wait for each other for milliseconds all the time; what takes longer is worth a line.
_WAIT_SECONDS = 1.0
# A session that does nothing in a transaction for longer than this is worth a line; a step takes milliseconds there.
_STILL_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LockWait:
    """One session that waits for another (query `lock_waits`). A session is named `freshet-storer@host:pid`."""

    source: str | None  # whose publishing it is about; None: of no source, or of all
    wanted: str  # the lock, in words
    since: datetime
    waiting: str
    waiting_pid: int  # of the session's server process
    holding: str
    holding_pid: int | None
    holding_state: str  # as PostgreSQL calls it: active, idle in transaction
    holding_since: datetime | None

    def describe(self) -> str:
        """One line for a person."""
        line = (
            f"{describe_session(self.waiting, self.waiting_pid)} waits for {self.wanted} "
            f"since {describe_instant(self.since)}"
        )
        if self.holding_pid is None:
            return line
        holder = describe_session(self.holding, self.holding_pid)
        if self.holding_since is None:
            return f"{line}; {holder} holds it"
        since = describe_instant(self.holding_since)
        return f"{line}; {holder} holds it, {self.holding_state} since {since}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StillSession:
    """A session that does nothing in an open transaction (query `still_sessions`)."""

    pid: int
    application: str
    since: datetime
    sources: list[str]  # whose publishing it holds

    def describe(self) -> str:
        """One line for a person."""
        line = (
            f"{describe_session(self.application, self.pid)} stands still in a transaction "
            f"since {describe_instant(self.since)}"
        )
        if not self.sources:
            return line
        return f"{line} and holds the publishing of {', '.join(self.sources)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingCopy:
    """A session that waits in a COPY for its client (query `waiting_copies`)."""

    pid: int
    application: str
    since: datetime
    received: int  # bytes


def lock_waits(connection: Connection) -> list[LockWait]:
    """Every wait of this database that takes long, the longest first."""
    values = {"seconds": _WAIT_SECONDS}
    return fetch_all(connection, class_row(LockWait), "lock_waits", values)


def still_sessions(connection: Connection) -> list[StillSession]:
    """Sessions that hold what they have locked and do nothing; they are closed after `SessionLimits.idle`."""
    values = {"seconds": _STILL_SECONDS}
    return fetch_all(connection, class_row(StillSession), "still_sessions", values)


def held_up(connection: Connection) -> Mapping[str, list[str]]:
    """What holds up each source, one line each; sources that nothing holds up are missing."""
    lines: dict[str, list[str]] = {}
    for wait in lock_waits(connection):
        if wait.source is not None:
            lines.setdefault(wait.source, []).append(wait.describe())
    for still in still_sessions(connection):
        for source in still.sources:
            lines.setdefault(source, []).append(still.describe())
    return lines


def publishing_holder(connection: Connection, source: str) -> str:
    """Which session publishes a source, in words."""
    values: dict[str, Any] = {"source": source}
    holders = fetch_all(
        connection, class_row(LockHolder), "publishing_sessions", values
    )
    if not holders:
        return "another session holds the source's row or its positions"
    return "; ".join(holder.describe() for holder in holders)


def end_stuck_copies(connection: Connection) -> list[int]:
    """Close sessions whose process has stopped in the middle of a COPY.

    No limit of a session ends those: PostgreSQL heeds neither a timeout nor a cancellation while it waits for rows of a
    COPY. A session is stuck if the COPY takes long and nothing arrives for some seconds.

    Returns:
        Process ids of the sessions that were closed.
    """
    if connection.info.server_version < _FIRST_WITH_COPY_PROGRESS:
        return []
    before = _waiting_copies(connection)
    if not before:
        return []
    time.sleep(_STUCK_SECONDS)
    after = _waiting_copies(connection)
    stuck = [copy for copy in after if copy in before]
    for copy in stuck:
        context = {
            "action": "stuck_session_ended",
            "session": describe_session(copy.application, copy.pid),
            "since": describe_instant(copy.since),
        }
        logger.warning("a session that stands still in a COPY is closed", extra=context)
        connection.execute(query("end_session"), {"pid": copy.pid})
    return [copy.pid for copy in stuck]


def _waiting_copies(connection: Connection) -> list[WaitingCopy]:
    values = {"seconds": _LONG_COPY_SECONDS}
    return fetch_all(connection, class_row(WaitingCopy), "waiting_copies", values)
