"""Where texts are from: files under a wrong media type, and scans whose text is recognised, can be asked for."""

from dataclasses import replace
from typing import Any

import pytest
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


@pytest.mark.timeout(180)
def test_a_scan_is_searchable_where_its_source_recognises_text(pipeline: Pipeline) -> None:
    scan = pdfs.printed_scan("The gauge at the northern sluice was read again at noon.")
    report = pipeline.ingest(file_event("scan", scan, PDF))
    assert (report.applied, report.dead_lettered) == (0, 1)
    ((detail,),) = pipeline.connection.execute("SELECT detail FROM freshet.dead_letter").fetchall()
    assert 'pipeline.ocr = "eng"' in detail
    preparation = replace(pipeline.spec.pipeline, ocr="eng")
    pipeline.spec = replace(pipeline.spec, pipeline=preparation)
    pipeline.configure()
    report = pipeline.ingest(file_event("scan", scan, PDF, version=2))
    assert (report.applied, report.dead_lettered) == (1, 0)
    (hit,) = pipeline.search("northern sluice", mode="text", k=1)
    assert (hit.document_id, hit.heading) == ("scan", "page 1")
    characters = noted(pipeline)["scan"]["recognised_characters"]
    (batch,) = rows(pipeline, "list_batches", source="s", limit=1)
    assert batch["notes"] == {"recognised_pages": 1, "recognised_characters": characters}
