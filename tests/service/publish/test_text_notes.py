"""Where texts are from: files under a wrong media type can be asked for."""

from typing import Any

from psycopg.rows import dict_row

from corpus.sql import query
from tests.service.publish.test_files import file_event
from tests.support.files import office, pdfs
from tests.support.files.made import PDF, XLSX
from tests.support.pipeline import Pipeline, make_event


def rows(pipeline: Pipeline, name: str, **values: Any) -> list[dict[str, Any]]:
    with pipeline.connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query(name), values).fetchall()


def noted(pipeline: Pipeline) -> dict[str, dict[str, Any]]:
    """Notes of the visible documents that have some."""
    listed = rows(
        pipeline,
        "list_documents",
        **{"source": "s", "document_id": None, "gone": False, "history": False, "limit": 10},
        **{"max_kept_ratio": None, "min_unknown_ratio": None, "noted": True},
    )
    return {row["document_id"]: row["notes"] for row in listed}


def test_wrong_media_types_can_be_asked_for(pipeline: Pipeline) -> None:
    """Per version, with what was stated; and how many, in the ledger."""
    manual, levels = pdfs.pages(1), office.workbook()
    pipeline.ingest(
        file_event("manual", manual, "text/html"),
        file_event("levels", levels, PDF),
        file_event("right", pdfs.pages(2), PDF),
        make_event("text", 1, "Some text."),
    )
    assert noted(pipeline) == {"manual": {"read_as": PDF}, "levels": {"read_as": XLSX}}
    (batch,) = rows(pipeline, "list_batches", source="s", limit=1)
    assert batch["notes"] == {"read_as": 2}
    report = pipeline.ingest(file_event("manual", manual, PDF, version=2))
    assert (report.applied, report.texts_embedded) == (1, 0)
    assert set(noted(pipeline)) == {"levels"}
    versions = rows(pipeline, "lineage_versions", document_id="manual", source="s")
    said = [(version["content_type"], version["notes"]) for version in versions]
    assert said == [(PDF, {}), ("text/html", {"read_as": PDF})]
