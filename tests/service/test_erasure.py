"""Erasing documents: nothing of them remains in any store, and nothing brings them back."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg

from corpus.batch import BatchKind
from ingest.event import KafkaRecord
from tests.support.pipeline import LONG_TEXT, NOW_MS, Pipeline, make_event

CANARY = "canary-4711"
SECRET = "zebrafishery quarrel"
CONTENT = f"{SECRET}\n\n{LONG_TEXT}"
OTHER = make_event("other", 1, LONG_TEXT, metadata={"team": "billing"})


def found_in_tables(connection: psycopg.Connection, *needles: str) -> dict[str, int]:
    """Table -> rows that hold one of the texts, in whatever column; bytes are read as text, too."""
    names = connection.execute(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'freshet' AND table_type = 'BASE TABLE'"
    ).fetchall()
    encoded = [needle.encode().hex() for needle in needles]
    found = {}
    for [name] in names:
        [rows] = connection.execute(
            f"SELECT count(*) FROM freshet.{name} t WHERE t::text ~ %s",
            ["|".join([*map(re.escape, needles), *encoded])],
        ).fetchone() or [0]
        if rows:
            found[name] = rows
    return found


def found_in_files(folder: Path, *needles: str) -> list[str]:
    """Staged files that hold one of the texts, in whatever column."""
    import polars as pl

    found = []
    for file in folder.rglob("*.parquet"):
        text = repr(pl.read_parquet(file).rows())
        if any(needle in text for needle in needles):
            found.append(file.name)
    return sorted(found)


def replay(pipeline: Pipeline, records: Sequence[KafkaRecord]) -> Any:
    """The whole topic again, as after `freshet source rewind` or a backfill."""
    pipeline.connection.execute("UPDATE freshet.source_position SET next_offset = 0")
    pipeline.connection.execute("UPDATE freshet.source SET epoch = epoch + 1")
    [[epoch]] = pipeline.connection.execute("SELECT epoch FROM freshet.source").fetchall()
    return pipeline.run(replace(pipeline.stage(records), epoch=epoch))


def test_nothing_of_a_document_remains_also_after_a_replay(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    unreadable = KafkaRecord(
        topic="", partition=0, offset=0, timestamp_ms=NOW_MS, key=None,
        value=b'{"id": "canary-4711", "op": "nonsense", "content": "zebrafishery quarrel"}',
    )  # fmt: skip
    events = [
        make_event(CANARY, 1, CONTENT, metadata={"team": "sales"}),
        OTHER,
        make_event(CANARY, 2, f"{CONTENT} once more"),
        make_event(CANARY, 3, op="nonsense", content=SECRET),
        unreadable,
        make_event("kept", 1, "something else"),
    ]
    records = pipeline.records(events)
    for record in records:
        pipeline.run(pipeline.stage([record]))
    assert found_in_tables(pipeline.connection, CANARY, SECRET).keys() >= {
        "document",
        "chunk",
        "dead_letter",
        "record_outcome",
    }
    before = pipeline.visible()
    report = pipeline.erase(CANARY)
    assert (report.kind, report.applied, report.documents_deleted) == (BatchKind.ERASURE, 1, 1)
    assert found_in_tables(pipeline.connection, CANARY, SECRET) == {}
    del before[CANARY]
    assert pipeline.visible() == before
    again = replay(pipeline, records)
    assert (again.records, again.ignored, again.dead_lettered) == (6, 4, 0)
    assert found_in_tables(pipeline.connection, CANARY, SECRET) == {}
    assert found_in_files(tmp_path, CANARY, SECRET) == []
    assert pipeline.visible() == before
