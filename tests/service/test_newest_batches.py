"""The newest batches of all sources, read without the rest of the ledger."""

from pathlib import Path
from typing import Any

import pytest
from psycopg.rows import dict_row, scalar_row

from corpus.clean.cleaner import Cleaner
from corpus.database import fetch_all
from tests.support.pipeline import Pipeline, make_event

pytestmark = pytest.mark.service

SORTED = """SELECT source || ':' || batch FROM freshet.batch
            WHERE source = coalesce(%s, source) ORDER BY published_at DESC, source, batch DESC LIMIT %s"""


@pytest.fixture
def filled(pipeline: Pipeline, tmp_path: Path, cleaner: Cleaner) -> Pipeline:
    """Three sources whose batches were published one after another, mixed; the last one published a single batch."""
    with (
        Pipeline(pipeline.database_url, tmp_path / "b", source="b", cleaner=cleaner) as second,
        Pipeline(pipeline.database_url, tmp_path / "c", source="c", cleaner=cleaner) as third,
    ):
        for version, source in enumerate((pipeline, second, pipeline, second, second, third), 1):
            source.ingest(make_event("a", version, f"text {version}"))
    return pipeline


@pytest.mark.parametrize("source", [None, "s", "b", "c", "missing"])
@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_they_are_those_of_a_full_sort(filled: Pipeline, source: str | None, limit: int) -> None:
    with filled.connection.cursor(row_factory=scalar_row) as cursor:
        expected = cursor.execute(SORTED, (source, limit)).fetchall()
    values = {"source": source, "limit": limit}
    rows: list[Any] = fetch_all(filled.connection, dict_row, "list_batches", values)
    assert [f"{row['source']}:{row['batch']}" for row in rows] == expected
