"""`freshet backfill`: records are read again beside the live stream, and count where they are the newest."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from corpus import task_queues
from corpus.preparation import PreparationSpec
from corpus.source import SourceSpec, VersionRule
from corpus.specs.formats import MappingSpec
from ingest.backfill.order import BackfillCursor, backfill_workflow_id
from ingest.backfill.plan import Bound, plan_ranges
from ingest.backfill.plan import begin as begin_backfill
from ingest.backfill.workflows import BackfillWorkflow
from tests.support.commands import CommandLine, Done
from tests.support.fix_temporal import TemporalEnv
from tests.support.fleet import Fleet, check_that_ranges_meet, fleet
from tests.support.polling import until

pytestmark = pytest.mark.service
Run = Callable[..., Awaitable[Done]]


@pytest.fixture
async def live(
    temporal_env: TemporalEnv, database_url: str, kafka_bootstrap: str, tmp_path: Path
) -> AsyncIterator[Fleet]:
    client = await temporal_env.client()
    async with fleet(client, database_url, kafka_bootstrap, tmp_path) as running:
        yield running


async def begin(live: Fleet, source: str, *, rate: int) -> None:
    """As the command does, of the whole log."""
    bound = Bound(offset=0)
    plan = plan_ranges(live.connection, live.cluster, source, bound, None, rate=rate)
    number = begin_backfill(live.connection, plan)
    await live.client.start_workflow(
        BackfillWorkflow.run,
        BackfillCursor(backfill=number),
        id=backfill_workflow_id(number),
        task_queue=task_queues.WORKFLOWS,
    )


@pytest.fixture
def freshet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)


def environment(live: Fleet) -> dict[str, str]:
    """Where a command finds the services."""
    return {
        "FRESHET_DATABASE_URL": live.database_url,
        "FRESHET_KAFKA_BOOTSTRAP": live.bootstrap,
        "TEMPORAL_ADDRESS": live.client.service_client.config.target_host,
        "TEMPORAL_NAMESPACE": live.client.namespace,
    }


@pytest.fixture
def run(live: Fleet, freshet: CommandLine) -> Run:
    async def run(*words: str) -> Done:
        return await asyncio.to_thread(freshet, "backfill", *words, **environment(live))

    return run


MAPPING = MappingSpec(id="id", version="version", title="name", content="body")


def row(number: int, version: int = 1, **other: Any) -> dict[str, Any]:
    return {
        "id": f"d{number}",
        "version": version,
        "name": f"Title {number}",
        "body": f"Body number {number} in version {version}.",
        "note": f"Note number {number}.",
    } | other


def configure(live: Fleet, spec: SourceSpec) -> None:
    """As `freshet apply` changes a source."""
    values = (Jsonb(spec.to_json()), spec.source)
    live.connection.execute("UPDATE freshet.source SET spec = %s WHERE source = %s", values)


def newest(live: Fleet) -> Any:
    [row, *_] = live.rows("SELECT * FROM freshet.backfill ORDER BY backfill DESC")
    return row


async def ended(live: Fleet, state: str = "done") -> Any:
    await until(lambda: newest(live).ended_at is not None, seconds=60)
    assert newest(live).state == state, newest(live).error
    return newest(live)


def texts(live: Fleet) -> dict[str, str]:
    rows = live.rows(
        """SELECT document_id, string_agg(text, ' ') AS text FROM freshet.chunk
           WHERE visible_to IS NULL GROUP BY document_id"""
    )
    return {row.document_id: row.text for row in rows}


def positions(live: Fleet) -> Any:
    return live.rows("SELECT topic, partition, next_offset FROM freshet.source_position ORDER BY 2")


@pytest.mark.timeout(150)
async def test_a_changed_mapping_takes_effect_beside_new_records(
    live: Fleet, run: Run, make_topic: Callable[..., str]
) -> None:
    topic = make_topic(partitions=2)
    spec = SourceSpec(source="s", topics=(topic,), format="json", mapping=MAPPING)
    live.add_source(spec)
    live.produce(topic, [row(number) for number in range(30)])
    live.produce(topic, [row(number, 2) for number in range(10)])
    await live.drained()
    before = positions(live)
    embedded = sum(live.embedder.embedded.values())
    # Nothing says something else: nothing is written, and nothing embedded.
    done = await run("--source", "s", "--from", "0", "--json")
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout)["wanted"] == 40
    await ended(live)
    [sums] = live.rows(
        """SELECT sum(records) AS records, sum(unchanged) AS unchanged, sum(superseded) AS superseded,
                  sum(documents_written) AS written FROM freshet.batch WHERE kind = 'backfill'"""
    )
    assert (sums.records, sums.unchanged, sums.superseded, sums.written) == (40, 30, 10, 0)
    assert sum(live.embedder.embedded.values()) == embedded
    # The same versions say something else now; new records do not wait for them.
    changed = replace(spec, mapping=replace(MAPPING, content="{body}\n\n{note}"))
    configure(live, changed)
    done = await run("--source", "s", "--from", "0", "--rate", "50")
    assert done.code == 0, done.stderr
    live.produce(topic, [row(0, 3), row(99)])
    await live.drained()
    await ended(live)
    assert live.visible("s") == {
        "d0": 3,
        **{f"d{number}": 2 for number in range(1, 10)},
        **{f"d{number}": 1 for number in [*range(10, 30), 99]},
    }
    shown = texts(live)
    assert all(f"Note number {number}." in shown[f"d{number}"] for number in range(30))
    assert "version 3" in shown["d0"]
    assert sum(each.next_offset for each in before) + 2 == sum(
        each.next_offset for each in positions(live)
    )
    check_that_ranges_meet(live.ranges("s"))
    done = await run("status", "--json")
    [second, first] = json.loads(done.stdout)
    assert (first["state"], first["passed"], first["unchanged"]) == ("done", 40, 30)
    # The new version of d0 may have come first.
    assert (second["applied"], second["superseded"]) in {(30, 10), (29, 11)}


@pytest.mark.timeout(150)
async def test_a_dead_letter_storm_and_a_preparation(
    live: Fleet, run: Run, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    wrong = replace(MAPPING, title="missing_title")
    spec = SourceSpec(source="s", topics=(topic,), format="json", mapping=wrong)
    live.add_source(spec)
    live.produce(topic, [row(number) for number in range(12)])
    await live.drained()
    assert live.visible("s") == {}
    configure(live, replace(spec, mapping=MAPPING))
    # Only some documents: the records that are their dead letters.
    done = await run("--source", "s", "--documents", "d3", "--documents", "d5", "--documents", "x")
    assert done.code == 1
    assert "1 documents have no record in the log: x" in done.stdout
    await ended(live)
    assert live.visible("s") == {"d3": 1, "d5": 1}
    done = await run("--source", "s", "--from", "2020-01-01T00:00:00Z")
    assert done.code == 0, done.stderr
    await ended(live)
    assert len(live.visible("s")) == 12
    letters = live.rows("SELECT state, count(*) AS letters FROM freshet.dead_letter GROUP BY state")
    assert [(each.state, each.letters) for each in letters] == [("redriven", 12)]
    # Another preparation, of one document.
    smaller = PreparationSpec(max_tokens=16)
    configure(live, replace(spec, mapping=MAPPING, pipeline=smaller))
    await run("--source", "s", "--documents", "d7")
    await ended(live)
    rows = live.rows(
        "SELECT document_id FROM freshet.document WHERE visible_to IS NULL AND pipeline = %s",
        smaller.fingerprint(),
    )
    assert [each.document_id for each in rows] == ["d7"]


@pytest.mark.timeout(150)
async def test_pause_resume_cancel_and_what_is_deleted_stays_deleted(
    live: Fleet, run: Run, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    spec = SourceSpec(source="s", topics=(topic,), format="json", mapping=MAPPING)
    spec = replace(spec, mapping=replace(MAPPING, deleted_when=("gone = true",)))
    live.add_source(spec)
    live.produce(topic, [row(number) for number in range(40)])
    live.produce(topic, [row(1, 5, gone=True)])
    await live.drained()
    changed = replace(spec.mapping, content="{body}\n\n{note}")
    configure(live, replace(spec, mapping=changed))
    done = await run("--source", "s", "--from", "0", "--rate", "1")
    assert done.code == 0, done.stderr
    await until(lambda: newest(live).passed > 0, seconds=30)
    assert (await run("--source", "s", "--from", "0")).code == 2  # one at a time
    done = await run("pause", "s")
    assert done.code == 0, done.stderr
    await until(lambda: "Note" in " ".join(texts(live).values()), seconds=30)
    assert newest(live).state == "paused"
    live.connection.execute("UPDATE freshet.backfill SET rate = 0")
    await run("resume", "s")
    await ended(live)
    assert "d1" not in live.visible("s")
    assert sum("Note" in text for text in texts(live).values()) == 39
    await run("--source", "s", "--from", "0", "--rate", "1")
    await until(lambda: newest(live).passed > 0, seconds=30)
    done = await run("cancel", "s")
    assert done.code == 0, done.stderr
    await ended(live, "cancelled")
    assert live.store.files("backfills") == []
    assert (await run("pause", "s")).code == 2


@pytest.mark.timeout(150)
async def test_workers_that_end_in_the_middle_lose_nothing_and_double_nothing(
    temporal_env: TemporalEnv,
    database_url: str,
    kafka_bootstrap: str,
    tmp_path: Path,
    make_topic: Callable[..., str],
) -> None:
    client = await temporal_env.client()
    topic = make_topic()
    spec = SourceSpec(source="s", topics=(topic,), format="json", mapping=MAPPING)
    async with fleet(client, database_url, kafka_bootstrap, tmp_path) as first:
        first.add_source(spec)
        first.produce(topic, [row(number) for number in range(40)])
        await first.drained()
        configure(first, replace(spec, mapping=replace(MAPPING, content="{body} {note}")))
        await begin(first, "s", rate=10)
        await until(lambda: newest(first).passed > 0, seconds=30)
    async with fleet(client, database_url, kafka_bootstrap, tmp_path) as second:
        await ended(second)
        [sums] = second.rows(
            "SELECT sum(records) AS records FROM freshet.batch WHERE kind = 'backfill'"
        )
        assert sums.records == 40
        assert sum("Note" in text for text in texts(second).values()) == 40
        assert max(second.embedder.embedded.values(), default=1) == 1


@pytest.mark.timeout(150)
async def test_what_a_truncated_table_held_does_not_come_back(
    live: Fleet, run: Run, freshet: CommandLine, make_topic: Callable[..., str]
) -> None:
    """A row that was a dead letter when its table was truncated has no tombstone; the decision counts for it, too."""
    topic = make_topic()
    spec = SourceSpec(
        source="s",
        topics=(topic,),
        format="debezium",
        version_rule=VersionRule.OWN,
        mapping=MappingSpec(content="missing"),
    )
    live.add_source(spec)
    for op, lsn in (("c", 10), ("t", 20), ("c", 30)):
        after = None if op == "t" else {"id": lsn, "body": f"Row {lsn}."}
        change = {"op": op, "before": None, "after": after, "source": {"lsn": lsn}}
        key = None if op == "t" else json.dumps({"id": lsn})
        live.producer.produce(topic, json.dumps(change).encode(), key=key)
    assert live.producer.flush(30) == 0
    state = "SELECT state FROM freshet.source"
    await until(lambda: live.rows(state)[0].state == "halted", seconds=60)
    words = ("source", "truncate", "s", "--delete", "--reason", "emptied")
    done = await asyncio.to_thread(freshet, *words, **environment(live))
    assert done.code == 0, done.stderr
    await live.drained()
    assert live.visible("s") == {}
    configure(live, replace(spec, mapping=MappingSpec(content="body")))
    done = await run("--source", "s", "--from", "0")
    assert done.code == 0, done.stderr
    await ended(live)
    assert texts(live) == {"30": "Row 30."}
