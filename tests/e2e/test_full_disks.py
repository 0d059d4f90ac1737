"""Full disks: what cannot be written is tried again, nothing is there by half, and the reason can be read."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from temporalio.client import Client

from compose.local.parts.postgres import Postgres
from corpus.clean.cleaner import Cleaner
from corpus.errors import DependencyError
from corpus.source import SourceSpec
from tests.support.fleet import Fleet, check_that_ranges_meet, fleet
from tests.support.naming import named
from tests.support.pipeline import LONG_TEXT, Pipeline, make_event
from tests.support.polling import until
from tests.support.small_disk import SmallDisk, small_disk

pytestmark = pytest.mark.timeout(180)


# ── the staging store ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", 2) as made:
        yield made


@pytest.fixture
async def live(
    temporal_client: Client, database_url: str, kafka_bootstrap: str, disk: SmallDisk
) -> AsyncIterator[Fleet]:
    """A fleet whose staging store is on the small disk."""
    staging = disk.folder / "staging"
    async with fleet(temporal_client, database_url, kafka_bootstrap, staging) as running:
        yield running


@pytest.mark.parametrize(
    ("room", "said"),
    [(0, "waiting for the consumer"), (24_000, "No space left on device")],
    ids=["for nothing", "for the events only"],
)
@pytest.mark.usefixtures("commands_find_it", "short_standstill")
async def test_a_staging_store_that_is_full_delays_and_loses_nothing(
    room: int, said: str, live: Fleet, disk: SmallDisk, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    live.add_source(SourceSpec(source="s", topics=(topic,)))
    live.produce(topic, [make_event("before", 1, "There is room.")])
    await live.drained()
    disk.fill(leave=room)
    live.produce(
        topic, [make_event(f"d{n}", 1, f"Document {n}. {os.urandom(400).hex()}") for n in range(20)]
    )

    def is_named() -> bool:
        shown = named(live, "s")
        return shown.condition == "stuck" and said in shown.why

    await until(is_named)
    assert live.visible("s") == {"before": 1}
    disk.free()
    await live.drained()
    assert len(live.visible("s")) == 21
    check_that_ranges_meet(live.ranges("s"))
    assert live.rows("SELECT FROM freshet.dead_letter") == []


# ── the database ────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class FullDatabase:
    """A database on a small disk."""

    url: str
    disk: SmallDisk


@pytest.fixture
def full_database(postgres_server: Postgres, postgres_url: str) -> Iterator[FullDatabase]:
    """Its files, but not its log, are on the small disk: a server whose log is full stops as a whole."""
    owner = postgres_server.data.stat()
    with small_disk(postgres_server.folder / "small", 48) as disk:
        os.chown(disk.folder, owner.st_uid, owner.st_gid)
        with psycopg.connect(postgres_server.url_of("postgres"), autocommit=True) as server:
            place = sql.Literal(str(disk.folder))
            server.execute(sql.SQL("CREATE TABLESPACE small LOCATION {}").format(place))
            server.execute("CREATE DATABASE small TEMPLATE freshet TABLESPACE small")
            try:
                yield FullDatabase(postgres_server.url_of("small"), disk)
            finally:
                server.execute("DROP DATABASE small WITH (FORCE)")
                server.execute("DROP TABLESPACE small")


def test_a_database_that_is_full_publishes_all_of_a_batch_or_nothing(
    full_database: FullDatabase, tmp_path: Path, cleaner: Cleaner
) -> None:
    with Pipeline(full_database.url, tmp_path, cleaner=cleaner) as pipeline:
        pipeline.ingest(make_event("before", 1, "There is room."))
        large = [make_event(f"d{n}", 1, f"{n}\n\n{LONG_TEXT}") for n in range(20)]
        ref = pipeline.stage(pipeline.records(large))
        prepared = pipeline.prepare([ref], 2)
        full_database.disk.fill(leave=100_000)
        with pytest.raises(DependencyError, match=r"No space left on device|53100"):
            pipeline.embed(prepared)
            pipeline.publish([ref], prepared, 2)
        assert pipeline.visible() == {"before": (1, "There is room.")}
        assert pipeline.position(0) == 1
        full_database.disk.free()
        report = pipeline.run(ref)
        assert (report.applied, report.dead_lettered) == (20, 0)
        assert len(pipeline.visible()) == 21


# ── the log of a process ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_log_that_cannot_be_written_ends_no_process() -> None:
    program = """
import logging, os
from workers import logs
logs.configure("consumer", level="INFO", form="json")
for _ in range(100):
    logging.getLogger("ingest").warning("a line", extra={"action": "test"})
os.write(1, b"it went on")
"""
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=full, check=False
        )
    assert done.stdout == b"it went on"
