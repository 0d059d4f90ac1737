"""What a file was read as is noted where another media type was stated."""

from collections.abc import Iterator

import pytest

from corpus.clean.account import Notes
from corpus.clean.blocks import CleanedDocument
from corpus.clean.cleaner import Cleaner, RawDocument
from corpus.clean.files.kinds import KINDS, MEDIA_TYPES, FileKind
from corpus.preparation import PreparationSpec
from tests.support.files.all import made
from tests.support.files.made import DOCX, MAIL, PDF


@pytest.fixture(scope="module")
def cleaner() -> Iterator[Cleaner]:
    with Cleaner() as cleaner:
        yield cleaner


def notes(
    cleaner: Cleaner, content: bytes, stated: str | None, spec: PreparationSpec | None = None
) -> Notes:
    raw = RawDocument(content, stated)
    (cleaned,) = cleaner.clean([raw], spec or PreparationSpec())
    assert isinstance(cleaned, CleanedDocument), cleaned
    return cleaned.account.notes


@pytest.mark.parametrize(
    "stated", [DOCX, "text/html", "text/plain; charset=utf-8", "application/json", MAIL]
)
def test_another_type_is_noted(cleaner: Cleaner, stated: str) -> None:
    assert notes(cleaner, made("three.pdf").make(), stated) == Notes(read_as=PDF)


def test_an_archive_is_looked_into(cleaner: Cleaner) -> None:
    book = made("book.epub").make()
    assert notes(cleaner, book, PDF) == Notes(read_as="application/epub+zip")
    assert notes(cleaner, book, "application/zip") == Notes()


@pytest.mark.parametrize(
    "stated",
    [None, "", "x", "application/octet-stream", "application/x-pdf", "Application/PDF; v=1"],
)
def test_what_is_right_or_says_nothing_is_not_noted(cleaner: Cleaner, stated: str | None) -> None:
    assert notes(cleaner, made("three.pdf").make(), stated) == Notes()


def test_the_type_of_the_source_counts_more(cleaner: Cleaner) -> None:
    spec = PreparationSpec(content_type="text/html")
    assert notes(cleaner, made("three.pdf").make(), PDF, spec) == Notes(read_as=PDF)


def test_every_kind_has_a_media_type() -> None:
    assert MEDIA_TYPES.keys() == set(FileKind)
    assert all(KINDS[name] is kind for kind, name in MEDIA_TYPES.items())
    assert MEDIA_TYPES[FileKind.PDF] == PDF
