"""From a role's name to a process that ends when it is asked to."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from corpus.errors import ConfigurationError, DependencyError
from tests.support.polling import until
from workers import logs
from workers.config.settings import Settings, load
from workers.roles import consumer, run, space_indexes, start
from workers.roles.table import ROLES
from workers.roles.watch import TaskEndedError, in_daemon_thread, until_left
from workers.tracing import switch


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FRESHET_HOME", str(tmp_path))
    monkeypatch.setenv("FRESHET_DATABASE_URL", "host=unused")
    monkeypatch.setenv("FRESHET_KAFKA_BOOTSTRAP", "unused:9092")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "unused:7233")
    monkeypatch.setattr(logs, "configure", lambda *_, **__: None)

    async def passed(*_: object) -> None:
        pass

    # What a role compares before it works has tests of its own.
    monkeypatch.setattr(run, "temporal", passed)
    monkeypatch.setattr(start, "wait_for_migrations", passed)
    monkeypatch.setattr(start, "check_role", passed)


@pytest.mark.parametrize("name", ["juggler", "", "run", "table", "Consumer", "consumer "])
async def test_a_wrong_name_lists_the_roles(name: str) -> None:
    with pytest.raises(ConfigurationError, match="roles are consumer, orchestrator, preparer"):
        await run.run_role(name)


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("name", list(ROLES))
async def test_a_role_runs_with_the_settings(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    seen: list[Any] = []

    async def run_module(settings: Settings) -> None:
        seen.append(settings)

    module = ModuleType(name)
    module.run = run_module  # type: ignore[attr-defined]
    imported: list[str] = []

    def import_module(path: str) -> ModuleType:
        imported.append(path)
        return module

    monkeypatch.setattr(run, "import_module", import_module)
    await run.run_role(name)
    assert imported == [f"workers.roles.{name}"]
    assert isinstance(seen[0], Settings)


@pytest.mark.usefixtures("environment")
async def test_a_wrong_setting_ends_it_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FRESHET_EMBED_SHARD", "0")
    with pytest.raises(ConfigurationError, match="FRESHET_EMBED_SHARD"):
        await run.run_role("embedder")


@pytest.mark.parametrize("name", list(ROLES))
async def test_a_role_says_nothing_to_a_server_on_a_way_that_is_not_safe(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setenv("FRESHET_HOME", str(tmp_path))
    monkeypatch.setenv("FRESHET_DATABASE_URL", "host=127.0.0.1 port=1")
    monkeypatch.setenv("FRESHET_KAFKA_BOOTSTRAP", "kafka.example:9092")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("FRESHET_STAGING_URL", "http://staging.example/x")
    monkeypatch.setattr(start, "WAIT_SECONDS", 0)
    settings = load()
    used = [service for service in ("Kafka", "staging") if ROLES[name].uses(service)]
    if not used:
        with pytest.raises(DependencyError, match="PostgreSQL does not answer"):
            await start.wait_for_migrations(settings, name)
        return
    with pytest.raises(ConfigurationError, match="FRESHET_ALLOW_PLAINTEXT") as caught:
        await start.wait_for_migrations(settings, name)
    assert ("kafka.example" in str(caught.value)) is ("Kafka" in used)
    assert ("staging.example" in str(caught.value)) is ("staging" in used)


class FakeWorker:
    """Notes when it runs."""

    def __init__(self) -> None:
        self.events: list[str] = []

    async def __aenter__(self) -> "FakeWorker":
        self.events.append("started")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.events.append("ended")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_worker_ends_at_a_signal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: signal.Signals
) -> None:
    ready = tmp_path / "ready"
    monkeypatch.setenv("FRESHET_READY_FILE", str(ready))
    worker: Any = FakeWorker()
    serving = asyncio.create_task(run.serve(worker, "storer"))
    await until(ready.exists)
    assert worker.events == ["started"]
    assert ready.read_text() == str(os.getpid())
    os.kill(os.getpid(), number)
    await asyncio.wait_for(serving, 5)
    assert worker.events == ["started", "ended"]


async def test_a_task_beside_a_worker_ends_with_it() -> None:
    ended: list[str] = []

    async def beside() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("beside")

    worker: Any = FakeWorker()
    serving = asyncio.create_task(run.serve(worker, "storer", beside=beside()))
    await until(lambda: worker.events)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(serving, 5)
    assert ended == ["beside"]


async def test_a_task_beside_a_worker_that_ends_ends_the_process() -> None:
    """Nobody would notice that its work is not done any more."""

    async def ends() -> None:
        await asyncio.sleep(0)

    for beside, error in ((failing(OSError("x")), OSError), (ends(), RuntimeError)):
        worker: Any = FakeWorker()
        with pytest.raises(error):
            await asyncio.wait_for(run.serve(worker, "storer", beside=beside), 5)
        assert worker.events == ["started", "ended"]


# ── building indexes ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_build_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def build(url: str) -> list[int]:
        tried.append(url)
        raise DependencyError("PostgreSQL does not answer")

    monkeypatch.setattr(space_indexes, "build_missing", build)
    monkeypatch.setattr(space_indexes, "_LOOK_SECONDS", 0)
    building = asyncio.create_task(space_indexes.keep_indexes_built("url"))
    await until(lambda: len(tried) > 2)
    building.cancel()
    with pytest.raises(asyncio.CancelledError):
        await building


async def test_an_unexpected_error_of_a_build_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(url: str) -> list[int]:
        raise ZeroDivisionError

    monkeypatch.setattr(space_indexes, "build_missing", build)
    with pytest.raises(ZeroDivisionError):
        await space_indexes.keep_indexes_built("url")


# ── the consumer's two tasks ────────────────────────────────────────────────────────────────────────────────────────


class Consuming:
    """A consumer that ends when it is told to, and an outbox that runs for ever."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.events: list[str] = []

    async def consume(self) -> None:
        await self.stop.wait()
        await asyncio.sleep(0)
        self.events.append("committed")

    async def outbox(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.events.append("outbox ended")


async def failing(error: Exception) -> None:
    await asyncio.sleep(0)
    raise error


async def test_at_a_signal_the_consumer_commits_what_is_in_flight() -> None:
    parts = Consuming()
    running = asyncio.create_task(consumer.run_both(parts.consume(), parts.outbox(), parts.stop))
    await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert sorted(parts.events) == ["committed", "outbox ended"]


async def test_an_outbox_that_fails_ends_the_consumer() -> None:
    """Dead letters would wait for ever, and nothing would say so."""
    parts = Consuming()
    with pytest.raises(RuntimeError, match="of the outbox"):
        await asyncio.wait_for(
            consumer.run_both(parts.consume(), failing(RuntimeError("of the outbox")), parts.stop),
            5,
        )
    assert parts.events == ["committed"]


async def cancelled() -> None:
    raise asyncio.CancelledError


async def returning() -> None:
    await asyncio.sleep(0)


@pytest.mark.parametrize("outbox", [cancelled, returning])
async def test_an_outbox_that_ends_without_an_error_ends_the_consumer(
    outbox: Callable[[], Coroutine[Any, Any, None]], caplog: pytest.LogCaptureFixture
) -> None:
    parts = Consuming()
    with pytest.raises(TaskEndedError, match="task outbox ended"):
        await asyncio.wait_for(consumer.run_both(parts.consume(), outbox(), parts.stop), 5)
    assert parts.events == ["committed"]
    assert [vars(line)["task"] for line in caplog.records] == ["outbox"]


async def test_a_consumer_that_returns_unasked_ends_the_process() -> None:
    parts = Consuming()
    with pytest.raises(TaskEndedError, match="task consumer ended"):
        await asyncio.wait_for(consumer.run_both(returning(), parts.outbox(), parts.stop), 5)


# ── tasks beside a worker ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("task", "error"),
    [
        (lambda: failing(ValueError("of the task")), ValueError),
        (cancelled, TaskEndedError),
        (returning, TaskEndedError),
        (lambda: in_daemon_thread(lambda: 1 / 0, "thread"), ZeroDivisionError),
    ],
    ids=["fails", "is cancelled", "returns", "fails in a thread"],
)
async def test_the_end_of_a_task_beside_a_worker_ends_the_role(
    task: Callable[[], Coroutine[Any, Any, None]],
    error: type[Exception],
    caplog: pytest.LogCaptureFixture,
) -> None:
    worker: Any = FakeWorker()
    with pytest.raises(error):
        await asyncio.wait_for(run.serve(worker, "storer", sweep=task()), 5)
    assert worker.events == ["started", "ended"]
    assert [vars(line).get("task") for line in caplog.records if line.levelname == "ERROR"] == [
        "sweep"
    ]


async def test_a_thread_that_has_finished_its_work_ends_nothing() -> None:
    parts = Consuming()
    leaving = asyncio.Event()
    finished = in_daemon_thread(lambda: None, "thread")
    waiting = asyncio.create_task(
        until_left(leaving, {"outbox": parts.outbox(), "preload": finished})
    )
    await asyncio.sleep(0.05)
    assert not waiting.done()  # a preload that has finished ends nothing
    leaving.set()
    await asyncio.wait_for(waiting, 5)
    assert parts.events == ["outbox ended"]


async def test_a_consumer_that_fails_ends_the_outbox() -> None:
    parts = Consuming()
    with pytest.raises(RuntimeError, match="of the consumer"):
        await asyncio.wait_for(
            consumer.run_both(failing(RuntimeError("of the consumer")), parts.outbox(), parts.stop),
            5,
        )
    await asyncio.sleep(0)
    assert parts.events == ["outbox ended"]


async def test_a_temporal_that_starts_later_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:

    answers: list[Any] = [DependencyError("away"), DependencyError("away"), "client"]

    async def connect(_settings: Any) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(consumer, "temporal", connect)
    monkeypatch.setattr(consumer, "_RETRY_SECONDS", 0.01)
    assert await consumer._connect(None) == "client"  # type: ignore[arg-type]
    assert answers == []


async def test_a_wrong_temporal_address_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def connect(_settings: Any) -> Any:
        raise ConfigurationError("TEMPORAL_ADDRESS")

    monkeypatch.setattr(consumer, "temporal", connect)
    with pytest.raises(ConfigurationError):
        await consumer._connect(None)  # type: ignore[arg-type]


@pytest.mark.usefixtures("environment")
async def test_traces_begin_before_the_role_and_end_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Any] = []

    async def run_module(_: Settings) -> None:
        seen.extend(switch.interceptors())
        raise DependencyError("away")

    module = ModuleType("consumer")
    module.run = run_module  # type: ignore[attr-defined]
    monkeypatch.setattr(run, "import_module", lambda _: module)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(DependencyError, match="away"):
        await run.run_role("consumer")
    assert len(seen) == 1
    assert switch.interceptors() == ()


@pytest.mark.usefixtures("environment")
async def test_a_role_does_not_begin_with_an_exporter_that_freshet_does_not_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    with pytest.raises(ConfigurationError, match="OTEL_TRACES_EXPORTER='zipkin'"):
        await run.run_role("consumer")
