"""Plain text → paragraphs and list items."""

import pytest

from corpus.clean.cleaner import clean_text
from tests.support.blocks import kinds


@pytest.mark.parametrize("marker", ["-", "*", "+", "•", "1.", "12)", "#.", "[3]", ".. [note]"])
def test_list_items(marker: str) -> None:
    text = f"Intro\n{marker} one\n  more\n{marker} two"
    assert kinds(clean_text(text, "plain")) == [
        ("paragraph", 0, "Intro"),
        ("list_item", 0, f"{marker} one\n  more"),
        ("list_item", 0, f"{marker} two"),
    ]


@pytest.mark.parametrize("line", ["-", "-x", "1.x", "1234567890. x", "a - b", "--- x", "[ ] x"])
def test_no_list_item(line: str) -> None:
    assert kinds(clean_text(f"a\n{line}", "plain")) == [("paragraph", 0, f"a\n{line}")]


def test_paragraphs_end_at_blank_lines_and_lose_only_their_first_indentation() -> None:
    assert kinds(clean_text("  a\n  b\n \n\n\tc", "plain")) == [
        ("paragraph", 0, "a\n  b"),
        ("paragraph", 0, "c"),
    ]


def test_nothing_has_no_blocks() -> None:
    assert kinds(clean_text(" \n\t\n", "plain")) == []
