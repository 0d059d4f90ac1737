"""Schedules: what makes one another, which ones are ours, and what a server says that has none."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from temporalio.client import ScheduleAlreadyRunningError, ScheduleUpdate
from temporalio.service import RPCError, RPCStatusCode

from corpus.source import FreshnessSpec, SourceSpec
from freshness import schedules

SOURCE = SourceSpec(source="peps", topics=("peps",))


# ── what a schedule is built from ───────────────────────────────────────────────────────────────────────────────────


def test_the_hash_of_a_schedule_never_changes() -> None:
    """Another hash would update every schedule in production at the next apply."""
    assert schedules.spec_hash(SOURCE) == "689b92e62c773c94"


@pytest.mark.parametrize(
    ("fields", "same"),
    [
        ({"check_every_seconds": 301}, False),
        ({"warn_after_seconds": 1}, True),  # the check reads it from the database
        ({"max_expiry_ratio": 0.1}, True),
    ],
    ids=repr,
)
def test_only_what_a_schedule_is_built_from_updates_it(fields: dict[str, Any], same: bool) -> None:
    other = replace(SOURCE, freshness=replace(SOURCE.freshness, **fields))
    assert (schedules.spec_hash(SOURCE) == schedules.spec_hash(other)) is same


@pytest.mark.parametrize(("every", "jitter"), [(60, 6), (300, 30), (3_600, 30), (1, 0.1)], ids=repr)
def test_the_jitter_of_a_schedule_has_a_maximum(every: int, jitter: float) -> None:
    spec = replace(SOURCE, freshness=FreshnessSpec(check_every_seconds=every))
    built = schedules.build(spec)
    assert built.spec.jitter == timedelta(seconds=jitter)
    assert built.spec.intervals[0].every == timedelta(seconds=every)
    assert built.policy.catchup_window == timedelta(minutes=10)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("freshet/peps/freshness", True),
        ("freshet/a.b-c/freshness", True),
        ("theirs", False),
        ("freshet/peps/other", False),
        ("my-freshet/peps/freshness", False),
    ],
)
def test_only_our_schedules_are_ever_deleted(name: str, ours: bool) -> None:
    assert schedules.is_freshness_schedule(name) is ours
    assert schedules.is_freshness_schedule(schedules.schedule_id("peps"))


# ── a server ────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Server:
    """A Temporal server with schedules by name, or one that refuses each call."""

    schedules: dict[str, Any] = field(default_factory=dict)
    refuses: RPCStatusCode | None = None

    def _call(self) -> None:
        if self.refuses is not None:
            raise RPCError("refused", self.refuses, b"")

    async def list_schedules(self):
        self._call()
        names = list(self.schedules)

        async def listing():
            for name in names:
                yield SimpleNamespace(id=name)

        return listing()

    async def create_schedule(self, name, schedule, **_options):
        self._call()
        if name in self.schedules:
            raise ScheduleAlreadyRunningError
        self.schedules[name] = schedule

    def get_schedule_handle(self, name):
        return Handle(self, name)


@dataclass
class Handle:
    """A schedule of the server."""

    server: Server
    name: str

    async def describe(self):
        self.server._call()
        return SimpleNamespace(schedule=self.server.schedules[self.name])

    async def delete(self):
        self.server._call()
        del self.server.schedules[self.name]

    async def update(self, updater):
        update: ScheduleUpdate = updater(SimpleNamespace(description=await self.describe()))
        self.server.schedules[self.name] = update.schedule


def client(server: Server) -> Any:
    return server


async def test_only_our_schedules_are_listed() -> None:
    server = Server(dict.fromkeys(("theirs", "freshet/peps/freshness", "freshet/peps/other")))
    assert await schedules.list_ids(client(server)) == ["freshet/peps/freshness"]


async def test_where_there_is_nothing_nothing_is_listed_described_or_deleted() -> None:
    server = Server(refuses=RPCStatusCode.NOT_FOUND)
    assert await schedules.list_ids(client(server)) == []
    assert await schedules.describe(client(server), "freshet/peps/freshness") is None
    await schedules.delete(client(server), "freshet/peps/freshness")


async def test_a_server_that_refuses_is_not_taken_for_an_empty_one() -> None:
    server = Server(refuses=RPCStatusCode.PERMISSION_DENIED)
    calls = (
        schedules.list_ids(client(server)),
        schedules.describe(client(server), "freshet/peps/freshness"),
        schedules.delete(client(server), "freshet/peps/freshness"),
        schedules.write(client(server), SOURCE),
    )
    for call in calls:
        with pytest.raises(RPCError, match="refused"):
            await call


async def test_an_update_keeps_the_pause_of_an_operator() -> None:
    server = Server()
    await schedules.write(client(server), SOURCE)
    (created,) = server.schedules.values()
    created.state.paused, created.state.note = True, "an operator's"
    slower = replace(SOURCE, freshness=FreshnessSpec(check_every_seconds=7_200))
    await schedules.write(client(server), slower)
    (updated,) = server.schedules.values()
    assert (updated.state.paused, updated.state.note) == (True, "an operator's")
    assert updated.spec.intervals[0].every == timedelta(hours=2)
