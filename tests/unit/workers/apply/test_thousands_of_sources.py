"""What a change of one source costs, and how many schedules are asked for at once, where there are thousands."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from corpus.source import SourceSpec
from corpus.sql import query
from tests.support.fake_rows import Database
from workers.apply.change import Action, Change
from workers.apply.kind import Kind, Services, Target
from workers.apply.purge_schedules import PurgeSchedules
from workers.apply.schedules import Schedules, read_all
from workers.apply.sources import Sources
from workers.config.file import parse


@pytest.mark.parametrize("kind", [Sources(), Schedules(), PurgeSchedules()])
async def test_a_change_of_one_source_reads_that_source_only(kind: Kind[Any]) -> None:
    """With thousands of sources, to read all of them for each would take hours."""
    rows = [
        {"source": "a", "spec": SourceSpec(source="a", topics=("a",)).to_json(), "state": "active"}
    ]
    of_all = ("sources_configured", "sources_with_ends")
    connection: Any = Database(sources_named=rows, **{name: [] for name in of_all})
    missing = SimpleNamespace(describe=_not_found)
    client: Any = SimpleNamespace(get_schedule_handle=lambda _: missing, create_schedule=_nothing)
    nothing: Any = None
    given = Services(connection=connection, cluster=nothing, client=client)
    target = Target(config=parse("[source.a]\nlimits.max_records = 7"))
    (desired,) = (await kind.desired(given, target)).items()
    if kind.name != "source":
        connection._rows[query("sources_named")][0]["spec"] = target.config.sources[0].to_json()
    connection.executed.clear()
    name, state = desired
    current = (await kind.current(given, [name])).get(name)
    change = Change(kind=kind.name, name=name, action=Action.CHANGE, current=current, desired=state)
    assert await kind.carry_out(given, change)
    assert not {name for name, _ in connection.executed} & set(of_all)
    named = [values["sources"] for name, values in connection.executed if name == "sources_named"]
    assert named
    assert {source for sources in named for source in sources} == {"a"}


async def test_thousands_of_schedules_are_read_some_at_a_time() -> None:
    """Each request has a timeout of its own; all at once, the last ones would not be answered within it."""
    reading, most = 0, 0

    async def read(_client: Client, name: str) -> str | None:
        nonlocal reading, most
        reading += 1
        most = max(most, reading)
        await asyncio.sleep(0)
        reading -= 1
        return name if name != "n7" else None

    nobody: Any = None
    names = [f"n{number}" for number in range(1_000)]
    found = await read_all(nobody, names, read)
    assert found == {name: name for name in names if name != "n7"}
    assert most <= 50


async def _not_found() -> None:
    raise RPCError("there is none", RPCStatusCode.NOT_FOUND, b"")


async def _nothing(*_: Any, **__: Any) -> None: ...
