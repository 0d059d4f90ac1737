"""A reader whose caller is gone: its query is cancelled, so that it holds no connection that others wait for."""

import logging
import threading
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

import psycopg

from corpus.database import Connection
from corpus.disclosure.error_text import public_text
from corpus.errors import DependencyError

logger = logging.getLogger(__name__)

_GONE = "the caller does not wait for the answer any more"
_CANCEL_SECONDS = 5.0  # a server that does not take the request ends the query itself


class Cancellation:
    """Cancels the query of one call, from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._cancelled = False

    @contextmanager
    def covering(self, connection: Connection) -> Generator[None]:
        """Let `cancel` end what runs on this connection inside the block, and nothing after it.

        Raises:
            DependencyError: the call was cancelled before.
        """
        with self._lock:
            if self._cancelled:
                raise DependencyError(_GONE)
            self._connection = connection
        try:
            yield
        finally:
            with self._lock:  # a request to cancel that is under way is for this query
                self._connection = None

    def require_caller(self) -> None:
        """Do not go on for nobody.

        Raises:
            DependencyError: the call was cancelled.
        """
        with self._lock:
            if self._cancelled:
                raise DependencyError(_GONE)

    def cancel(self) -> None:
        """End the query that runs, and refuse one that has not begun. Blocks for at most a few seconds."""
        with self._lock:
            self._cancelled = True
            if self._connection is None:
                return
            try:
                self._connection.cancel_safe(timeout=_CANCEL_SECONDS)
            except psycopg.Error as error:
                context = {
                    "action": "search_not_cancelled",
                    "error": public_text(error),
                }
                logger.warning("a search could not be cancelled", extra=context)


# Of the call that this thread works on; a call that cannot be cancelled has none.
CURRENT: ContextVar[Cancellation | None] = ContextVar("cancellation", default=None)


@contextmanager
def cancellable(connection: Connection) -> Generator[None]:
    """Let the caller of the present call cancel what runs on this connection inside the block."""
    cancellation = CURRENT.get()
    if cancellation is None:
        yield
        return
    with cancellation.covering(connection):
        yield


def require_caller() -> None:
    """Do not go on with the present call for nobody.

    Raises:
        DependencyError: it was cancelled.
    """
    cancellation = CURRENT.get()
    if cancellation is not None:
        cancellation.require_caller()
