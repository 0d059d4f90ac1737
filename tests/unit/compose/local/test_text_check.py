"""The check of `freshet doctor` on what models know of their sources."""

import pytest

from compose.local.checks import CheckFailedError
from compose.local.text_check import SourceText, judge_texts


def text(source: str, unknown: int, ratio: float) -> SourceText:
    return SourceText(
        source=source,
        model="all-MiniLM-L6-v2",
        documents=100,
        unknown=unknown,
        max_unknown_ratio=0.05,
        unknown_ratio=ratio,
        tokens_per_character=0.25,
    )


def test_a_source_that_its_model_does_not_know_is_named() -> None:
    with pytest.raises(CheckFailedError) as failed:
        judge_texts([text("manual", 0, 0.0), text("thai", 100, 0.98)])
    assert str(failed.value) == (
        "thai: 98.0% of the characters unknown to all-MiniLM-L6-v2, "
        "in 100 of 100 documents more than 5%; 0.25 tokens per character"
    )


def test_a_few_documents_are_no_warning_but_are_counted() -> None:
    assert "in 5 of 100 documents" in judge_texts([text("code", 5, 0.002)])
    with pytest.raises(CheckFailedError):
        judge_texts([text("code", 6, 0.002)])


def test_the_least_known_sources_come_first_and_the_rest_is_counted() -> None:
    described = judge_texts([text(f"s{n}", 0, n / 1000) for n in range(8)])
    assert described.startswith("s7: 0.7%")
    assert described.endswith("; 3 more")


def test_without_documents_there_is_nothing_to_say() -> None:
    assert judge_texts([]) == "no document yet"
