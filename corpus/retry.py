"""Wait for a server: ask it again, with growing pauses, until it answers.

This is for processes that have nothing better to do than to wait, such as the consumer. Retries inside an activity are
Temporal's, and workflows must not import this module.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    wait_exponential,
)

from corpus.errors import FreshetError

FIRST_SECONDS = 0.2
MAX_SECONDS = 5.0

Answer = TypeVar("Answer")


class NoLongerNeededError(Exception):
    """The caller's `stop` became true before the server answered."""


def _never() -> bool:
    return False


async def until_answered(
    ask: Callable[[], Awaitable[Answer]],
    *,
    doing: str,
    logger: logging.Logger,
    stop: Callable[[], bool] = _never,
    retry_on: type[FreshetError] = FreshetError,
    max_seconds: float = MAX_SECONDS,
    context: Mapping[str, object] | None = None,
) -> Answer:
    """Call `ask` until it returns, and return its answer.

    Every failure is logged as a warning of the kind `doing`. Give the logger a `corpus.log_limit.LogLimit`, or a server
    that is down for a night fills the log.

    Args:
        ask: one attempt.
        doing: what the attempt does, for the log, such as "reading positions".
        logger: gets one line per failed attempt.
        stop: whether the answer is no longer needed; checked before and after every attempt.
        retry_on: the errors after which `ask` is called again; any other error is the caller's.
        max_seconds: longest pause between two attempts; the first pause is `FIRST_SECONDS`, and each one doubles.
        context: further fields of the log line.

    Raises:
        NoLongerNeededError: `stop` became true.
    """

    async def attempt() -> Answer:
        if stop():
            raise NoLongerNeededError(doing)
        return await ask()

    def is_stopped(_: RetryCallState) -> bool:
        return stop()

    def give_up(_: RetryCallState) -> Answer:
        raise NoLongerNeededError(doing)

    def log_failure(state: RetryCallState) -> None:
        fields = {
            "action": "retry",
            "kind": "/".join([doing, *map(str, (context or {}).values())]),
            "attempt": state.attempt_number,
            **(context or {}),
        }
        logger.warning(
            "%s failed, trying again: %s", doing, _error_of(state), extra=fields
        )

    retrying = AsyncRetrying(
        retry=retry_if_exception_type(retry_on),
        wait=wait_exponential(multiplier=FIRST_SECONDS, max=max_seconds),
        stop=is_stopped,
        retry_error_callback=give_up,
        before_sleep=log_failure,
        sleep=_sleep,
    )
    return await retrying(attempt)


async def until_answered_in_thread(
    ask: Callable[[], Answer],
    *,
    doing: str,
    logger: logging.Logger,
    stop: Callable[[], bool] = _never,
    retry_on: type[FreshetError] = FreshetError,
    max_seconds: float = MAX_SECONDS,
    context: Mapping[str, object] | None = None,
) -> Answer:
    """As `until_answered`, for an `ask` that blocks: each attempt runs in a thread of the event loop's executor."""
    return await until_answered(
        lambda: asyncio.to_thread(ask),
        doing=doing,
        logger=logger,
        stop=stop,
        retry_on=retry_on,
        max_seconds=max_seconds,
        context=context,
    )


def _error_of(state: RetryCallState) -> BaseException | None:
    return None if state.outcome is None else state.outcome.exception()


async def _sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)
