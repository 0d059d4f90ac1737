"""Chunks cover the text, fit the model, and an edit is felt nearby only."""

from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.clean.cleaner import clean_text
from corpus.embed.tokenizer import load_tokenizer
from corpus.preparation import PreparationSpec
from corpus.split.splitter import split

TOKENIZER = load_tokenizer("all-MiniLM-L6-v2")
LIMIT = 48  # small, so that small documents have many chunks
SPEC = PreparationSpec(max_tokens=LIMIT, min_tokens=8)

WORDS = "weir gauge Sluice. melt, flow unbelievable 42 \u6c34\u95e8 caf\xe9 \U0001f600 \ufffd a.b.c e\u0301 x\u200dy"
words = st.sampled_from(WORDS.split())
paragraphs = st.lists(words, min_size=1, max_size=60).map(" ".join)
lines = st.one_of(
    paragraphs,
    st.sampled_from(["# One", "## Two", "- item", "```", "| a | b |", ""]),
    st.text(max_size=30),
)
documents = st.lists(lines, max_size=25).map("\n\n".join)


@given(documents, st.sampled_from(["plain", "markdown", "rst"]))
@settings(deadline=None)
def test_chunks_cover_the_text_and_fit(text: str, text_format: str) -> None:
    document = clean_text(text, text_format)
    chunks = split(document, TOKENIZER, SPEC)
    assert "".join(document.text.split()) == "".join(
        "".join(chunk.text.split()) for chunk in chunks
    )
    for chunk in chunks:
        assert document.text[chunk.start :].startswith(chunk.text)
        assert len(chunk.token_ids) + TOKENIZER.special_tokens <= LIMIT
        assert list(chunk.token_ids) == TOKENIZER.encode(chunk.text)[0]
    assert chunks == split(document, TOKENIZER, SPEC)


@given(st.lists(paragraphs, min_size=60, max_size=90, unique=True), st.integers(25, 35), paragraphs)
@settings(deadline=None, max_examples=40)
def test_an_edit_in_the_middle_is_felt_nearby_only(
    text: list[str], place: int, edited: str
) -> None:
    before = {
        chunk.text for chunk in split(clean_text("\n\n".join(text), "plain"), TOKENIZER, SPEC)
    }
    after = split(
        clean_text("\n\n".join([*text[:place], edited, *text[place + 1 :]]), "plain"),
        TOKENIZER,
        SPEC,
    )
    # Joins reach over spans of eight budgets on either side of the paragraph, whatever the document's length.
    assert len([chunk for chunk in after if chunk.text not in before]) <= 20
