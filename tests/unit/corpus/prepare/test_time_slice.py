"""What a slice of time keeps for the next one."""

import pytest

from corpus.clean.blocks import CleaningFailure
from corpus.clean.cleaner import clean_text
from corpus.dead_letter import DeadLetterReason
from corpus.embed.tokenizer import load_tokenizer
from corpus.preparation import PreparationSpec
from corpus.prepare.divide import Divide
from corpus.prepare.time_slice import (
    SliceOver,
    TimeSlice,
    read_results,
    result_key,
    results_frame,
)
from tests.support.fakes import MODEL

TEXT = (
    """---
title: Weir
---
# Weir ᚠ

| Gate | Level |
| --- | --- |
"""
    + "| north | 1 cm |\n" * 90
)
FAILURE = CleaningFailure(DeadLetterReason.CLEANING_TIMEOUT, "too slow")


def test_results_come_back_as_they_were() -> None:
    divide = Divide(load_tokenizer(MODEL), PreparationSpec(), "headings", "Title")
    divided = divide(clean_text(TEXT, "markdown"))
    results = {"one": divided, "other": FAILURE}
    assert read_results(results_frame(results)) == results


def test_a_slice_ends_behind_a_document_and_never_without_one() -> None:
    part = TimeSlice({"before": FAILURE}, seconds=0)
    part.check()
    part.add("new", FAILURE)
    with pytest.raises(SliceOver):
        part.check()
    assert list(part.results) == ["before", "new"]


def test_a_slice_with_time_left_continues() -> None:
    part = TimeSlice({}, seconds=60)
    part.add("new", FAILURE)
    part.check()


def test_whatever_decides_a_result_is_in_its_key() -> None:
    keys = {
        result_key("t", 0, 1),
        result_key("t", 0, 11),
        result_key("t", 0, None),
        result_key("t", 0, b"1"),
        result_key("t0", 1),
    }
    assert len(keys) == 5
