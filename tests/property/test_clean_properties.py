"""Cleaning is idempotent, its blocks hold all of the text once and in order, and only named rules lose text."""

import re
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.clean.cleaner import clean_text
from corpus.clean.html import clean_html
from corpus.clean.html_depth import nests_deeper, strip_tags
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
