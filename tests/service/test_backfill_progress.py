"""What displays and metrics say of a backfill, and what of it is not in the counts of its source."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from corpus.database import Connection, connect
from corpus.source import SourceSpec
from corpus.sql import query
from ingest.backfill.plan import Bound, begin, plan_ranges
from ingest.backfill.standing import BackfillStanding, backfill_standings
from tests.support.commands import CommandLine, Done
from tests.support.fix_temporal import TemporalEnv
from tests.support.fleet import Fleet, fleet
from tests.support.polling import until

pytestmark = pytest.mark.service
Run = Callable[..., Awaitable[Done]]
OUTCOMES = ("records", "applied", "unchanged", "superseded", "dead_lettered", "ignored")


@pytest.fixture
async def live(
    temporal_env: TemporalEnv, database_url: str, kafka_bootstrap: str, tmp_path: Path
) -> AsyncIterator[Fleet]:
    client = await temporal_env.client()
    async with fleet(client, database_url, kafka_bootstrap, tmp_path) as running:
        yield running


@pytest.fixture
def run(
    live: Fleet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    freshet = CommandLine(tmp_path, monkeypatch, capsys)
    config = live.client.service_client.config

    async def run(*words: str) -> Done:
        def command() -> Done:
            return freshet(
                *words,
                FRESHET_DATABASE_URL=live.database_url,
                FRESHET_KAFKA_BOOTSTRAP=live.bootstrap,
                TEMPORAL_ADDRESS=config.target_host,
                TEMPORAL_NAMESPACE=live.client.namespace,
            )

        return await asyncio.to_thread(command)

    return run


@pytest.fixture
def db(database_url: str) -> Iterator[Connection]:
    with connect(database_url) as connection:
        spec = SourceSpec(source="s", topics=("t",))
        connection.execute(
            "INSERT INTO freshet.source (source, spec) VALUES ('s', %s)", (Jsonb(spec.to_json()),)
        )
        yield connection


def event(number: int) -> dict[str, Any]:
    return {"id": f"d{number}", "version": 1, "content": f"Body number {number}."}


async def source_of(run: Run) -> dict[str, Any]:
    done = await run("sources", "--json")
    [row] = json.loads(done.stdout)
    return row


@pytest.mark.timeout(150)
async def test_progress_is_shown_and_its_records_are_counted_apart(
    live: Fleet, run: Run, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    live.add_source(SourceSpec(source="s", topics=(topic,)))
    live.produce(topic, [event(number) for number in range(40)])
    await live.drained()
    before = await source_of(run)
    assert before["backfill"] is None
    assert set(before["backfilled"].values()) == {0}
    done = await run("backfill", "--source", "s", "--from", "0", "--rate", "1")
    assert done.code == 0, done.stderr
    await until(lambda: standing(live.connection).passed > 0, seconds=30)
    row = await source_of(run)
    shown = row["backfill"]
    assert (shown["state"], shown["wanted"], shown["rate"]) == ("running", 40, 1)
    assert 0 < shown["passed"] < 40
    assert shown["records_per_second"] > 0
    sentence = f"backfill {shown['backfill']} of s runs since "
    for command in (["sources"], ["source", "show", "s"], ["top", "--count", "1"]):
        done = await run(*command)
        assert sentence in done.stdout + done.stderr, done
    done = await run("backfill", "pause", "s")
    assert done.code == 0, done.stderr
    done = await run("sources")
    assert f"backfill {shown['backfill']} of s is paused since " in done.stderr
    live.connection.execute("UPDATE freshet.backfill SET rate = 0")
    await run("backfill", "resume", "s")
    await until(lambda: standing(live.connection).state == "done", seconds=60)
    after = await source_of(run)
    # The log's records are counted once; those that were read again are apart.
    assert [after[name] for name in OUTCOMES] == [before[name] for name in OUTCOMES]
    assert [after["backfilled"][name] for name in OUTCOMES] == [40, 0, 40, 0, 0, 0]
    assert after["backfill"] is None
    done = await run("source", "show", "s")
    assert "backfilled unchanged       40" in done.stdout


@pytest.mark.timeout(90)
async def test_a_command_that_was_killed_leaves_what_is_named_and_continued(
    live: Fleet, run: Run, make_topic: Callable[..., str]
) -> None:
    """The row is there, and the workflow was not started."""
    topic = make_topic()
    live.add_source(SourceSpec(source="s", topics=(topic,)))
    live.produce(topic, [event(number) for number in range(10)])
    await live.drained()
    plan = plan_ranges(live.connection, live.cluster, "s", Bound(offset=0), None, rate=0)
    begin(live.connection, plan)
    done = await run("backfill", "status", "--json")
    [row] = json.loads(done.stdout)
    assert row["waits_for"] == ("its workflow does not run; `freshet backfill resume s` starts it")
    done = await run("backfill", "resume", "s")
    assert done.code == 0, done.stderr
    await until(lambda: standing(live.connection).state == "done", seconds=60)


def standing(connection: Connection) -> BackfillStanding:
    [one] = backfill_standings(connection)
    return one


def add(db: Connection, state: str, moved_seconds_ago: int, rate: int = 0) -> None:
    db.execute(
        """INSERT INTO freshet.backfill (source, ranges, wanted, passed, state, rate, created_at, moved_at)
           VALUES ('s', '[]', 5000, 1000, %s, %s, now() - interval '1 d', now() - make_interval(secs => %s))""",
        (state, rate, moved_seconds_ago),
    )


def moved(db: Connection, passed: int) -> None:
    db.execute(query("backfill_moved"), {"backfill": 1, "passed": passed, "gone": 0})


def test_an_attempt_is_no_progress(db: Connection) -> None:
    assert backfill_standings(db) == []
    add(db, "running", 500)
    assert 499 < standing(db).standing_seconds < 520
    moved(db, 1_000)
    assert standing(db).standing_seconds > 499
    moved(db, 2_000)
    assert standing(db).standing_seconds < 20
    assert (standing(db).passed, standing(db).records_per_second) == (2_000, 0.0)


def test_what_a_rate_explains_is_no_standstill(db: Connection) -> None:
    add(db, "running", 500, rate=2)
    # A part of 1,000 records takes 500 s.
    assert standing(db).standing_seconds < 20


def test_the_newest_one_counts_and_a_paused_one_does_not_stand_still(db: Connection) -> None:
    add(db, "failed", 500)
    assert standing(db).is_shown
    add(db, "paused", 500)
    assert (standing(db).backfill, standing(db).standing_seconds) == (2, 0.0)


async def test_a_failure_that_a_person_has_seen_is_not_shown_any_more(
    db: Connection, run: Run
) -> None:
    add(db, "failed", 500)
    assert (await run("backfill", "status")).code == 1
    assert (await run("backfill", "resume", "s")).code == 2
    done = await run("backfill", "cancel", "s")
    assert done.code == 0, done.stderr
    assert not standing(db).is_shown
    assert (await run("backfill", "status")).code == 0
    assert (await run("backfill", "cancel", "s")).code == 2
