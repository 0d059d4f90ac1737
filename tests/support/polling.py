"""Wait for what should come: the one way in which tests wait."""

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

INTERVAL_SECONDS = 0.05  # between two looks


def wait_until(condition: Callable[[], Any], seconds: float = 30.0, what: str = "") -> Any:
    """Ask again until the condition gives something true; return that.

    Raises:
        AssertionError: it did not within `seconds`; the message names the last answer.
    """
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, _missed(condition, seconds, what, answer)
        time.sleep(INTERVAL_SECONDS)
    return answer


async def until(condition: Callable[[], Any], *, seconds: float = 30.0, what: str = "") -> Any:
    """As `wait_until`, beside an event loop: the condition runs in a thread, and may return an awaitable."""
    deadline = time.monotonic() + seconds
    while True:
        answer = await asyncio.to_thread(condition)
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        assert time.monotonic() < deadline, _missed(condition, seconds, what, answer)
        await asyncio.sleep(INTERVAL_SECONDS)


def _missed(condition: Callable[[], Any], seconds: float, what: str, answer: Any) -> str:
    name = what or getattr(condition, "__qualname__", repr(condition))
    return f"{name}: not within {seconds} s; the last answer was {answer!r}"
