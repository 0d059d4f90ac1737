"""reStructuredText → blocks."""

import pytest

from corpus.clean.cleaner import clean_text
from tests.support.blocks import kinds


def test_rst_structure() -> None:
    text = (
        "=====\nTitle\n=====\n\nIntro::\n\n    code 1\n\n      code 2\n\n"
        "Part\n----\n\n1. one\n2. two\n\n+---+---+\n| a | b |\n+---+---+\n"
    )
    assert kinds(clean_text(text, "rst")) == [
        ("heading", 1, "=====\nTitle\n====="),
        ("paragraph", 0, "Intro::"),
        ("code", 0, "    code 1\n\n      code 2"),
        ("heading", 2, "Part\n----"),
        ("list_item", 0, "1. one"),
        ("list_item", 0, "2. two"),
        ("table", 0, "+---+---+\n| a | b |\n+---+---+"),
    ]


def levels(text: str) -> list[tuple[str, int]]:
    blocks = kinds(clean_text(text, "rst"))
    return [(content, level) for kind, level, content in blocks if kind == "heading"]


def test_levels_follow_the_order_in_which_styles_appear() -> None:
    text = "A\n~~~\n\nB\n===\n\nC\n~~~\n\n===\nD\n===\n\nE\n---"
    assert levels(text) == [
        ("A\n~~~", 1),
        ("B\n===", 2),
        ("C\n~~~", 1),
        ("===\nD\n===", 3),
        ("E\n---", 4),
    ]


def test_a_seventh_style_is_of_level_six() -> None:
    text = "\n\n".join(f"T\n{mark * 3}" for mark in "=-~^\"'`")
    assert [level for _, level in levels(text)] == [1, 2, 3, 4, 5, 6, 6]


@pytest.mark.parametrize(
    "text",
    [
        "word\n\n---\n\nword",  # a transition
        "long title here\n---",  # too short an underline
        " indented\n---------",
        "---\n\n---",
        "text\nTitle\n=====",  # in the middle of a paragraph
        "===",
        "=====\nTitle\n---",  # over and under differ
    ],
)
def test_no_heading(text: str) -> None:
    assert levels(text) == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("x::\n\n  a\n\n\n  b\n\nend", ["  a\n\n\n  b"]),
        (".. code-block:: sh\n   :x: y\n\n   run\n\nend", ["   :x: y\n\n   run"]),
        ("  x::\n\n    a\n\n  b", ["    a"]),
        ("x::\n\nnot indented", []),
        ("x::", []),
        (".. note::\n\n   text", []),
        ("x::\n\n  Title\n  =====", ["  Title\n  ====="]),
        ("x::\n\n\ty", ["\ty"]),
    ],
)
def test_literal_blocks(text: str, code: list[str]) -> None:
    blocks = kinds(clean_text(text, "rst"))
    assert [content for kind, _, content in blocks if kind == "code"] == code


def test_a_table_holds_no_list_items() -> None:
    table = "=== ===\n- a b\n1. c\n=== ==="
    assert kinds(clean_text(table, "rst")) == [("table", 0, table)]
