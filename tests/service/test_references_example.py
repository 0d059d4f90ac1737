"""The example of documents by reference, on a real database: fetched, unchanged, changed, gone."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from corpus.source import FreshnessSpec, SourceSpec
from examples.references.events import events
from freshness.revalidate import Revalidator
from ingest.decode.decoder import decode
from ingest.event import ChangeEvent, KafkaRecord
from tests.support.pipeline import Pipeline
from workers.config.file import load

pytestmark = pytest.mark.service
CONFIGURATION = Path("examples/references/freshet.toml")
SOURCES: dict[str, SourceSpec] = {spec.source: spec for spec in load(CONFIGURATION).sources}
NAMED_FOLDER = "/srv/documents"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "documents"
    (made / "a").mkdir(parents=True)
    (made / "guide.md").write_text("# Guide\n\nThe weir is opened in spring.", encoding="utf-8")
    (made / "a" / "levels.csv").write_text("day,level\n1,2.5\n", encoding="utf-8")
    (made / "old.txt").write_text("The weir was closed in winter.", encoding="utf-8")
    return made


@pytest.fixture
def docs(database_url: str, tmp_path: Path, folder: Path) -> Iterator[Pipeline]:
    spec = SOURCES["linked"]
    assert spec.fetch.folders == (NAMED_FOLDER,)
    fetch = replace(spec.fetch, folders=(str(folder),))
    freshness = replace(spec.freshness, max_expiry_ratio=1.0)
    with Pipeline(database_url, tmp_path, fetch=fetch, freshness=freshness) as made:
        yield made


def test_a_folder_is_fetched_and_asked_for_again(docs: Pipeline, folder: Path) -> None:
    docs.ingest(*events(folder))
    shown = docs.visible()
    assert set(shown) == {"guide.md", "a/levels.csv", "old.txt"}
    assert "opened in spring" in shown["guide.md"][1]
    [title] = docs.connection.execute(
        "SELECT title FROM freshet.document WHERE document_id = 'guide.md'"
    ).fetchall()
    assert title == ("guide",)
    docs.connection.execute(
        """UPDATE freshet.document
           SET observed_at = now() - interval '8 days', verified_at = now() - interval '8 days'"""
    )
    (folder / "guide.md").write_text("# Guide\n\nThe weir stays open.", encoding="utf-8")
    (folder / "old.txt").unlink()
    asked = Revalidator(docs.pool).revalidate(docs.spec.source)
    assert (asked.renewed, asked.changed, asked.gone, asked.problem) == (1, 1, 1, "")
    seven_days = SOURCES["linked"].freshness.expire_after_seconds
    assert seven_days == FreshnessSpec(expire_after_seconds=604_800).expire_after_seconds
    assert docs.expire(after_seconds=seven_days).documents_expired == 1
    assert set(docs.visible()) == {"guide.md", "a/levels.csv"}
    # The next events of the folder bring what has changed.
    docs.ingest(*events(folder))
    assert "stays open" in docs.visible()["guide.md"][1]


def test_a_mapping_makes_an_address() -> None:
    report = {"id": "q3", "published_at": "2026-10-01T08:00:00Z", "title": "Third quarter"}
    record = KafkaRecord(
        topic="reports.published",
        partition=0,
        offset=0,
        timestamp_ms=1,
        key=None,
        value=json.dumps({"report": report}).encode(),
    )
    event = decode(record, SOURCES["reports"])
    assert isinstance(event, ChangeEvent), event
    assert event.content_url == "https://reports.example.org/q3.pdf"
    assert (event.document_id, event.title) == ("q3", "Third quarter")
