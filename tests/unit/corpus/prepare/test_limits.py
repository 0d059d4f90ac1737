"""Cleaning and splitting share the limits of a document, in every format."""

import time
from collections.abc import Iterator

import pytest

from corpus.clean.blocks import CleaningFailure
from corpus.clean.cleaner import Cleaner, RawDocument
from corpus.dead_letter import DeadLetterReason
from corpus.embed.tokenizer import load_tokenizer
from corpus.limits.fair_queue import QueuedBatch
from corpus.preparation import PreparationSpec
from corpus.prepare import divide
from corpus.prepare.divide import Divide, DividedDocument
from tests.support.fakes import MODEL

LIMIT_SECONDS = 1.0
SPEC = PreparationSpec(clean_timeout_seconds=LIMIT_SECONDS)
# Each takes several times the limit on an idle core: in its parser, or where its text is split.
SLOW = {
    "html: attributes": ("text/html", "<p " + " ".join(f"a{n}=1" for n in range(400_000)) + ">x"),
    "html: elements": ("text/html", "<p>Weir <b>one</b>, gate <i>two</i>.</p>" * 150_000),
    "markdown: quotes": ("text/markdown", ">" * 20 + "a\n" + "a\n" * 200_000),
    "markdown: brackets": ("text/markdown", "[a](b) **c** <d> `e` " * 100_000),
    "markdown: headings": ("text/markdown", "# a\n" * 400_000),
    "markdown: list": ("text/markdown", "".join(" " * (n % 40) + "- a\n" for n in range(200_000))),
    "rst: marks": ("text/x-rst", "*a* `b`_ **c** ``d`` |e|_ :f:`g` " * 100_000),
    "rst: table": ("text/x-rst", "+---+---+\n| a | b |\n" * 200_000),
    "plain: no spaces": ("text/plain", "\u6c34" * 2_000_000),
    "plain: marks": ("text/plain", ".,;:!?" * 400_000),
    "plain: lines": ("text/plain", "- a\n" * 700_000),
}


@pytest.fixture(scope="module")
def cleaner() -> Iterator[Cleaner]:
    with Cleaner(preload=[divide.__name__]) as made:
        yield made


def divided(
    cleaner: Cleaner, text: str, content_type: str, spec: PreparationSpec
) -> DividedDocument | CleaningFailure:
    steps = [Divide(load_tokenizer(MODEL), spec, "none")]
    documents = [RawDocument(text, content_type)]
    (result,) = cleaner.clean_then(documents, spec, steps, QueuedBatch("s", 1, 1))
    return result


@pytest.mark.parametrize("name", SLOW)
def test_a_slow_document_of_any_format_is_given_up_in_time(cleaner: Cleaner, name: str) -> None:
    content_type, slow = SLOW[name]
    quick = divided(cleaner, "quick", content_type, PreparationSpec())
    assert isinstance(quick, DividedDocument)
    assert [chunk.text for chunk in quick.chunks] == ["quick"]
    started = time.monotonic()
    given_up = divided(cleaner, slow, content_type, SPEC)
    assert time.monotonic() - started < LIMIT_SECONDS + 2
    detail = "cleaning and splitting took longer than clean_timeout = 1s"
    assert given_up == CleaningFailure(DeadLetterReason.CLEANING_TIMEOUT, detail)
