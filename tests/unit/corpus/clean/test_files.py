"""Files of each format, in processes with limits: all of their words, in their places; hostile ones with a reason."""

import random
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from corpus.clean.account import DropRule
from corpus.clean.blocks import BlockKind, CleanedDocument, CleaningFailure
from corpus.clean.cleaner import Cleaner, RawDocument
from corpus.dead_letter import DeadLetterReason
from corpus.embed.tokenizer import load_tokenizer
from corpus.limits.fair_queue import QueuedBatch
from corpus.preparation import PreparationSpec
from corpus.prepare.divide import Divide, DividedDocument
from tests.support.fakes import MODEL
from tests.support.files import office, pdfs, texts
from tests.support.files.all import FILES, made
from tests.support.files.judged import (
    DAMAGED_KINDS,
    REASONS_OF_DAMAGE,
    SPEC,
    cleaned,
    folded,
    judge,
    with_damage,
)
from tests.support.files.made import DOCX, MAIL, PDF, XLSX, MadeFile, words


@pytest.fixture(scope="module")
def cleaner() -> Iterator[Cleaner]:
    with Cleaner() as cleaner:
        cleaner.clean([RawDocument("The processes run.")], SPEC)
        yield cleaner


def read(cleaner: Cleaner, name: str) -> CleanedDocument:
    document = cleaned(cleaner, made(name))
    assert isinstance(document, CleanedDocument), document
    return document


@pytest.mark.parametrize("file", FILES, ids=[file.name for file in FILES])
def test_each_word_is_in_its_place_or_the_file_has_a_reason(
    cleaner: Cleaner, file: MadeFile
) -> None:
    judged = judge(cleaner, file)
    assert judged.is_right(file), judged


def test_there_are_files_of_every_kind() -> None:
    assert len(FILES) >= 60


def test_pages_are_headings_that_chunks_carry(cleaner: Cleaner) -> None:
    document = read(cleaner, "three.pdf")
    headings = [block for block in document.blocks if block.kind is BlockKind.HEADING]
    shown = [document.text[block.start : block.end] for block in headings]
    assert shown == ["page 1", "page 2", "page 3"]
    assert {block.level for block in headings} == {1}


def test_each_chunk_names_the_page_that_it_is_on(cleaner: Cleaner) -> None:
    content = pdfs.pages(3, per_page=200)
    step = Divide(load_tokenizer(MODEL), SPEC, "headings")
    batch = QueuedBatch("s", 1, 1)
    (divided,) = cleaner.clean_then([RawDocument(content, PDF)], SPEC, [step], batch)
    assert isinstance(divided, DividedDocument), divided
    assert len(divided.chunks) > 3
    for chunk in divided.chunks:
        pages = set(re.findall(r"page(\d)x", chunk.text))
        assert pages == {(chunk.heading or "")[-1:]}, chunk.heading


def test_what_is_added_is_not_counted_as_kept(cleaner: Cleaner) -> None:
    document = read(cleaner, "three.pdf")
    without_headings = document.text
    for number in (1, 2, 3):
        without_headings = without_headings.replace(f"page {number}\n", "")
    assert document.account.kept == len(folded(without_headings))
    assert document.account.dropped == ()


def test_a_page_that_is_a_picture_is_named_and_counted(cleaner: Cleaner) -> None:
    document = read(cleaner, "partly.pdf")
    assert "page 2\n\n[not read: a page without text]" in document.text
    assert dict(document.account.dropped) == {DropRule.UNREAD: 1_500}


@pytest.mark.parametrize(
    ("caption", "covered", "unread"),
    [
        ("Copy 0001 of the archive", 1.0, 3_000),
        ("Copy 0001 of the archive", 0.5, 0),
        ("The sluice at noon, seen from the northern bank of the canal", 1.0, 0),
    ],
    ids=["a scan with a stamp", "a picture", "a picture with a caption"],
)
def test_a_scan_with_a_stamp_is_not_read(
    cleaner: Cleaner, caption: str, covered: float, unread: int
) -> None:
    content = pdfs.pictures(caption, caption, covered=covered)
    (document,) = cleaner.clean([RawDocument(content, PDF)], SPEC)
    assert isinstance(document, CleanedDocument), document
    assert document.text.count(caption) == 2
    assert dict(document.account.dropped).get(DropRule.UNREAD, 0) == unread


def test_a_scan_is_refused_also_where_empty_documents_are_published(cleaner: Cleaner) -> None:
    spec = PreparationSpec(on_empty="publish")
    refused = cleaned(cleaner, made("scan.pdf"), spec)
    assert isinstance(refused, CleaningFailure)
    assert refused.reason is DeadLetterReason.SCANNED
    assert "none of its 2 pages has text" in refused.detail
    assert "OCR" in refused.detail


def test_hidden_sheets_and_comments_are_counted(cleaner: Cleaner) -> None:
    document = read(cleaner, "book.xlsx")
    hidden = words("unseen", 1) + words("comment", 1)
    assert dict(document.account.dropped) == {DropRule.HIDDEN: len("".join(hidden))}
    headers = [
        document.text[block.header_start : block.header_end]
        for block in document.blocks
        if block.header_end
    ]
    assert headers == [" | ".join(words("column", 3))]


def test_a_formula_that_no_reader_is_there_for_is_counted(cleaner: Cleaner) -> None:
    document = read(cleaner, "formula.docx")
    assert dict(document.account.dropped) == {DropRule.UNREAD: len(words("formula", 1)[0])}


@pytest.mark.parametrize(
    ("name", "limits", "detail"),
    [
        ("three.pdf", {"max_pages": 2}, "3 pages, more than max_pages = 2"),
        ("slides.pptx", {"max_pages": 4}, "5 slides, more than max_pages = 4"),
        ("book.xlsx", {"max_pages": 3}, "4 sheets, more than max_pages = 3"),
        ("book.epub", {"max_pages": 2}, "3 pages, more than max_pages = 2"),
        ("report.docx", {"max_unpacked_bytes": 9_999}, "more than max_unpacked_bytes = 9,999"),
        ("text.odt", {"max_unpacked_bytes": 9_999}, "more than max_unpacked_bytes = 9,999"),
        ("three.pdf", {"max_document_bytes": 100}, "more than max_document_bytes = 100"),
    ],
)
def test_each_limit_is_named(
    cleaner: Cleaner, name: str, limits: dict[str, int], detail: str
) -> None:
    refused = cleaned(cleaner, made(name), PreparationSpec(**limits))  # type: ignore[arg-type]
    assert isinstance(refused, CleaningFailure)
    assert refused.reason is DeadLetterReason.TOO_LARGE
    assert detail in refused.detail


@pytest.mark.parametrize("content_type", [PDF, DOCX, XLSX])
def test_a_text_that_is_sent_as_a_file_is_refused(cleaner: Cleaner, content_type: str) -> None:
    (refused,) = cleaner.clean([RawDocument("no file", content_type)], SPEC)
    assert isinstance(refused, CleaningFailure)
    assert refused.reason is DeadLetterReason.UNSUPPORTED_CONTENT
    assert "content_base64" in refused.detail


def test_a_mail_may_come_as_text(cleaner: Cleaner) -> None:
    content = texts.plain_mail().decode()
    (document,) = cleaner.clean([RawDocument(content, MAIL)], SPEC)
    assert isinstance(document, CleanedDocument)
    assert words("plain", 1)[0] in document.text


def test_damage_anywhere_ends_with_a_text_or_a_reason(cleaner: Cleaner) -> None:
    """Some of what the measurement `files` tries 600 of."""
    rng = random.Random(7)
    damaged: list[RawDocument] = []
    for name in DAMAGED_KINDS:
        whole, content_type = made(name).make(), made(name).content_type
        damaged += [RawDocument(with_damage(whole, rng), content_type) for _ in range(10)]
    results = cleaner.clean(damaged, SPEC)
    failures = [result for result in results if isinstance(result, CleaningFailure)]
    assert len(failures) > 10
    assert [each for each in failures if each.reason not in REASONS_OF_DAMAGE] == []


def test_what_a_damaged_file_holds_is_in_no_reason(cleaner: Cleaner) -> None:
    content = office.workbook().replace(b"xl/workbook.xml", b"xl/canary-4711.x")
    (refused,) = cleaner.clean([RawDocument(content, XLSX)], SPEC)
    assert isinstance(refused, CleaningFailure)
    assert "canary" not in refused.detail


def test_a_worker_imports_none_of_the_libraries() -> None:
    """What has a fault is only where it can reach nothing."""
    program = (
        "import sys, corpus.prepare.preparer, ingest.decode.decoder; "
        "sys.exit(any(name in sys.modules for name in "
        "('pypdfium2', 'mammoth', 'pptx', 'python_calamine', 'odfdo', 'lxml', 'puremagic')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
