"""`freshet lineage` says what a version was read as, and what of its text was recognised."""

from typing import Any

import pytest

from workers.cli.text_account import text_account

VERSION: dict[str, Any] = {
    "received_characters": 1_200,
    "kept_characters": 1_100,
    "dropped": {"hidden": 100},
    "tokens": 300,
    "unknown_tokens": 0,
    "unknown_characters": 0,
    "content_type": "text/html",
}
LINE = "1,100 of 1,200 characters kept, dropped by rule: hidden 100; 300 tokens"


@pytest.mark.parametrize(
    ("notes", "said"),
    [
        (None, ""),
        ({}, ""),
        ({"read_as": "application/pdf"}, "; read as application/pdf, stated text/html"),
        (
            {"recognised_pages": 2, "recognised_characters": 1_050},
            "; text recognised on 2 pages (1,050 characters)",
        ),
        ({"same_bytes": 1}, "; another address of its host gave the same bytes"),
    ],
)
def test_a_version_says_where_its_text_is_from(notes: dict[str, Any] | None, said: str) -> None:
    assert text_account(VERSION | {"notes": notes}) == LINE + said
