"""Files from the record to what readers find: pages that are cited, and dead letters with the reason."""

import base64

from corpus.dead_letter import DeadLetterReason
from tests.support.files import office, pdfs, texts
from tests.support.files.all import made
from tests.support.files.made import MAIL, PDF, words
from tests.support.pipeline import Event, Pipeline, make_event


def file_event(document_id: str, content: bytes, content_type: str, version: int = 1) -> Event:
    encoded = base64.b64encode(content).decode()
    return make_event(document_id, version, content_type=content_type, content_base64=encoded)


def test_a_hit_cites_the_page_of_its_file(pipeline: Pipeline) -> None:
    long_pages = pdfs.pages(3, per_page=200)
    report = pipeline.ingest(
        file_event("manual", long_pages, PDF),
        file_event("levels", office.workbook(), "application/octet-stream"),
        file_event("letter", texts.with_attachments(), MAIL),
    )
    assert report.applied == 3
    (hit,) = pipeline.search(words("page2x", 1)[0], mode="text", k=1)
    assert (hit.document_id, hit.heading) == ("manual", "page 2")
    hits = pipeline.search(words("notes", 1)[0], mode="text", k=1)
    assert [hit.document_id for hit in hits] == ["letter"]
    assert [hit.part and hit.part.name for hit in hits] == ["notes.txt"]


def test_another_file_with_the_same_text_embeds_nothing(pipeline: Pipeline) -> None:
    pipeline.ingest(file_event("manual", pdfs.pages(2), PDF))
    other = pdfs.pages(2) + b"\n%another file\n"
    report = pipeline.ingest(file_event("manual", other, PDF, version=2))
    assert (report.applied, report.texts_embedded) == (1, 0)
    assert words("page2x", 1)[0] in pipeline.visible()["manual"][1]


def test_what_cannot_be_read_is_a_dead_letter_with_its_bytes(pipeline: Pipeline) -> None:
    refused = ("scan.pdf", "password.pdf", "half.docx", "10000.pdf", "far.xlsx")
    files = [made(name) for name in refused]
    contents = [file.make() for file in files]
    events = [
        file_event(file.name, content, file.content_type)
        for file, content in zip(files, contents, strict=True)
    ]
    report = pipeline.ingest(*events, file_event("manual", pdfs.pages(1), PDF))
    assert (report.applied, report.dead_lettered) == (1, len(refused))
    letters = pipeline.connection.execute(
        "SELECT document_id, reason, detail, value FROM freshet.dead_letter ORDER BY record_offset"
    ).fetchall()
    assert [(name, reason) for name, reason, _, _ in letters] == [
        (file.name, file.reason) for file in files
    ]
    for file, content, (_, _, detail, value) in zip(files, contents, letters, strict=True):
        assert file.detail in detail
        assert base64.b64encode(content) in value
    assert set(pipeline.visible()) == {"manual"}


def test_a_file_replaced_by_a_scan_keeps_what_readers_see(pipeline: Pipeline) -> None:
    pipeline.ingest(file_event("manual", pdfs.pages(1), PDF))
    scan = made("scan.pdf").make()
    report = pipeline.ingest(file_event("manual", scan, PDF, version=2))
    assert report.dead_lettered == 1
    assert pipeline.visible()["manual"][0] == 1
    letters = pipeline.connection.execute("SELECT reason FROM freshet.dead_letter").fetchall()
    assert letters == [(DeadLetterReason.SCANNED,)]
