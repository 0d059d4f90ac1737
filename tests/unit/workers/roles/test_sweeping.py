"""What the storer's sweep asks Temporal, and that it asks again when a service is away."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.service import RPCError, RPCStatusCode

from corpus import retry
from corpus.errors import DependencyError
from corpus.staging.sweep import OldFiles, SweptFiles
from ingest.source_state import SourceState
from tests.support.orders import make_ref
from tests.support.polling import until
from workers.roles import sweeping


class Client:
    """A Temporal that answers the query of one entity, and counts its batches."""

    def __init__(self, state: Any = None, running: Any = 0) -> None:
        self.state, self.running = state, running
        self.counted: list[str] = []

    def get_workflow_handle(self, name: str) -> "Client":
        assert name == "source:s"
        return self

    async def query(self, name: str, **_: Any) -> Any:
        assert name == "status"
        return _answer(self.state)

    async def count_workflows(self, text: str, **_: Any) -> Any:
        self.counted.append(text)
        count = _answer(self.running)
        return type("Count", (), {"count": count})


def _answer(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer


def rpc(status: RPCStatusCode) -> RPCError:
    return RPCError("no", status, b"")


def state() -> SourceState:
    made = SourceState(source="s")
    made.pending.append(replace(make_ref(0, 1), url="pending"))
    made.in_flight.append(replace(make_ref(1, 2), url="in-flight"))
    # Of another epoch; it waits until the row can be read, which may take long.
    made.undecided.append(replace(make_ref(2, 3, epoch=1), url="undecided"))
    return made


@pytest.mark.parametrize(
    ("client", "held"),
    [
        (Client(state()), {"pending", "in-flight", "undecided"}),
        (Client(state(), running=1), None),
        (Client(rpc(RPCStatusCode.NOT_FOUND)), set()),  # it has never run
        (Client(rpc(RPCStatusCode.NOT_FOUND), running=1), None),
        (Client(rpc(RPCStatusCode.DEADLINE_EXCEEDED)), None),  # no worker
        (Client(state(), running=rpc(RPCStatusCode.UNAVAILABLE)), None),
    ],
)
async def test_what_an_entity_holds(client: Any, held: Any) -> None:
    assert await sweeping.entities(client)("s") == held
    if client.counted:
        assert "FreshetSource = 's'" in client.counted[0]


class Sweeper:
    """Finds two sources' files; the store is away at first."""

    def __init__(self) -> None:
        self.failures = 2
        self.held: list[Any] = []

    def find(self, now: datetime, min_age: Any) -> OldFiles:
        if self.failures:
            self.failures -= 1
            raise DependencyError("the store is away")
        return OldFiles(undecided={"a": [], "b": []})

    def remove(self, old: OldFiles, held: Any) -> SweptFiles:
        self.held.append(held)
        return SweptFiles(removed=3, removed_bytes=30, needed=1, unknown=0)


async def held_by(source: str) -> Any:
    return None if source == "a" else frozenset({"name"})


async def test_a_sweep_asks_each_source_and_logs_its_counts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fake: Any = Sweeper()
    fake.failures = 0
    with caplog.at_level("INFO"):
        await sweeping.sweep(fake, held_by, datetime.now(UTC))
    assert fake.held == [{"a": None, "b": frozenset({"name"})}]
    (line,) = [vars(line) for line in caplog.records if "swept" in line.getMessage()]
    assert (line["removed"], line["removed_bytes"], line["needed"]) == (3, 30, 1)


async def test_sweeping_goes_on_when_a_service_was_away(monkeypatch: pytest.MonkeyPatch) -> None:
    async def sleep(_: float) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(retry, "_sleep", sleep)
    monkeypatch.setattr(sweeping, "SWEEP_SECONDS", 0.0)
    fake: Any = Sweeper()
    task = asyncio.create_task(sweeping.sweep_again_and_again(fake, held_by))
    await until(lambda: len(fake.held) > 1)
    task.cancel()
