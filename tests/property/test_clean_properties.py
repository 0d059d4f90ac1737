"""Cleaning is idempotent and loses no visible letter."""

from hypothesis import given
from hypothesis import strategies as st

from corpus.clean.cleaner import clean_text
from corpus.clean.html import clean_html
from corpus.clean.normalise import normalise

# Characters with a meaning to the cleaner, more often than chance would bring them.
NASTY = "\r\n\t \b\x00\x0b\x0c\x7f\x85\xa0\xad\u0301\u0316\u0344\u05b8\u0915\u094d\u200b\u200c\u200d\u200e\u2028\u202e\u3000\ufe0f\ufeff\ufffd_aAe1#<>&-`=|:*."
NASTY += "\U0001f3f4\U0001f600\U000e0067\U000e0062\U000e007f\U000e0168\ud83d\ude00\u8fbb\uf900"
texts = st.text(st.one_of(st.sampled_from(NASTY), st.characters()), max_size=60)


@given(texts)
def test_normalise_is_idempotent(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once


@given(st.lists(texts, max_size=8).map("\n".join), st.sampled_from(["plain", "rst", "markdown"]))
def test_blocks_tile_the_cleaned_text(text: str, text_format: str) -> None:
    document = clean_text(text, text_format)
    document.text.encode()  # storable
    end = 0
    for block in document.blocks:
        assert not document.text[end : block.start].strip()
        assert end <= block.start < block.end
        assert document.text[block.start : block.end].strip()
        end = block.end
    assert not document.text[end:].strip()


@given(st.text(st.characters(categories=["L", "N", "P", "Zs"]), max_size=80))
def test_no_letter_of_ordinary_text_is_lost(text: str) -> None:
    letters = [character for character in normalise(text) if character.isalnum()]
    assert letters == [
        character
        for character in normalise("".join(filter(str.isalnum, text)))
        if character.isalnum()
    ]


fragments = st.sampled_from(
    [
        "<p>",
        "</p>",
        "<div hidden>",
        "</div>",
        "<li>",
        "<table><tr><td>",
        "</table>",
        "<h2>",
        "<pre>",
        "</pre>",
        "<br>",
        "&amp;",
        "<!--",
        "-->",
        "<b>",
        "</i>",
    ]
)


@given(st.lists(st.one_of(fragments, texts), max_size=20).map("".join), st.booleans())
def test_any_markup_gives_tiled_blocks(content: str, main: bool) -> None:
    document = clean_html(content, main=main, max_nesting=512)
    assert "".join(document.text.split()) == "".join(
        "".join(document.text[block.start : block.end].split()) for block in document.blocks
    )
