"""Two `freshet apply`: of two installations, what each leaves alone; of one, that one waits for the other."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from corpus.database import Connection, SessionLimits, connect
from freshness.schedules import list_ids, schedule_id
from freshness.schedules import write as write_schedule
from tests.support.fix_installation import Place
from tests.support.meeting import CONFIG, file_with
from tests.support.polling import until
from workers.apply.alone import alone
from workers.config.file import parse
from workers.temporal.client import temporal

pytestmark = [pytest.mark.service, pytest.mark.timeout(120)]


def test_two_apply_beside_one_another_and_remove_nothing_of_the_other(
    make_place: Callable[..., Place], tmp_path: Path
) -> None:
    one, two = make_place(), make_place()
    for place in (one, two):
        assert place.freshet("apply", file_with(tmp_path, "a", "b")).code == 0
    pruned = two.freshet("apply", file_with(tmp_path, "a"), "--prune")
    assert pruned.code == 0, pruned.stderr
    again = one.freshet("apply", file_with(tmp_path, "a", "b"), "--json")
    assert {change["change"] for change in json.loads(again.stdout)["changes"]} == {"unchanged"}
    shown = one.freshet("installation", "show", "--json")
    assert shown.code == 0, shown.stdout
    assert json.loads(shown.stdout)["problems"] == []


async def test_schedules_of_others_stay_and_are_named(
    make_place: Callable[..., Place], tmp_path: Path
) -> None:
    """Those with another mark, and those without one whose source is not in this database."""
    one = make_place()
    assert (await asyncio.to_thread(one.freshet, "apply", file_with(tmp_path, "a"))).code == 0
    client = await temporal(one.load())
    theirs, older = parse(CONFIG.format("theirs") + CONFIG.format("older")).sources
    await write_schedule(client, theirs, "11111111-1111-1111-1111-111111111111")
    await write_schedule(client, older)
    await until(lambda: _is_listed(client, "theirs", "older"))
    applied = await asyncio.to_thread(
        one.freshet, "apply", file_with(tmp_path, "a"), "--prune", "--json"
    )
    changes = {each["name"]: each["change"] for each in json.loads(applied.stdout)["changes"]}
    assert changes[schedule_id("theirs")] == changes[schedule_id("older")] == "foreign"
    assert "foreign: 2 schedules belong to other installations" in applied.stderr
    clash = await asyncio.to_thread(one.freshet, "apply", file_with(tmp_path, "a", "theirs"))
    assert clash.code == 2
    assert f"schedule {schedule_id('theirs')} belongs to installation 11111111" in clash.stderr


async def _is_listed(client: Client, *sources: str) -> bool:
    return {schedule_id(source) for source in sources} <= {*await list_ids(client)}


async def test_a_schedule_of_an_older_freshet_gets_a_mark(
    make_place: Callable[..., Place], tmp_path: Path
) -> None:
    one = make_place()
    assert (await asyncio.to_thread(one.freshet, "apply", file_with(tmp_path, "a"))).code == 0
    client = await temporal(one.load())
    await write_schedule(client, parse(CONFIG.format("a")).sources[0])
    applied = await asyncio.to_thread(one.freshet, "apply", file_with(tmp_path, "a"))
    assert f"installation: None -> {one.id}" in applied.stdout


def test_an_endpoint_of_another_installation_is_left_alone(
    make_place: Callable[..., Place], tmp_path: Path
) -> None:
    one = make_place()
    assert one.freshet("apply", file_with(tmp_path, "a")).code == 0
    two = make_place().using(one, "FRESHET_NEXUS_ENDPOINT")
    refused = two.freshet("apply", file_with(tmp_path, "a"))
    assert refused.code == 2
    name = one.settings["FRESHET_NEXUS_ENDPOINT"]
    assert f"Nexus endpoint '{name}' leads to {one.namespace}:freshet-nexus" in refused.stderr
    assert one.id in refused.stderr
    assert "FRESHET_NEXUS_ENDPOINT" in refused.stderr
    unchanged = one.freshet("apply", file_with(tmp_path, "a"), "--json")
    changes = json.loads(unchanged.stdout)["changes"]
    assert {change["change"] for change in changes} == {"unchanged"}


# ── one after the other ─────────────────────────────────────────────────────────────────────────────────────────────


def test_an_apply_waits_for_another_and_says_for_whom(
    make_place: Callable[..., Place], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = make_place()
    monkeypatch.setattr("workers.apply.alone.WAIT_SECONDS", 1)
    url = one.settings["FRESHET_DATABASE_URL"]

    async def beside() -> Any:
        async with alone(url, lambda _: None):
            return await asyncio.to_thread(one.freshet, "apply", file_with(tmp_path, "a"))

    refused = asyncio.run(beside())
    assert refused.code == 3
    assert (
        "waits at most 1 s for the lock of `freshet apply`; freshet-apply-lock@" in refused.stderr
    )
    assert "was not free within 1 s: freshet-apply-lock@" in refused.stderr
    assert one.freshet("apply", file_with(tmp_path, "a")).code == 0


def test_an_apply_that_takes_long_keeps_its_lock(
    make_place: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that is idle in its transaction for ten minutes is ended; thousands of sources may take longer."""
    url = make_place().settings["FRESHET_DATABASE_URL"]
    monkeypatch.setattr("workers.apply.alone._LIMITS", SessionLimits(idle=1))
    monkeypatch.setattr("workers.apply.alone._KEEP_SECONDS", 0.1)

    def holds(connection: Connection) -> bool:
        found = connection.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name LIKE 'freshet-apply-lock%'"
        ).fetchone()
        assert found == (1,)
        return True

    async def hold() -> None:
        async with alone(url, lambda _: None):
            with connect(url) as connection:
                end = time.monotonic() + 3.0
                await until(lambda: holds(connection) and time.monotonic() > end)

    asyncio.run(hold())


def test_two_apply_of_one_file_at_once_both_succeed(
    make_place: Callable[..., Place], tmp_path: Path
) -> None:
    one = make_place()
    path = file_with(tmp_path, "a", "b")
    team = '[subscriber.team]\nsources = ["a"]\nendpoint = "{0}"\nnamespace = "{0}"\ntask_queue = "q"\n'
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(team.format(f"team-{one.namespace}"))

    async def both() -> list[Any]:
        runs = [asyncio.to_thread(one.process, "apply", path) for _ in range(2)]
        return await asyncio.gather(*runs)

    done = asyncio.run(both())
    assert [each.code for each in done] == [0, 0], done
    assert sum("create     source a" in each.stdout for each in done) == 1
