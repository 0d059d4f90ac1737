"""The cleaner: formats, order, limits, processes that can be killed."""

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import pytest

from corpus.clean.blocks import CleanedDocument, CleaningFailure
from corpus.clean.cleaner import Cleaned, Cleaner, RawDocument, clean_text, format_of
from corpus.dead_letter import DeadLetterReason
from corpus.limits.fair_queue import QueuedBatch
from corpus.preparation import PreparationSpec

PROSE = "<p>Reservoir levels rose after the spring melt.</p>"
# A parser compares each of an element's 400,000 attributes with all before it.
SLOW_HTML = "<p " + " ".join(f"a{number}=1" for number in range(400_000)) + ">x"
# Every line continues a paragraph in each of twenty quotes, and each quote looks at it.
SLOW_MARKDOWN = ">" * 20 + "a\n" + "a\n" * 200_000


@pytest.fixture(scope="module")
def cleaner() -> Iterator[Cleaner]:
    with Cleaner() as made:
        # The processes run, so that a test's time limit is not spent on their start.
        made.clean([RawDocument("x", "text/markdown")], PreparationSpec())
        yield made


def words(cleaned: Cleaned) -> str:
    """A text, or the reason why there is none."""
    if isinstance(cleaned, CleaningFailure):
        return cleaned.reason.value
    return cleaned.text


@pytest.mark.parametrize(
    ("content_type", "text_format"),
    [
        (None, "plain"),
        ("TEXT/HTML; Charset=UTF-8", "html"),
        ("text/x-rst", "rst"),
        ("text/csv", "csv"),
        ("application/xhtml+xml", "html"),
        (" \t", "plain"),
        ("text/markdown;variant=GFM", "markdown"),
        ("text/x-Markdown ; charset=utf-8", "markdown"),
        ("text/prs.fallenstein.rst", "rst"),
    ],
)
def test_media_types(content_type: str | None, text_format: str) -> None:
    assert format_of(content_type, PreparationSpec()) == text_format


def test_unknown_media_type_is_refused_or_taken_as_text() -> None:
    refused = format_of("image/png", PreparationSpec())
    assert isinstance(refused, CleaningFailure)
    assert refused.reason is DeadLetterReason.UNSUPPORTED_CONTENT
    assert "image/png" in refused.detail
    assert (
        format_of("application/x-sluice", PreparationSpec(unknown_content_type="text")) == "plain"
    )
    assert format_of("image/png", PreparationSpec(content_type="text/markdown")) == "markdown"


@pytest.mark.parametrize("content_type", ["text", "text/", "/html", "text/html x", "\u0130/x", ";"])
def test_what_is_no_media_type_is_refused(content_type: str) -> None:
    assert isinstance(format_of(content_type, PreparationSpec()), CleaningFailure)


def test_a_refused_type_is_named_shortly() -> None:
    refused = format_of("x/" + "y" * 10_000, PreparationSpec())
    assert isinstance(refused, CleaningFailure)
    assert len(refused.detail) < 300


def test_results_are_in_order_and_failures_have_reasons(cleaner: Cleaner) -> None:
    documents = [
        RawDocument(PROSE, "text/html"),
        RawDocument("x" * 1_001, "text/plain"),
        RawDocument("plain", None),
        RawDocument("?", "application/pdf"),
        RawDocument(" \n", "text/plain"),
        RawDocument("# mark", "text/markdown"),
        RawDocument("<p>two</p>", "text/html"),
        RawDocument("T\n=", "text/x-rst"),
    ]
    results = cleaner.clean(documents, PreparationSpec(max_document_bytes=1_000))
    assert [words(result) for result in results] == [
        "Reservoir levels rose after the spring melt.",
        "too_large",
        "plain",
        "unsupported_content",
        "",
        "# mark",
        "two",
        "T\n=",
    ]


def test_no_document_needs_no_process() -> None:
    with Cleaner() as cleaner:
        assert cleaner.clean([], PreparationSpec()) == []
        refused = cleaner.clean([RawDocument("x", "image/png")], PreparationSpec())
        assert words(refused[0]) == "unsupported_content"
        assert cleaner._processes._idle == []


def test_plain_text_is_read_in_a_process_too(cleaner: Cleaner) -> None:
    documents = [RawDocument("x")]
    assert cleaner.clean(documents, PreparationSpec()) == [clean_text("x", "plain")]
    steps = [WhereItRuns()]
    (pid,) = cleaner.clean_then(documents, PreparationSpec(), steps, QueuedBatch("s", 1, 1))
    assert pid != os.getpid()


@dataclass(frozen=True)
class WhereItRuns:
    results: ClassVar[tuple[type, ...]] = (int,)

    def __call__(self, _document: CleanedDocument) -> int:
        return os.getpid()


@pytest.mark.parametrize(
    ("content", "size"),
    [("x" * 12, 12), ("é" * 6, 12), ("\U0001f600" * 3, 12), ("\ud83d" * 4, 12)],
)
def test_the_limit_counts_bytes(content: str, size: int) -> None:
    with Cleaner() as cleaner:
        at_limit = PreparationSpec(max_document_bytes=size)
        below = PreparationSpec(max_document_bytes=size - 1)
        (accepted,) = cleaner.clean([RawDocument(content)], at_limit)
        (refused,) = cleaner.clean([RawDocument(content)], below)
    assert isinstance(accepted, CleanedDocument)
    assert isinstance(refused, CleaningFailure)
    assert f"{size} bytes" in refused.detail


@pytest.mark.parametrize(
    ("slow", "content_type"),
    [(SLOW_HTML, "text/html"), (SLOW_MARKDOWN, "text/markdown")],
    ids=["html", "markdown"],
)
def test_a_slow_document_is_given_up_alone(cleaner: Cleaner, slow: str, content_type: str) -> None:
    documents = [
        RawDocument("before", content_type),
        RawDocument(slow, content_type),
        RawDocument("after", content_type),
    ]
    before, given_up, after = cleaner.clean(documents, PreparationSpec(clean_timeout_seconds=1.0))
    assert isinstance(given_up, CleaningFailure)
    assert given_up.reason is DeadLetterReason.CLEANING_TIMEOUT
    assert "clean_timeout = 1s" in given_up.detail
    assert (words(before), words(after)) == ("before", "after")


def test_many_threads_share_one_cleaner(cleaner: Cleaner) -> None:
    results: dict[int, list[Cleaned]] = {}

    def clean(number: int) -> None:
        documents = [RawDocument(f"# {number} {n}", "text/markdown") for n in range(40)]
        results[number] = cleaner.clean(documents, PreparationSpec())

    threads = [threading.Thread(target=clean, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for number in range(4):
        assert [words(result) for result in results[number]] == [
            f"# {number} {n}" for n in range(40)
        ]


def test_a_closed_cleaner_starts_again() -> None:
    cleaner = Cleaner()
    cleaner.close()
    document = RawDocument("# a", "text/markdown")
    try:
        assert words(cleaner.clean([document], PreparationSpec())[0]) == "# a"
        cleaner.close()
        assert words(cleaner.clean([document], PreparationSpec())[0]) == "# a"
    finally:
        cleaner.close()
