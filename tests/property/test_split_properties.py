"""Chunks cover the text, fit the model, and an edit is felt nearby only."""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.chunk import Chunk
from corpus.clean.blocks import BlockKind, CleanedDocument
from corpus.clean.cleaner import clean_text
from corpus.clean.html import clean_html
from corpus.embed.tokenizer import load_tokenizer
from corpus.preparation import Context, PreparationSpec
from corpus.split.splitter import split
from corpus.split.token_map import map_tokens

TOKENIZER = load_tokenizer("all-MiniLM-L6-v2")
LIMIT = 48  # small, so that small documents have many chunks
SPEC = PreparationSpec(max_tokens=LIMIT, min_tokens=8)

WORDS = (
    "weir gauge Sluice. melt, flow unbelievable 42 \u6c34\u95e8 caf\xe9 \U0001f600 \ufffd a.b.c e\u0301 "
    "x\u200dy"
)
words = st.sampled_from(WORDS.split())
paragraphs = st.lists(words, min_size=1, max_size=60).map(" ".join)
long_paragraphs = st.lists(words, min_size=20, max_size=40).map(" ".join)
lines = st.one_of(
    paragraphs,
    st.sampled_from(["# One", "## Two", "- item", "```", "| a | b |", "> quote", "    code", ""]),
    st.text(max_size=30),
)
documents = st.lists(lines, max_size=25).map("\n\n".join)
formats = st.sampled_from(["plain", "markdown", "rst"])


def chunks_of(paragraphs_of_text: list[str]) -> list[Chunk]:
    return split(clean_text("\n\n".join(paragraphs_of_text), "plain"), TOKENIZER, SPEC)


def assert_covered(document: CleanedDocument, chunks: list[Chunk]) -> None:
    """Each chunk is a slice at its offset, behind what it repeats; between two there is nothing but white space."""
    end = 0
    for chunk in chunks:
        text = chunk.text[chunk.repeated :]
        assert document.text.startswith(text, chunk.start)
        assert text == text.strip() != ""
        assert chunk.start >= end
        assert not document.text[end : chunk.start].strip()
        end = chunk.start + len(text)
    assert not document.text[end:].strip()


@given(
    documents,
    formats,
    st.integers(4, LIMIT),
    st.integers(0, LIMIT),
    st.sampled_from(["none", "headings"]),
    st.sampled_from([None, "Weir", "Sluice of the unbelievable weir", "\ufffd"]),
)
@settings(deadline=None)
def test_chunks_cover_the_text_and_fit(
    text: str,
    text_format: str,
    max_tokens: int,
    min_tokens: int,
    context: Context,
    title: str | None,
) -> None:
    document = clean_text(text, text_format)
    spec = PreparationSpec(max_tokens=max_tokens, min_tokens=min_tokens)
    chunks = split(document, TOKENIZER, spec, context=context, title=title)
    assert_covered(document, chunks)
    for chunk in chunks:
        assert len(chunk.model_ids) + TOKENIZER.special_tokens <= max_tokens
        assert list(chunk.token_ids) == TOKENIZER.encode(chunk.text)[0]
        assert list(chunk.context_ids) == TOKENIZER.encode(chunk.context)[0]
        assert not chunk.truncated
        assert context == "headings" or not chunk.context
    assert chunks == split(document, TOKENIZER, spec, context=context, title=title)


@given(documents, formats)
@settings(deadline=None)
def test_the_heading_of_a_chunk_is_the_last_one_above_its_beginning(
    text: str, text_format: str
) -> None:
    document = clean_text(text, text_format)
    headings = [block for block in document.blocks if block.kind is BlockKind.HEADING]
    for chunk in split(document, TOKENIZER, SPEC):
        above = [block for block in headings if block.start <= chunk.start]
        assert (chunk.heading is None) == (not above)


@given(st.lists(paragraphs, min_size=60, max_size=90, unique=True), st.integers(25, 35), paragraphs)
@settings(deadline=None, max_examples=40)
def test_an_edit_in_the_middle_is_felt_nearby_only(
    text: list[str], place: int, edited: str
) -> None:
    before = {chunk.text for chunk in chunks_of(text)}
    after = chunks_of([*text[:place], edited, *text[place + 1 :]])
    # Joins reach over spans of eight budgets on either side of the paragraph, whatever the document's length.
    assert len([chunk for chunk in after if chunk.text not in before]) <= 20


@given(st.lists(long_paragraphs, min_size=40, max_size=60), st.integers(0, 3))
@settings(deadline=None, max_examples=30)
def test_a_removed_paragraph_moves_no_boundary_at_the_other_end(
    text: list[str], place: int
) -> None:
    numbered = [f"Paragraph {number} {words}" for number, words in enumerate(text)]
    before = [chunk.text for chunk in chunks_of(numbered)]
    after = [chunk.text for chunk in chunks_of([*numbered[:place], *numbered[place + 1 :]])]
    assert len(before) > 24
    assert after[-8:] == before[-8:]


@given(documents)
@settings(deadline=None)
def test_a_text_is_tokenised_once_and_in_order(text: str) -> None:
    document = clean_text(text, "plain")
    tokens = map_tokens(document.text, TOKENIZER)
    assert len(tokens.ids) == len(tokens.starts) == len(tokens.ends)
    assert (tokens.starts[1:] >= tokens.starts[:-1]).all()
    assert (tokens.starts < tokens.ends).all()
    assert (tokens.ends <= len(document.text)).all()


# ── tables ──────────────────────────────────────────────────────────────────────────────────────────────────────────

cells = st.lists(words, min_size=1, max_size=4).map(" ".join)
tables = st.integers(1, 3).flatmap(
    lambda width: st.lists(st.lists(cells, min_size=width, max_size=width), min_size=2, max_size=30)
)


def as_markdown(rows: list[list[str]]) -> CleanedDocument:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + " --- |" * len(rows[0]))
    return clean_text("\n".join(lines), "markdown")


def as_html(rows: list[list[str]]) -> CleanedDocument:
    header, *others = rows
    marked = "".join(f"<th>{cell}</th>" for cell in header)
    lines = ["".join(f"<td>{cell}</td>" for cell in row) for row in others]
    table = "".join(f"<tr>{line}</tr>" for line in (marked, *lines))
    return clean_html(
        f"<p>Before.</p><table>{table}</table><p>After.</p>", main=False, max_nesting=512
    )


@given(tables, st.sampled_from([as_markdown, as_html]), st.integers(8, LIMIT), st.booleans())
@settings(deadline=None)
def test_rows_of_a_table_have_its_header_above_them(
    rows: list[list[str]],
    write: Callable[[list[list[str]]], CleanedDocument],
    max_tokens: int,
    has_context: bool,
) -> None:
    """No row is lost or doubled; the header is repeated at most once per chunk, and counted."""
    document = write(rows)
    spec = PreparationSpec(max_tokens=max_tokens, min_tokens=4)
    context: Context = "headings" if has_context else "none"
    chunks = split(document, TOKENIZER, spec, context=context, title="Gates")
    assert_covered(document, chunks)
    (table,) = [block for block in document.blocks if block.kind is BlockKind.TABLE]
    header = document.text[table.header_start : table.header_end] + "\n"
    budget = max_tokens - TOKENIZER.special_tokens
    for chunk in chunks:
        assert len(chunk.model_ids) <= budget
        assert list(chunk.token_ids) == TOKENIZER.encode(chunk.text)[0]
        is_continued = table.header_end < chunk.start < table.end
        fits = len(TOKENIZER.encode(header)[0]) <= budget // 2
        assert chunk.repeated == (len(header) if is_continued and fits else 0)
        assert chunk.text[: chunk.repeated] == header[: chunk.repeated]
