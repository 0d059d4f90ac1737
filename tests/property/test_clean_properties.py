"""Cleaning is idempotent, its blocks hold all of the text once and in order, and only named rules lose text."""

import re
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it.token import Token

from corpus.clean.account import AccountBuilder, visible_length
from corpus.clean.cleaner import clean_text
from corpus.clean.html import clean_html
from corpus.clean.html_depth import nests_deeper, strip_tags
from corpus.clean.markdown.rules import try_rules_by_first_character
from corpus.clean.markdown.structure import make_parser
from corpus.clean.normalise import normalise

# Characters with a meaning to the cleaner, more often than chance would bring them.
NASTY = (
    "\r\n\t \b\x00\x0b\x0c\x7f\x85\xa0\xad\u0301\u0316\u0344\u05b8\u0915\u094d\u200b\u200c\u200d"
    "\u200e\u2028\u202e\u3000\ufe0f\ufeff\ufffd_aAe1#<>&-`=|:*."
    "\U0001f3f4\U0001f600\U000e0067\U000e0062\U000e007f\U000e0168\ud83d\ude00\u8fbb\uf900"
)
texts = st.text(st.one_of(st.sampled_from(NASTY), st.characters()), max_size=60)

_MARKDOWN = [
    *("", " ", "    ", "\t", "> ", "- ", "1. ", "[^1]: ", "[a]: ", "\\", "| ", "a | b", "-|-"),
    *("word", "other words", "# ", "## T ##", "===", "---", "***", "```", "~~~", "`", "``", "`c`"),
    *(
        "<!--",
        "-->",
        "<!-- x -->",
        "<script>",
        "</script>",
        "<style>",
        "</style>",
        "<div>",
        "<pre>",
    ),
    *("<?", "<!A", "<![CDATA[", "a:", "...", "+++", "[", "]", "!", "<a b='", "</pre>"),
]
markdown_lines = st.lists(st.sampled_from(_MARKDOWN), max_size=6).map("".join)
markdown = st.lists(markdown_lines, max_size=14).map("\n".join)

_HTML = [
    *("<p>", "</p>", "<div hidden>", "<div>", "</div>", "<li>", "<ul>", "</ul>", "<h2>", "</h2>"),
    *("<table><tr><td>", "<td>", "</table>", "<pre>", "</pre>", "<br>", "&amp;", "&lt;", "<!--"),
    *("-->", "<b>", "</i>", "<nav>", "<main>", "</main>", "<script>", "</script>", "<noscript>"),
]
html = st.lists(st.one_of(st.sampled_from(_HTML), texts), max_size=20).map("".join)


def solid(text: str) -> str:
    """A text without its white space."""
    return "".join(text.split())


def is_subsequence(part: Iterable[str], whole: Iterable[str]) -> bool:
    remaining = iter(whole)
    return all(character in remaining for character in part)


def assert_blocks_hold_the_text(text: str, document_format: str) -> None:
    document = clean_text(text, document_format)
    document.text.encode()  # can be stored
    end = 0
    for block in document.blocks:
        assert not document.text[end : block.start].strip()
        assert end <= block.start < block.end
        assert document.text[block.start : block.end].strip()
        assert (block.level > 0) == (block.kind.value == "heading")
        end = block.end
    assert not document.text[end:].strip()


@given(texts)
def test_normalise_is_idempotent(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once


@given(st.lists(texts, max_size=8).map("\n".join), st.sampled_from(["plain", "rst", "markdown"]))
def test_blocks_hold_the_cleaned_text_once_and_in_order(text: str, text_format: str) -> None:
    assert_blocks_hold_the_text(text, text_format)


@given(markdown, st.sampled_from(["plain", "rst", "markdown"]))
@settings(max_examples=300)
def test_blocks_hold_markup_once_and_in_order(text: str, text_format: str) -> None:
    assert_blocks_hold_the_text(text, text_format)


@given(markdown)
@settings(max_examples=300)
def test_markdown_loses_nothing_but_front_matter_comments_scripts_and_styles(text: str) -> None:
    received = normalise(text)
    cleaned = clean_text(text, "markdown").text
    assert is_subsequence(solid(cleaned), solid(received))
    may_lose = re.search(r"<!--|<script|<style|^(---|\+\+\+)\n", received)
    if may_lose is None:
        assert cleaned == received


@given(markdown)
@settings(max_examples=300)
def test_what_stands_after_a_block_of_code_is_not_taken_for_it(text: str) -> None:
    code = "```\n<!-- kept -->\n<script>kept()</script>\n```"
    cleaned = clean_text(f"{code}\n\n{text}", "markdown").text
    assert cleaned.startswith(code)


@given(markdown, st.lists(st.sampled_from(["word", "`<!-- kept -->`", "\\<!--"])).map(" ".join))
@settings(max_examples=300)
def test_a_paragraph_in_front_is_the_same_whatever_follows(text: str, paragraph: str) -> None:
    paragraph = f"first {paragraph}".strip()
    cleaned = clean_text(f"{paragraph}\n\n{text}", "markdown")
    assert cleaned.text.startswith(paragraph)
    assert cleaned.text[: cleaned.blocks[0].end] == paragraph


@given(st.text(st.characters(categories=["L", "N", "P", "Zs"]), max_size=80))
def test_no_letter_of_ordinary_text_is_lost(text: str) -> None:
    def letters(content: str) -> list[str]:
        return [character for character in normalise(content) if character.isalnum()]

    assert letters(text) == letters("".join(filter(str.isalnum, text)))


@given(html, st.booleans())
def test_blocks_hold_the_text_of_any_page(content: str, main: bool) -> None:
    document = clean_html(content, main=main, max_nesting=512)
    shown = [document.text[block.start : block.end] for block in document.blocks]
    assert solid(document.text) == solid("".join(shown))
    assert normalise(document.text) == document.text


@given(html)
def test_the_main_part_is_a_part_of_the_page(content: str) -> None:
    everything = clean_html(content, main=False, max_nesting=512).text
    main = clean_html(content, main=True, max_nesting=512).text
    assert is_subsequence(solid(main), solid(everything))


@given(html, st.integers(0, 40))
def test_a_lower_limit_is_exceeded_as_well(content: str, limit: int) -> None:
    if nests_deeper(content, limit + 1):
        assert nests_deeper(content, limit)


@given(st.text("ab <>/!-p", max_size=60))
def test_stripping_tags_keeps_what_is_between_them(content: str) -> None:
    kept = solid(strip_tags(content))
    assert is_subsequence(kept, solid(content))


# The account


_RST = [
    *(
        "",
        " ",
        "   ",
        "      ",
        "- ",
        "1. ",
        ".. ",
        "..",
        ".. [1] ",
        ".. _a: b",
        ".. |s| replace:: x",
    ),
    *(
        "word",
        "a_",
        "a__",
        "`a`",
        "`a <b>`_",
        "``l``",
        "``",
        "`",
        ":func:`f`",
        ":pep:`8`",
        "|s|",
        "|t|",
    ),
    *("::", "=====", "---", "~~~", "====", "== ==", "+--+", "| a |", ">>> 1", "> q", "\\", "\\ "),
    *(".. note::", ".. note:: n", ".. code:: c", ":opt: v", ":alt: v", ".. raw:: html", "<b>r</b>"),
    *(".. toctree::", ".. image:: i", ".. class:: c", ".. csv-table:: t", ".. math:: m", "水 门"),
    *("\ufffd", "data:a/b;base64," + "QmFzZTY0" * 30, "[1]_", "__ x", ":orphan:", "*e*"),
]
rst = st.lists(st.lists(st.sampled_from(_RST), max_size=5).map("".join), max_size=14).map("\n".join)


@given(st.one_of(texts, markdown, rst), st.sampled_from(["plain", "rst", "markdown"]))
@settings(max_examples=500, deadline=None)
def test_kept_and_dropped_are_all_that_came_in(text: str, text_format: str) -> None:
    account = AccountBuilder()
    received = normalise(text, account)
    seen = clean_text(text, text_format).account
    assert seen.received == visible_length(received) + account.finish(0).received


@given(st.one_of(markdown, rst), st.sampled_from(["plain", "rst", "markdown"]))
@settings(max_examples=500, deadline=None)
def test_what_is_not_dropped_comes_out_once_and_in_order(text: str, text_format: str) -> None:
    document = clean_text(text, text_format)
    kept, account = solid(document.text), document.account
    if account.kept == len(kept):  # the cleaner added nothing
        assert is_subsequence(kept, solid(normalise(text)))
    assert account.kept <= len(kept)
    assert_blocks_hold_the_text(text, text_format)


words = st.lists(
    st.sampled_from(["gate", "weir", "水门", "é", "level_2", "3.5", "it's", "a-b"]), min_size=1
)
paragraphs = st.lists(words.map(" ".join), min_size=1, max_size=6)


@given(paragraphs, st.sampled_from(["plain", "rst", "markdown"]))
def test_prose_is_kept_to_the_letter(prose: list[str], text_format: str) -> None:
    text = "\n\n".join(prose)
    document = clean_text(text, text_format)
    assert document.text == text
    assert document.account.dropped == ()


@given(markdown)
@settings(max_examples=300)
def test_rules_by_first_character_find_the_blocks_of_markdown_it(text: str) -> None:
    chosen, all_rules = try_rules_by_first_character(make_parser()), make_parser()
    tokens: list[list[Token]] = [[], []]
    for parser, found in zip((chosen, all_rules), tokens, strict=True):
        parser.block.parse(text, parser, {}, found)
    assert tokens[0] == tokens[1]
