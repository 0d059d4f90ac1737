"""Builds the vector indexes of new embedding spaces, beside the work of a storer."""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from corpus.disclosure.secret import Secret
from corpus.embed.space_indexes import build_missing
from corpus.errors import FreshetError
from corpus.log_limit import LogLimit

logger = logging.getLogger(__name__)
logger.addFilter(LogLimit())

_LOOK_SECONDS = 10.0
Result = TypeVar("Result")


async def keep_indexes_built(url: str | Secret) -> None:
    """Build what is missing, look again, until cancelled. A failed build is logged, and tried again."""
    while True:
        try:
            await in_daemon_thread(lambda: build_missing(url))
        except FreshetError as error:
            context = {"action": "index_not_built", "error": str(error)}
            logger.warning("a vector index could not be built", extra=context)
        await asyncio.sleep(_LOOK_SECONDS)


async def in_daemon_thread(function: Callable[[], Result]) -> Result:
    """Run a function for which the end of the process does not wait: the server completes the build by itself."""
    future: Future[Result] = Future()

    def run() -> None:
        future.set_running_or_notify_cancel()
        try:
            result = function()
        except BaseException as error:  # it is raised where it is awaited
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, name="space-indexes", daemon=True).start()
    return await asyncio.wrap_future(future)
