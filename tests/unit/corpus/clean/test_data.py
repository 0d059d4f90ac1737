"""Tables, JSON and source code: lines that keep their meaning, and every character counted."""

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.clean.account import DropRule, visible_length
from corpus.clean.blocks import BlockKind, CleanedDocument
from corpus.clean.cleaner import clean_text
from corpus.clean.normalise import normalise

CELLS = st.text(alphabet=st.sampled_from('ab1,;"\n é水'), max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet="ab é\n", max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", min_size=1), inner, max_size=3)
    ),
    max_leaves=12,
)


def only_block(document: CleanedDocument) -> tuple[BlockKind, str, str]:
    """Kind, text and header of a document's block."""
    (block,) = document.blocks
    header = document.text[block.header_start : block.header_end]
    return block.kind, document.text[block.start : block.end], header


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("gate,level\nA,7\nB,9", ["gate | level", "A | 7", "B | 9"]),
        ("gate;level\nA;7,5\nB;9,5", ["gate | level", "A | 7,5", "B | 9,5"]),
        ("gate|level\nA|7", ["gate | level", "A | 7"]),
        ('gate,note\nA,"one, two\nthree ""four"""', ["gate | note", 'A | one, two three "four"']),
        ("gate,level\n\nA,\n,9", ["gate | level", "A", " | 9"]),
    ],
)
def test_rows_become_lines_below_their_names(text: str, lines: list[str]) -> None:
    kind, shown, header = only_block(clean_text(text, "csv"))
    assert kind is BlockKind.TABLE
    assert shown.split("\n") == [line.strip() if line == lines[0] else line for line in lines]
    assert header == lines[0]


def test_a_block_begins_with_text() -> None:
    assert only_block(clean_text(",level\nA,7", "csv"))[1] == "| level\nA | 7"


def test_a_row_of_numbers_names_no_columns() -> None:
    assert only_block(clean_text("1,2\n3,4", "csv"))[2] == ""


def test_tabs_separate_whatever_the_cells_hold() -> None:
    assert only_block(clean_text("a,b\tc\n1,2\t3", "tsv"))[1] == "a,b | c\n1,2 | 3"


def test_json_becomes_names_and_values() -> None:
    text = (
        '{"weir": {"name": "Alp", "levels": [1.50, 12345678901234567890]}, "open": true, "n": null}'
    )
    document = clean_text(text, "json")
    assert document.text == (
        "weir:\n  name: Alp\n  levels:\n    - 1.50\n    - 12345678901234567890\n\nopen: true\n\nn: null"
    )
    assert {block.kind for block in document.blocks} == {BlockKind.CODE}


def test_a_name_that_is_there_twice_loses_no_value() -> None:
    assert clean_text('{"a": "one", "a": "two"}', "json").text == "a: one\n\na: two"


@pytest.mark.parametrize("text", ['{"a": ', "[" * 100_000, "no json", "{'a': 1}"])
def test_what_is_no_json_stays_as_it_is(text: str) -> None:
    assert clean_text(text, "json").text == text.rstrip()


def test_each_line_is_a_value() -> None:
    assert clean_text('{"a": 1}\n\n{"a": 2}\n', "json lines").text == "a: 1\n\na: 2"
    assert clean_text('{"a": 1}\nno', "json lines").text == '{"a": 1}\nno'


def test_code_keeps_its_indentation() -> None:
    text = "    if level > 3:\n        open_gate()\n\n\n    # **no** emphasis"
    assert only_block(clean_text(text, "code"))[:2] == (BlockKind.CODE, text)


@given(st.lists(st.lists(CELLS, min_size=1, max_size=4), max_size=6))
def test_every_cell_is_kept_and_the_rest_is_markup(rows: list[list[str]]) -> None:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    document = clean_text(out.getvalue(), "csv")
    account = document.account
    received = visible_length(normalise(out.getvalue()))
    assert account.received == received
    assert {rule for rule, _ in account.dropped} <= {DropRule.MARKUP}


@given(VALUES)
def test_every_name_and_value_is_in_the_text(value: Any) -> None:
    document = clean_text(json.dumps(value, ensure_ascii=False), "json")
    text = "".join(document.text.split())
    for expected in leaves(value):
        assert "".join(normalise(expected).split()) in text
    for before, after in zip(document.blocks, document.blocks[1:], strict=False):
        assert document.text[before.end : after.start].isspace()


def leaves(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for name, inner in value.items() for text in (name, *leaves(inner))]
    if isinstance(value, list):
        return [text for inner in value for text in leaves(inner)]
    return [value if isinstance(value, str) else json.dumps(value)]
