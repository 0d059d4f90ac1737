"""One `freshet apply` at a time: another one waits, names the one that runs, and gives up after a while."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from corpus.database import (
    Connection,
    SessionLimits,
    connect,
    database_errors_translated,
)
from corpus.disclosure.secret import Secret
from corpus.sessions.advisory_lock import take_lock

OnWait = Callable[[str], None]

_APPLY_LOCK = 0x6672_6573_6861_6C6C  # "freshall": one `apply` at a time, as a whole
WAIT_SECONDS = 60
# The lock is a transaction that waits while the plan is carried out. A frozen `apply` loses it after this time; one
# that works says so in between: with thousands of sources it takes longer.
_LIMITS = SessionLimits(idle=600)
_KEEP_SECONDS = 60.0


@asynccontextmanager
async def alone(url: str | Secret, on_wait: OnWait) -> AsyncGenerator[None]:
    """Hold the lock while the body runs.

    Args:
        url: of the database.
        on_wait: called once with who holds the lock, where another `apply` does.

    Raises:
        LockWaitError: the other one still runs after `WAIT_SECONDS`.
        DependencyError: PostgreSQL does not answer.
    """
    with (
        connect(
            url, application="freshet-apply-lock", autocommit=False, limits=_LIMITS
        ) as connection,
        database_errors_translated(),
    ):
        await asyncio.to_thread(
            take_lock,
            connection,
            _APPLY_LOCK,
            wanted="`freshet apply`",
            seconds=WAIT_SECONDS,
            notify=on_wait,
        )
        keeping = asyncio.create_task(_keep(connection))
        try:
            yield
        finally:
            keeping.cancel()
            # Where the session was lost, what ends it says so.
            await asyncio.gather(keeping, return_exceptions=True)


async def _keep(connection: Connection) -> None:
    """Let the session be idle for no longer than it may be, until cancelled."""
    while True:
        await asyncio.sleep(_KEEP_SECONDS)
        await asyncio.to_thread(connection.execute, "SELECT")
