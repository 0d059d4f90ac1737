"""What blocks has threads that nothing else uses: a name server, or a disk, that is silent holds up no other work.

A call that is given up keeps its thread until it ends, so there are many of them.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

_T = TypeVar("_T")
_ROOM_SECONDS = 0.05  # between two looks for room


class Threads:
    """Threads for calls of one kind, in all batches of the process; they keep no process from ending.

    Args:
        most: at once.
    """

    def __init__(self, most: int) -> None:
        self._room = threading.Semaphore(most)

    async def run(self, call: Callable[[], _T], seconds: float | None = None) -> _T:
        """What a call returns or raises. To wait for room takes nothing off its time.

        Raises:
            TimeoutError: it does not end in time; it is left to itself.
        """
        await self._wait_for_room()
        future: Future[_T] = Future()
        future.set_running_or_notify_cancel()
        thread = threading.Thread(target=self._work, args=(future, call), daemon=True)
        thread.start()
        async with asyncio.timeout(seconds):
            return await asyncio.wrap_future(future)

    async def _wait_for_room(self) -> None:
        # Threads of other loops give it back, so no event of this one tells.
        while not self._room.acquire(blocking=False):  # noqa: ASYNC110
            await asyncio.sleep(_ROOM_SECONDS)

    def _work(self, future: Future[Any], call: Callable[[], Any]) -> None:
        try:
            result = call()
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(result)
        finally:
            self._room.release()
