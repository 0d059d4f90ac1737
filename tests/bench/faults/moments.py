"""The moment at which a role is hit: its transactions last milliseconds, and chance alone rarely meets one."""

import os
import signal
import time

from psycopg.rows import scalar_row

from corpus.database import Connection
from tests.bench.stack import Stack

WAIT_SECONDS = 8.0
_STATEMENT_SECONDS = 2
_POLL_SECONDS = 0.001


class Moments:
    """Sees, directly at PostgreSQL, whether a role has a transaction open that has written something."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def wait(self, role: str, *, stop: int | None = None) -> bool:
        """Wait until it has, for a few seconds; False where it has not, or PostgreSQL is away.

        Args:
            role: whose transaction.
            stop: process that is stopped (SIGSTOP) within the transaction; it sleeps where the result is True.
        """
        deadline = time.monotonic() + WAIT_SECONDS
        try:
            with self._connect() as connection:
                while time.monotonic() < deadline:
                    if _writes(connection, role) and (
                        stop is None or _stop_within(connection, role, stop)
                    ):
                        return True
                    time.sleep(_POLL_SECONDS)
        except Exception:  # a server that is down or frozen is a fault of the same burst
            return False
        return False

    def _connect(self) -> Connection:
        connection = self._stack.connect()
        connection.execute(f"SET statement_timeout = '{_STATEMENT_SECONDS}s'".encode())
        return connection


def _writes(connection: Connection, role: str) -> bool:
    with connection.cursor(row_factory=scalar_row) as cursor:
        return bool(cursor.execute(_WRITES, {"application": f"freshet-{role}@%"}).fetchone())


def _stop_within(connection: Connection, role: str, pid: int) -> bool:
    """Stop a process; where its transaction ended a moment before, it goes on."""
    os.kill(pid, signal.SIGSTOP)
    within = False
    try:
        within = _writes(connection, role)
    finally:
        if not within:
            os.kill(pid, signal.SIGCONT)
    return within


_WRITES = """
SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE %(application)s AND backend_xid IS NOT NULL)
"""
