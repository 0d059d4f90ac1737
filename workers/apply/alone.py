"""One `freshet apply` at a time: another one waits, says for whom, and gives up after a while."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from psycopg.rows import scalar_row

from corpus.database import (
    Connection,
    SessionLimits,
    connect,
    database_errors_translated,
    fetch_one,
)
from corpus.errors import LockWaitError
from corpus.locks import lock_holder

OnWait = Callable[[str], None]

_APPLY_LOCK = 0x6672_6573_6861_6C6C  # "freshall": one `apply` at a time, as a whole
WAIT_SECONDS = 60.0
_LOOK_SECONDS = 0.5
# The lock is a transaction that waits while the plan is carried out. A frozen `apply` loses it after this time.
_LIMITS = SessionLimits(idle=600)


@asynccontextmanager
async def alone(url: str, on_wait: OnWait) -> AsyncGenerator[None]:
    """Hold the lock; it is one of a transaction, so that it also ends behind a pooler of connections.

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
        await _acquire(connection, on_wait)
        yield


async def _acquire(connection: Connection, on_wait: OnWait) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + WAIT_SECONDS
    key = {"key": _APPLY_LOCK}
    is_shown = False
    while not fetch_one(connection, scalar_row, "try_lock_apply", key):
        holder = lock_holder(connection, _APPLY_LOCK)
        if loop.time() >= deadline:
            raise LockWaitError(
                f"another `freshet apply` still runs after {WAIT_SECONDS:.0f} s: {holder}. Run this one again when "
                "it has ended; if its process stands still, end it"
            )
        if not is_shown:
            on_wait(
                f"another `freshet apply` runs: {holder}. Waiting for it, at most {WAIT_SECONDS:.0f} s"
            )
            is_shown = True
        await asyncio.sleep(_LOOK_SECONDS)
