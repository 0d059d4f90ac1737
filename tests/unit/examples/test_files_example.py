"""The example of files: each becomes an event whose chunks name the page."""

import json
from pathlib import Path

from corpus.clean.blocks import CleanedDocument
from corpus.clean.cleaner import Cleaner, RawDocument
from examples.files.events import events
from ingest.decode.decoder import decode
from ingest.event import ChangeEvent, KafkaRecord
from tests.support.files import office, pdfs, word
from tests.support.files.made import words
from workers.config.file import load

CONFIGURATION = Path("examples/files/freshet.toml")


def test_each_file_of_a_folder_becomes_a_document(tmp_path: Path) -> None:
    (tmp_path / "report.docx").write_bytes(word.report())
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "levels.xlsx").write_bytes(office.workbook())
    (tmp_path / "a" / "manual").write_bytes(pdfs.pages(2))
    (spec,) = load(CONFIGURATION).sources
    decoded = [
        decode(
            KafkaRecord(
                topic="files",
                partition=0,
                offset=0,
                timestamp_ms=1,
                key=None,
                value=json.dumps(event).encode(),
            ),
            spec,
        )
        for event in events(tmp_path)
    ]
    changes = [each for each in decoded if isinstance(each, ChangeEvent)]
    ids = [change.document_id for change in changes]
    assert ids == ["a/levels.xlsx", "a/manual", "report.docx"]
    raw = [RawDocument(change.content or "", change.content_type) for change in changes]
    with Cleaner() as cleaner:
        documents = cleaner.clean(raw, spec.pipeline)
    expected = [
        ("sheet Levels", words("row", 1, first=1)),
        ("page 2", words("page2x", 6)),
        ("Reach chapterkakaka", words("prose", 4)),
    ]
    for document, (heading, some) in zip(documents, expected, strict=True):
        assert isinstance(document, CleanedDocument), document
        assert heading in document.text
        assert all(word in document.text for word in some)
