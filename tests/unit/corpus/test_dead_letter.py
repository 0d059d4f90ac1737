"""A dead letter's detail outside the database quotes nothing of the event, whatever the event holds."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.dead_letter import Quoting, without_quote
from ingest.decode.fields import shown

SECRET = "hunter2-canary"
PARTS = {
    "words": "Expecting value",
    "number": "17",
    "wanted": "text",
    "hex": "0000",
    "limit": "1,000",
    "name": "version",
}
# Texts that look like the words around them.
AROUND = [quoting.value.replace("{value}", "x") for quoting in Quoting]


@pytest.mark.parametrize("quoting", Quoting)
@settings(max_examples=40)
@given(before=st.sampled_from(["", *AROUND]), after=st.sampled_from(["", *AROUND]))
def test_no_quote_leaves_the_database(quoting: Quoting, before: str, after: str) -> None:
    value = shown(f"{before}{SECRET}{after}", 2_000)
    detail = quoting.detail(value=value, **PARTS)
    outside = without_quote(detail)
    assert SECRET in detail
    assert SECRET not in outside
    assert outside == quoting.detail(value="(a value)", **PARTS)


@pytest.mark.parametrize(
    "detail",
    ["id is blank", "cleaning and splitting took longer than clean_timeout = 20s", ""],
)
def test_what_quotes_nothing_stays(detail: str) -> None:
    assert without_quote(detail) == detail
