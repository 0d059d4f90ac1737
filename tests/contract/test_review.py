"""The document of what a reviewer opens first has every check, and each of its lines names a test."""

import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).resolve().parents[1] / "SECURITY.md").read_text(encoding="utf-8")
ROWS = [line for line in TEXT.splitlines() if re.match(r"\| (\*\*|\|)", line)]


def test_no_check_is_missing() -> None:
    assert re.findall(r"^\| \*\*([A-Z])\. ", TEXT, flags=re.MULTILINE) == list("ABCDEFGHIJKL")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[:60])
def test_a_line_names_a_test(row: str) -> None:
    shown = row.split(" | ")[-1]
    assert re.search(r"`test_\w+`|`tests/[\w/]+\.py`", shown)
