"""Scans are read where a source asks for it, in the confined process; what is not recognised is never silent."""

from collections.abc import Iterator

import pytest

from corpus.clean.blocks import BlockKind, CleanedDocument, CleaningFailure
from corpus.clean.cleaner import Cleaned, Cleaner, RawDocument
from corpus.dead_letter import DeadLetterReason
from corpus.preparation import PreparationSpec
from tests.support.files import pdfs
from tests.support.files.all import made
from tests.support.files.made import PDF

pytestmark = pytest.mark.timeout(300)

OFF = PreparationSpec(clean_timeout_seconds=120)
ENGLISH = PreparationSpec(clean_timeout_seconds=120, ocr="eng")
GAUGE = "The gauge at the northern sluice was read again at noon by the keeper of the canal."
PUMP = "A second pump stands behind the old mill; its valve must be opened before winter."


@pytest.fixture(scope="module")
def cleaner() -> Iterator[Cleaner]:
    with Cleaner() as cleaner:
        yield cleaner


def read(cleaner: Cleaner, content: bytes, spec: PreparationSpec = ENGLISH) -> Cleaned:
    (cleaned,) = cleaner.clean([RawDocument(content, PDF)], spec)
    return cleaned


def lines(document: Cleaned, kind: BlockKind) -> list[str]:
    assert isinstance(document, CleanedDocument), document
    blocks = [block for block in document.blocks if block.kind is kind]
    return [" ".join(document.text[block.start : block.end].split()) for block in blocks]


@pytest.mark.parametrize(("turn", "noise"), [(0, 0), (0.7, 12)], ids=["clean", "turned and noisy"])
def test_a_scan_is_read_page_by_page(cleaner: Cleaner, turn: float, noise: int) -> None:
    scan = pdfs.printed_scan(GAUGE, PUMP, turn=turn, noise=noise)
    document = read(cleaner, scan)
    assert lines(document, BlockKind.HEADING) == ["page 1", "page 2"]
    assert lines(document, BlockKind.PARAGRAPH) == [GAUGE, PUMP]


def test_the_account_says_what_was_recognised(cleaner: Cleaner) -> None:
    document = read(cleaner, pdfs.printed_scan(GAUGE, PUMP))
    assert isinstance(document, CleanedDocument), document
    account = document.account
    assert account.notes.recognised_pages == 2
    assert account.notes.recognised_characters == account.kept == account.received > 0


def test_only_pages_without_text_are_recognised(cleaner: Cleaner) -> None:
    document = read(cleaner, pdfs.typed_and_printed(GAUGE))
    assert isinstance(document, CleanedDocument), document
    assert GAUGE in " ".join(document.text.split())
    notes = document.account.notes
    assert notes.recognised_pages == 1
    assert 0 < notes.recognised_characters < document.account.kept
    assert document.account.dropped == ()


def test_without_the_setting_nothing_is_recognised_and_the_reason_names_it(
    cleaner: Cleaner,
) -> None:
    failure = read(cleaner, pdfs.printed_scan(GAUGE), OFF)
    assert isinstance(failure, CleaningFailure)
    assert failure.reason is DeadLetterReason.SCANNED
    assert 'pipeline.ocr = "eng"' in failure.detail


def test_a_picture_without_text_is_no_document(cleaner: Cleaner) -> None:
    failure = read(cleaner, made("scan.pdf").make())
    assert isinstance(failure, CleaningFailure)
    assert failure.reason is DeadLetterReason.SCANNED
    assert "none of its 2 pages" in failure.detail
    assert "ocr = 'eng'" in failure.detail


def test_a_page_that_gives_nothing_is_counted_as_not_read(cleaner: Cleaner) -> None:
    document = read(cleaner, made("partly.pdf").make())
    assert isinstance(document, CleanedDocument), document
    assert dict(document.account.dropped) == {"unread": 1_500}
    assert document.account.notes.recognised_pages == 0


def test_a_language_that_is_not_installed_is_named(cleaner: Cleaner) -> None:
    """Nothing of the document is published: its other pages would hide what is missing."""
    spec = PreparationSpec(clean_timeout_seconds=120, ocr="tlh")
    failure = read(cleaner, pdfs.typed_and_printed(GAUGE), spec)
    assert isinstance(failure, CleaningFailure)
    assert failure.reason is DeadLetterReason.SCANNED
    assert "ocr = 'tlh': this worker can recognise eng" in failure.detail
