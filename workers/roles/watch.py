"""Background tasks of a process: the end of one ends the process, visibly."""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from typing import Any

logger = logging.getLogger(__name__)


class TaskEndedError(RuntimeError):
    """A task that runs as long as its process has ended without an error."""


async def until_left(
    leaving: asyncio.Event, tasks: Mapping[str, Coroutine[Any, Any, None]]
) -> None:
    """Run tasks until `leaving` is set, then cancel them.

    Args:
        leaving: set when the process is asked to end.
        tasks: by name; each runs until it is cancelled.

    Raises:
        TaskEndedError: one ended before, or was cancelled.
        Exception: what ended one.
    """
    running = [asyncio.create_task(work, name=name) for name, work in tasks.items()]
    left = asyncio.create_task(leaving.wait())
    try:
        await asyncio.wait([left, *running], return_when=asyncio.FIRST_COMPLETED)
        for task in running:
            if task.done():
                raise end_of(task)
    finally:
        for task in (left, *running):
            task.cancel()
        await asyncio.gather(left, *running, return_exceptions=True)


def end_of(task: "asyncio.Task[Any]") -> BaseException:
    """The error to raise for a task that ended though its process still needs it; the log has a line about it."""
    name = task.get_name()
    error: BaseException | None = None
    if not task.cancelled():
        error = task.exception()
    logger.error(
        "task %s ended, and the process with it",
        name,
        exc_info=error,
        extra={"action": "task_ended", "task": name},
    )
    return error or TaskEndedError(f"task {name} ended; start the process again")


async def in_daemon_thread(work: Callable[[], None], name: str) -> None:
    """Run something in a thread that does not keep the process from ending; then wait until this is cancelled.

    Raises:
        Exception: what `work` raised.
    """
    done: Future[None] = Future()

    def run() -> None:
        try:
            work()
        except BaseException as error:
            done.set_exception(error)
        else:
            done.set_result(None)

    threading.Thread(target=run, name=name, daemon=True).start()
    await asyncio.wrap_future(done)
    await asyncio.Event().wait()
