"""Depth of HTML, and text without structure."""

import pytest

from corpus.clean.html import clean_html
from corpus.clean.html_depth import nests_deeper, strip_tags

PROSE = "<p>The gauging station at the weir recorded its highest flow.</p>"


@pytest.mark.parametrize(
    "markup",
    ["<div>" * 5_000, "<b><i>" * 3_000, "".join(f"<div><b a={number}>" for number in range(2_000))],
)
def test_deep_nesting_is_read_without_structure(markup: str) -> None:
    assert nests_deeper(markup, 512)
    document = clean_html(f"{markup}{PROSE}", main=True, max_nesting=512)
    assert "gauging station" in document.text
    assert "<" not in document.text


def test_sloppy_markup_is_not_deep() -> None:
    assert not nests_deeper("<p>one<li>two<br>" * 5_000 + "<div><span></div>" * 5_000, 512)
    assert not nests_deeper("<script>" + "'<div>'" * 5_000 + "</script>", 512)


@pytest.mark.parametrize(
    ("markup", "depth"),
    [
        ("<div>" * 5, 5),
        ("<div></div>" * 50, 1),
        ("<b>" * 5, 5),
        ("<b></b>" * 50, 1),
        ("</div>" * 50 + "<div>", 1),  # an end without a start ends nothing
        ("<div><section></div>" * 50, 2),  # an end ends all inside its element
        ("<p>" * 50, 0),
        ("<br>" * 50, 0),
        ("<x-y>" * 5, 5),
        ("<DIV>" * 3 + "</div>" * 3 + "<div>" * 2, 3),
    ],
)
def test_depth_is_counted(markup: str, depth: int) -> None:
    assert not nests_deeper(markup, depth)
    if depth:
        assert nests_deeper(markup, depth - 1)


def test_formatting_stays_open_when_its_block_ends() -> None:
    assert nests_deeper("<div><b></div>" * 20, 19)


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("a<b>b</b>c", "abc"),
        ("<p>a</p><p>b</p>", "\n\na\n\n\n\nb\n\n"),
        ("<script>x()</script>a &amp; b &lt;", "a & b <"),
        ("a<!-- b -->c", "ac"),
        ("a <!-- b", "a <!-- b"),
        ("a < b > c", "a < b > c"),
        ("<SCRIPT>x</script >y", "y"),
        ("<scripted>x", "x"),
    ],
)
def test_tags_are_stripped(markup: str, text: str) -> None:
    assert strip_tags(markup) == text
