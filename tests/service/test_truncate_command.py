"""`freshet source truncate` beside a consumer: the source halts at the record, and goes on as a person decides."""

import asyncio
import io
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from confluent_kafka import Producer

from corpus.source import SourceSpec, VersionRule
from corpus.specs.formats import MappingSpec
from corpus.versions.truncation import DELETES, KEEPS, OLDER
from tests.support.commands import CommandLine
from tests.support.consuming import INSERT_SOURCE, Bench, bench
from tests.support.polling import until
from workers.cli.commands.source import truncate

pytestmark = [pytest.mark.service, pytest.mark.timeout(120)]
_GROUPS = itertools.count(1)


@pytest.fixture
def stand(database_url: str, kafka_bootstrap: str, tmp_path: Path) -> Iterator[Bench]:
    with bench(database_url, kafka_bootstrap, tmp_path, f"truncated-{next(_GROUPS)}") as made:
        yield made


@pytest.fixture
def freshet(
    stand: Bench,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> CommandLine:
    monkeypatch.setenv("FRESHET_DATABASE_URL", database_url)
    monkeypatch.setenv("FRESHET_KAFKA_BOOTSTRAP", stand.bootstrap)
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")

    async def no_entity(*_: Any, **__: Any) -> None:
        """Here, no workflow runs."""

    monkeypatch.setattr(truncate, "signal_entity", no_entity)
    return CommandLine(tmp_path, monkeypatch, capsys)


def add_source(stand: Bench, topic: str) -> None:
    spec = SourceSpec(
        source="kb",
        topics=(topic,),
        format="debezium",
        version_rule=VersionRule.OWN,
        mapping=MappingSpec(content="text"),
    )
    stand.execute(INSERT_SOURCE, "kb", json.dumps(spec.to_json()))


def write(stand: Bench, topic: str) -> None:
    """A row, a truncation, a row."""
    producer = Producer({"bootstrap.servers": stand.bootstrap})
    for op, lsn in (("c", 10), ("t", 20), ("c", 30)):
        after = None if op == "t" else {"id": lsn, "text": "A row."}
        source = {"connector": "postgresql", "lsn": lsn, "ts_ms": 1}
        value = {"before": None, "after": after, "source": source, "op": op}
        key = None if op == "t" else json.dumps({"id": lsn})
        producer.produce(topic, json.dumps(value).encode(), key)
    assert producer.flush(30) == 0


def outcomes(stand: Bench) -> list[tuple[int, str]]:
    frames = [
        pl.read_parquet(io.BytesIO((stand.staging / ref.url).read_bytes()))
        for ref in stand.ledger.refs
    ]
    if not frames:
        return []
    rows = pl.concat(frames).sort("offset").to_dicts()
    return [(row["offset"], row["reason"] or row["op"]) for row in rows]


@pytest.mark.parametrize(
    ("word", "expected"),
    [("--delete", [OLDER, DELETES, "upsert"]), ("--keep", ["upsert", KEEPS, "upsert"])],
)
async def test_the_source_halts_and_goes_on_as_decided(
    stand: Bench,
    freshet: CommandLine,
    make_topic: Callable[..., str],
    word: str,
    expected: list[str],
) -> None:
    topic = make_topic()
    add_source(stand, topic)
    write(stand, topic)
    early = await asyncio.to_thread(freshet, "source", "truncate", "kb", word, "--reason", "moved")
    assert (early.code, "does not stand at a truncated table" in early.stderr) == (2, True)
    async with stand.consumer():
        await until(lambda: stand.state("kb")[0] == "halted", seconds=30)
        assert f"{topic}/0@1: the table was truncated" in (stand.state("kb")[1] or "")
        assert outcomes(stand) == []

        looked = await asyncio.to_thread(
            freshet, "source", "truncate", "kb", word, "--reason", "moved", "--dry-run"
        )
        assert (looked.code, "nothing was changed" in looked.stderr) == (0, True)
        assert stand.state("kb")[0] == "halted"

        done = await asyncio.to_thread(
            freshet, "source", "truncate", "kb", word, "--reason", "moved", "--json"
        )
        assert done.code == 0, done.stderr
        assert json.loads(done.stdout)["own_version"] == 20
        await until(lambda: len(outcomes(stand)) == 3, seconds=30)
    assert [reason for _, reason in outcomes(stand)] == expected
    assert stand.state("kb")[0] == "active"
    again = await asyncio.to_thread(freshet, "source", "truncate", "kb", word, "--reason", "moved")
    assert again.code == 2
    [(decision, reason)] = stand.execute("SELECT decision, reason FROM freshet.truncation")
    assert (f"--{decision}", reason) == (word, "moved")
    operations = stand.execute("SELECT action FROM freshet.access_log WHERE source = 'kb'")
    assert operations == [("source truncate",)]
