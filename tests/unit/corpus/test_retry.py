"""Waiting for a server: again until it answers, never longer than it is needed, and never silently."""

import asyncio
import logging
import threading
from collections.abc import Callable

import pytest

from corpus import retry
from corpus.errors import ConfigurationError, DependencyError, PermanentError
from corpus.retry import NoLongerNeededError, until_answered, until_answered_in_thread
from tests.support.polling import until

LOGGER = logging.getLogger("tests.retry")


class Server:
    """Answers the attempt after `failures` failed ones."""

    def __init__(self, failures: int, error: Exception | None = None) -> None:
        self.failures = failures
        self.error = error or DependencyError("down")
        self.attempts = 0

    async def ask(self) -> str:
        return self.ask_blocking()

    def ask_blocking(self) -> str:
        self.attempts += 1
        if self.attempts <= self.failures:
            raise self.error
        return "answer"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses made, none of which takes any time."""
    made: list[float] = []

    async def sleep(seconds: float) -> None:
        made.append(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr(retry, "_sleep", sleep)
    return made


async def test_a_first_answer_takes_one_attempt_and_no_pause(
    pauses: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(0)
    assert await until_answered(server.ask, doing="asking", logger=LOGGER) == "answer"
    assert (server.attempts, pauses, caplog.records) == (1, [], [])


async def test_pauses_double_up_to_the_maximum(pauses: list[float]) -> None:
    await until_answered(Server(7).ask, doing="asking", logger=LOGGER, max_seconds=5)
    assert pauses == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 5, 5])


async def test_there_is_no_number_of_attempts_after_which_it_gives_up(pauses: list[float]) -> None:
    server = Server(3_000)  # 2 to the power of 3,000 is no float
    LOGGER.setLevel(logging.ERROR)
    try:
        assert await until_answered(server.ask, doing="asking", logger=LOGGER) == "answer"
    finally:
        LOGGER.setLevel(logging.NOTSET)
    assert len(pauses) == 3_000
    assert max(pauses) == retry.MAX_SECONDS


async def test_every_failure_is_logged_with_its_context_and_kind(
    pauses: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    await until_answered(
        Server(2).ask, doing="asking", logger=LOGGER, context={"source": "handbook"}
    )
    lines = [
        (line.getMessage(), line.levelname, vars(line)["kind"], vars(line)["attempt"])
        for line in caplog.records
    ]
    message = "asking failed, trying again: down"
    assert lines == [
        (message, "WARNING", "asking/handbook", 1),
        (message, "WARNING", "asking/handbook", 2),
    ]
    assert {vars(line)["source"] for line in caplog.records} == {"handbook"}


@pytest.mark.parametrize("error", [ValueError("a mistake"), ConfigurationError("wrong address")])
async def test_an_error_that_waiting_does_not_help_is_the_callers_at_once(
    error: Exception, pauses: list[float]
) -> None:
    server = Server(1, error)
    with pytest.raises(type(error)):
        await until_answered(server.ask, doing="asking", logger=LOGGER, retry_on=DependencyError)
    assert (server.attempts, pauses) == (1, [])


async def test_by_default_every_error_of_ours_is_waited_for(pauses: list[float]) -> None:
    server = Server(2, PermanentError("refused"))
    assert await until_answered(server.ask, doing="asking", logger=LOGGER) == "answer"


async def test_nothing_is_asked_when_the_answer_is_not_needed(pauses: list[float]) -> None:
    server = Server(0)
    with pytest.raises(NoLongerNeededError):
        await until_answered(server.ask, doing="asking", logger=LOGGER, stop=lambda: True)
    assert server.attempts == 0


def once_asked(server: Server, times: int) -> Callable[[], bool]:
    return lambda: server.attempts >= times


async def test_no_pause_follows_once_the_answer_is_not_needed(pauses: list[float]) -> None:
    server = Server(100)
    with pytest.raises(NoLongerNeededError):
        await until_answered(server.ask, doing="asking", logger=LOGGER, stop=once_asked(server, 3))
    assert (server.attempts, len(pauses)) == (3, 2)


async def test_a_stop_during_a_pause_prevents_the_next_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, stopped = Server(100), threading.Event()

    async def sleep(_: float) -> None:
        stopped.set()

    monkeypatch.setattr(retry, "_sleep", sleep)
    with pytest.raises(NoLongerNeededError):
        await until_answered(server.ask, doing="asking", logger=LOGGER, stop=stopped.is_set)
    assert server.attempts == 1


async def test_a_cancelled_wait_ends_in_its_pause() -> None:
    server = Server(100)
    waiting = asyncio.create_task(until_answered(server.ask, doing="asking", logger=LOGGER))
    await until(lambda: server.attempts)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_question_that_blocks_runs_beside_the_event_loop(pauses: list[float]) -> None:
    server, threads = Server(1), set[str]()

    def ask() -> str:
        threads.add(threading.current_thread().name)
        return server.ask_blocking()

    assert await until_answered_in_thread(ask, doing="asking", logger=LOGGER) == "answer"
    assert threading.main_thread().name not in threads


async def test_waits_of_several_callers_do_not_share_their_pauses(pauses: list[float]) -> None:
    servers = [Server(3) for _ in range(3)]
    await asyncio.gather(
        *(until_answered(server.ask, doing="asking", logger=LOGGER) for server in servers)
    )
    assert sorted(pauses) == pytest.approx(sorted([0.2, 0.4, 0.8] * 3))
