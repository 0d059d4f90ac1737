"""The event loop's side without servers: what is waited for, what is given up, what ends the process."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from corpus import retry
from corpus.batch import BatchRef
from corpus.errors import DependencyError, PermanentError
from corpus.source import SourceSpec
from ingest.consume import consumer as consumer_module
from ingest.consume.consumer import SourceConsumer
from ingest.consume.partition_state import MicroBatch, PartitionReader
from ingest.consume.progress import Standing
from ingest.consume.silence import Silent
from ingest.kafka import PartitionKey
from ingest.source_state import SourceState
from tests.support.orders import make_ref
from tests.support.polling import until
from tests.support.readers import KEY, make_position, make_reader, make_record

REFERENCE: Any = object()


class Positions:
    """Answers what it is told, or raises."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[str] = []
        self.halted: list[tuple[str, int, str]] = []

    def _answer(self, name: str, default: Any) -> Any:
        self.asked.append(name)
        answer = self.answers.get(name, default)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def active_sources(self) -> Any:
        return self._answer("active_sources", [])

    def of_sources(self, sources: Any) -> Any:
        return self._answer("of_sources", [])

    def topic_ids(self, topics: Any) -> Any:
        return self._answer("topic_ids", {})

    def read(self, wanted: Any) -> Any:
        return self._answer("read", {})

    def halt(self, source: str, epoch: int, reason: str) -> bool:
        self._answer("halt", None)
        self.halted.append((source, epoch, reason))
        return True


class Assignment:
    """Remembers which readers are to read again."""

    topics = frozenset({"t"})
    sources = frozenset({"s"})

    def __init__(self) -> None:
        self.reading_again: list[Standing] = []

    def read_again(self, standing: Standing) -> None:
        self.reading_again.append(standing)


class Poller:
    """Remembers the messages; `run` lasts until it is stopped, or fails."""

    def __init__(self, *_: Any) -> None:
        self.assignment: Any = Assignment()
        self.messages: list[Callable[[], None]] = []
        self.outstanding = frozenset[str]()
        self.failure: Exception | None = None
        self.handed_over_records = 0
        self._stop = threading.Event()

    @property
    def is_stopping(self) -> bool:
        return self._stop.is_set()

    def stop(self) -> None:
        self._stop.set()

    def call_soon(self, message: Callable[[], None]) -> None:
        self.messages.append(message)

    def log_in(self, username: str, password: str) -> None:
        pass

    def find_silent(self) -> list[Any]:
        return []

    def run(self, grace: float) -> None:
        self._stop.wait(30)

    def fail(self, error: Exception) -> None:
        self.failure = error
        self._stop.set()


class Stand:
    """A consumer between scripted sides."""

    def __init__(self) -> None:
        self.positions = Positions()
        self.handed_over: list[BatchRef] = []
        self.hand_over_errors: list[Exception] = []
        self.state: SourceState | Exception | None = None
        fake: Any = self.positions
        self.consumer = SourceConsumer({}, fake, REFERENCE, self.hand_over, self.state_of)
        self.poller: Any = self.consumer._poller

    async def state_of(self, source: str) -> SourceState | None:
        if isinstance(self.state, Exception):
            raise self.state
        return self.state

    async def hand_over(self, reference: BatchRef, spec: SourceSpec) -> None:
        if self.hand_over_errors:
            raise self.hand_over_errors.pop(0)
        self.handed_over.append(reference)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        stop = asyncio.Event()
        task = asyncio.create_task(self.consumer.run(stop, grace=0))
        try:
            await until(lambda: hasattr(self.consumer, "_loop"))
            yield task
        finally:
            stop.set()
            await asyncio.wait([task], timeout=10)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    async def sleep(_: float) -> None:
        await asyncio.sleep(0.001)

    monkeypatch.setattr(retry, "_sleep", sleep)
    monkeypatch.setattr(consumer_module, "Poller", Poller)
    monkeypatch.setattr(consumer_module, "stage", lambda *_: REFERENCE)
    monkeypatch.setattr(consumer_module, "POSITIONS_SECONDS", 0.01)
    monkeypatch.setattr(consumer_module, "TOPIC_IDS_SECONDS", 0.01)
    monkeypatch.setattr(consumer_module, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(consumer_module, "SOURCES_SECONDS", 0.01)


@pytest.fixture
def stand() -> Stand:
    return Stand()


def batch_of(reader: PartitionReader) -> MicroBatch:
    reader.add(make_record(reader.expected_offset), 0.0)
    return reader.take_batch(0.0)


async def test_a_micro_batch_is_staged_handed_over_and_confirmed(stand: Stand) -> None:
    reader = make_reader()
    async with stand.running():
        await stand.consumer.hand_over(KEY, reader, batch_of(reader))
    assert stand.handed_over == [REFERENCE]


async def test_staging_and_handing_over_are_tried_until_they_succeed(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged: list[Any] = []

    def stage(*_: Any) -> Any:
        staged.append(None)
        if len(staged) < 4:
            raise DependencyError("the store is down")
        return REFERENCE

    monkeypatch.setattr(consumer_module, "stage", stage)
    stand.hand_over_errors = [DependencyError("down"), PermanentError("refused for now")] * 3
    reader = make_reader()
    async with stand.running():
        await stand.consumer.hand_over(KEY, reader, batch_of(reader))
    assert (len(staged), stand.handed_over) == (4, [REFERENCE])  # and not staged again after that


async def test_a_closed_reader_ends_the_hand_over(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[Any] = []

    def stage(*_: Any) -> Any:
        attempts.append(None)
        raise DependencyError("the store is down")

    monkeypatch.setattr(consumer_module, "stage", stage)
    reader = make_reader()
    async with stand.running():
        handing_over = asyncio.create_task(stand.consumer.hand_over(KEY, reader, batch_of(reader)))
        await until(lambda: attempts)
        reader.close()
        await asyncio.wait_for(handing_over, 10)
        halted = stand.positions.halted
    assert (stand.handed_over, halted) == ([], [])


async def test_a_reader_that_closes_after_staging_hands_nothing_over(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = make_reader()

    def stage(*_: Any) -> Any:
        reader.close()
        return REFERENCE

    monkeypatch.setattr(consumer_module, "stage", stage)
    async with stand.running():
        await stand.consumer.hand_over(KEY, reader, batch_of(reader))
    assert stand.handed_over == []


async def test_a_mistake_in_staging_halts_the_source_with_its_range(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer_module, "stage", lambda *_: 1 / 0)
    reader = make_reader(start=7)
    async with stand.running():
        await stand.consumer.hand_over(KEY, reader, batch_of(reader))
    ((source, epoch, reason),) = stand.positions.halted
    assert (source, epoch) == ("s", 0)
    assert reason.startswith("t/0: offsets 7 to 7 could not be staged: ZeroDivisionError")


async def test_halting_is_tried_until_the_database_answers(
    stand: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    stand.positions.answers["halt"] = DependencyError("down")
    async with stand.running():
        halting = asyncio.create_task(stand.consumer.halt("s", 0, "a gap"))
        await until(lambda: stand.positions.asked.count("halt") > 3)
        del stand.positions.answers["halt"]
        await asyncio.wait_for(halting, 10)
    assert stand.positions.halted == [("s", 0, "a gap")]
    halts = [line for line in caplog.records if "source halted" in line.getMessage()]
    assert [line.levelno for line in halts] == [logging.ERROR]


async def test_waits_end_when_the_consumer_stops(stand: Stand) -> None:
    stand.positions.answers = dict.fromkeys(("active_sources", "read"), DependencyError("down"))
    async with stand.running() as task:
        stand.consumer._start(stand.consumer.read_positions({}))
        await until(lambda: "read" in stand.positions.asked)
    assert task.exception() is None


async def test_services_that_are_down_are_asked_again_and_end_nothing(stand: Stand) -> None:
    names = ("active_sources", "of_sources", "topic_ids")
    stand.positions.answers = dict.fromkeys(names, DependencyError("down"))
    stand.poller.outstanding = frozenset({"s"})
    async with stand.running() as task:
        await until(lambda: all(stand.positions.asked.count(name) > 3 for name in names))
        assert not task.done()
        stand.positions.answers = {}
        await until(lambda: len(stand.poller.messages) > 3)


async def ends_with(stand: Stand, act: Callable[[], Awaitable[None]]) -> BaseException | None:
    async with stand.running() as task:
        await act()
        await asyncio.wait([task], timeout=10)
    return task.exception()


async def test_a_polling_thread_that_fails_ends_the_process(stand: Stand) -> None:
    async def fail() -> None:
        stand.poller.fail(RuntimeError("librdkafka"))

    assert str(await ends_with(stand, fail)) == "librdkafka"


async def test_a_mistake_in_a_watcher_ends_the_process(stand: Stand) -> None:
    async def fail() -> None:
        stand.positions.answers["active_sources"] = ValueError("a mistake")

    assert str(await ends_with(stand, fail)) == "a mistake"


async def test_a_mistake_in_what_the_polling_thread_asked_for_ends_the_process(
    stand: Stand,
) -> None:
    """Otherwise the partition would wait for its positions for ever, without a word."""

    async def fail() -> None:
        stand.positions.answers["read"] = ValueError("a mistake")
        stand.consumer._start(stand.consumer.read_positions({}))

    assert str(await ends_with(stand, fail)) == "a mistake"


async def test_a_polling_thread_that_ends_without_an_error_ends_the_process(stand: Stand) -> None:
    async def end() -> None:
        stand.poller._stop.set()

    assert "polling thread ended" in str(await ends_with(stand, end))


async def test_a_watcher_that_is_cancelled_ends_the_process(stand: Stand) -> None:
    async def cancel() -> None:
        next(iter(stand.consumer._tasks)).cancel()

    assert "was cancelled" in str(await ends_with(stand, cancel))


async def test_a_file_that_waits_for_temporal_is_kept_young(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it is swept before its reference arrives."""
    staged: list[Any] = []
    monkeypatch.setattr(consumer_module, "stage", lambda *_: staged.append(1) or REFERENCE)
    monkeypatch.setattr(consumer_module, "RESTAGE_SECONDS", 0.0)
    stand.hand_over_errors = [DependencyError("down")] * 3
    reader = make_reader()
    async with stand.running():
        await stand.consumer.hand_over(KEY, reader, batch_of(reader))
    assert (len(staged), stand.handed_over) == (1 + 4, [REFERENCE])


def standing_in(partition: int) -> Standing:
    return Standing(
        source="s",
        key=PartitionKey("t", partition),
        generation=1,
        topic_id="i",
        next_offset=5,
    )


async def compared(
    stand: Stand, state: SourceState | Exception | None, *, rows: tuple[int, int] = (5, 5)
) -> list[int]:
    """Partitions that are read again where both stand and the workflow knows this.

    Args:
        stand: of the consumer.
        state: what the workflow knows, or why it does not say so.
        rows: where both rows are when the workflow has answered.
    """
    stand.state = state
    stand.positions.answers["of_sources"] = [
        make_position(offset, partition=partition) for partition, offset in enumerate(rows)
    ]
    await stand.consumer._compare([standing_in(0), standing_in(1)])
    for message in stand.poller.messages:
        message()
    return [one.key.partition for one in stand.poller.assignment.reading_again]


async def test_only_what_the_workflow_lost_is_read_again(stand: Stand) -> None:
    state = SourceState(source="s", pending=[make_ref(5, 6, partition=1)])
    assert await compared(stand, state) == [0]


async def test_what_is_published_while_the_workflow_is_asked_is_not_lost(stand: Stand) -> None:
    assert await compared(stand, SourceState(source="s"), rows=(8, 5)) == [1]


async def test_without_a_workflow_everything_is_read_again(stand: Stand) -> None:
    assert await compared(stand, None) == [0, 1]


@pytest.mark.parametrize("error", [DependencyError("no answer"), TypeError("no such field")])
async def test_a_workflow_that_cannot_be_asked_changes_nothing_and_is_named(
    stand: Stand, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    assert await compared(stand, error) == []
    assert f"published nothing since the last look, and {error}" in caplog.text


async def test_positions_are_compared_again_and_again(stand: Stand) -> None:
    async with stand.running():
        await until(lambda: "of_sources" in stand.positions.asked)


async def test_a_silent_record_is_tried_with_the_newest_password(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Any] = []
    monkeypatch.setattr(consumer_module, "why_unreadable", lambda *given: tried.append(given))
    stand.consumer.log_in("freshet", "new")
    await stand.consumer._probe(Silent(KEY, 7))
    assert tried == [({"sasl.username": "freshet", "sasl.password": "new"}, KEY, 7)]
