"""A lock that one process at a time holds: taken within a bound, and the message says which session holds it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import class_row, scalar_row

from corpus.errors import LockWaitError
from corpus.sessions.rows import Connection, fetch_all, fetch_one
from corpus.sql import query

logger = logging.getLogger(__name__)

LOCK_WAIT_SECONDS = 30
# The queries that take a lock at once, or wait for it.
_OF_TRANSACTION = ("try_lock_transaction", "wait_to_lock_transaction")
_OF_SESSION = ("try_lock_session", "wait_to_lock_session")


@dataclass(frozen=True, slots=True, kw_only=True)
class LockHolder:
    """A session that holds a lock. Its state is hidden from a user without the rights of `pg_read_all_stats`."""

    pid: int  # of the session's server process
    application: str
    state: str | None  # as PostgreSQL calls it: active, idle, idle in transaction
    since: datetime | None  # of the state

    def describe(self) -> str:
        """One line for a person."""
        session = describe_session(self.application, self.pid)
        if self.state is None or self.since is None:
            return (
                f"{session} holds it; what it does is hidden from this user "
                "(`GRANT pg_read_all_stats` shows it)"
            )
        return f"{session} holds it, {self.state} since {describe_instant(self.since)}"


def take_lock(
    connection: Connection,
    key: int,
    *,
    wanted: str,
    seconds: int = LOCK_WAIT_SECONDS,
    whole_session: bool = False,
    notify: Callable[[str], None] | None = None,
) -> None:
    """Take an advisory lock, and hold it until the transaction ends.

    Args:
        connection: in a transaction, unless `whole_session`.
        key: of the lock.
        wanted: the lock in words, as query `lock_waits` has them.
        seconds: how long to wait for it.
        whole_session: hold the lock until the session ends.
        notify: called once with a line that names the holder, if the lock is not free.

    Raises:
        LockWaitError: another session held it all the time; the message names the session.
    """
    at_once, wait = _OF_SESSION if whole_session else _OF_TRANSACTION
    values = {"key": key}
    if fetch_one(connection, scalar_row, at_once, values):
        return
    line = f"waits at most {seconds} s for the lock of {wanted}; {_holders(connection, key)}"
    logger.info("a lock is waited for", extra={"action": "lock_wait", "lock": wanted})
    if notify is not None:
        notify(line)
    try:
        # A savepoint where a transaction is under way: it stays usable when the lock is not taken.
        with connection.transaction():
            before = fetch_one(connection, scalar_row, "lock_wait_limit")
            connection.execute(query("limit_lock_waits"), {"limit": f"{seconds}s"})
            connection.execute(query(wait), values)
            connection.execute(query("limit_lock_waits"), {"limit": before})
    except psycopg.errors.LockNotAvailable as error:
        raise LockWaitError(
            f"the lock of {wanted} was not free within {seconds} s: {_holders(connection, key)}. Wait until that "
            "process has ended; if there is none of that name any more, end its session with "
            "`SELECT pg_terminate_backend(PID)`, then try again."
        ) from error


def _holders(connection: Connection, key: int) -> str:
    holders = fetch_all(connection, class_row(LockHolder), "lock_holders", {"key": key})
    lines = [holder.describe() for holder in holders]
    return "; ".join(lines) or "another session held it until now"


def describe_session(application: str, pid: int) -> str:
    """A session in words; Freshet's are named `freshet-storer@host:pid`."""
    return f"{application or 'a session without a name'} (server process {pid})"


def describe_instant(instant: datetime) -> str:
    """An instant to the second."""
    return f"{instant:%Y-%m-%d %H:%M:%S}Z"
