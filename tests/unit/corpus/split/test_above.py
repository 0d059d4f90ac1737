"""What a chunk is read below: headings for the model, and the header of its table."""

from dataclasses import dataclass, replace

import pytest
from tokenizers import Tokenizer

from corpus.chunk import Chunk
from corpus.clean.blocks import CleanedDocument
from corpus.clean.cleaner import clean_text
from corpus.clean.html import clean_html
from corpus.embed.model_files import model_folder
from corpus.embed.tokenizer import ChunkTokenizer, load_tokenizer
from corpus.preparation import PreparationSpec
from corpus.split.above import Outline
from corpus.split.splitter import split

TOKENIZER = load_tokenizer("all-MiniLM-L6-v2")
BUDGET = 254
TEXT = "# Book\n\n## One\n\nFirst.\n\n### Deep\n\nSecond.\n\n## Two\n\nThird."


def outline(
    text: str = TEXT, *, title: str = "", budget: int = BUDGET, context: bool = True
) -> tuple[CleanedDocument, Outline]:
    document = clean_text(text, "markdown")
    return document, Outline(document, TOKENIZER, budget, context=context, title=title)


def context_at(words: str, text: str = TEXT, **other: object) -> str:
    document, above = outline(text, **other)  # type: ignore[arg-type]  # keywords by name
    return above.lead(document.text.index(words)).context


# ── headings ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("words", "title", "context"),
    [
        ("First", "", "Book > One"),
        ("Second", "", "Book > One > Deep"),
        ("Third", "", "Book > Two"),
        # A heading at the place is in the chunk.
        ("# Book", "", ""),
        ("### Deep", "", "Book > One"),
        ("Deep", "", "Book > One"),
        # The title is the outermost heading, once.
        ("First", "Manual", "Manual > Book > One"),
        ("First", "  book ", "Book > One"),
        ("# Book", "book", ""),
        ("# Book", "The\nmanual", "The manual"),
    ],
)
def test_the_headings_above_a_place(words: str, title: str, context: str) -> None:
    assert context_at(words, title=title) == context


def test_without_headings_the_title_stands_above() -> None:
    assert context_at("text", "text", title="Manual") == "Manual"
    assert context_at("text", "text") == ""
    assert context_at("First", context=False, title="Manual") == ""


def test_of_a_long_path_the_outermost_are_left_out() -> None:
    text = f"# {'canal ' * 30}\n\n## Sluice\n\ntext"
    assert context_at("text", text, budget=400).startswith("canal canal")
    assert context_at("text", text, budget=40) == "Sluice"
    assert context_at("text", f"# {'canal ' * 30}\n\ntext", budget=40) == ""


def test_a_long_heading_is_not_tokenised_below_every_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encode = ChunkTokenizer.encode
    lengths: list[int] = []

    def counted(self: ChunkTokenizer, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        lengths.append(len(text))
        return encode(self, text)

    monkeypatch.setattr(ChunkTokenizer, "encode", counted)
    below = "\n\n".join(f"## Part {number}\n\ntext" for number in range(200))
    document, above = outline(f"# {'x ' * 100_000}\n\n{below}")
    for place in range(0, len(document.text), 3):
        above.lead(place)
    assert sum(lengths) < 20_000


# ── the model ───────────────────────────────────────────────────────────────────────────────────────────────────────


def chunks_of(text: str, title: str | None = None, **spec: object) -> list[Chunk]:
    document = clean_text(text, "markdown")
    settings = PreparationSpec(**spec)  # type: ignore[arg-type]  # keywords by name
    return split(document, TOKENIZER, settings, context="headings", title=title)


def test_the_model_reads_context_and_text_and_the_text_is_the_chunk_s() -> None:
    *_, last = chunks_of("# Gates\n\n" + "one two three. " * 30, "Manual", max_tokens=40)
    assert last.context == "Manual > Gates"
    assert "Gates" not in last.text
    both, _ = TOKENIZER.encode(f"Manual > Gates\n{last.text}")
    assert list(last.model_ids) == both


def test_a_document_that_is_one_chunk_is_read_below_its_title() -> None:
    (chunk,) = chunks_of("one two three", "Manual of gates", chunker="whole")
    assert (chunk.context, chunk.truncated) == ("Manual of gates", False)
    (cut,) = chunks_of("one " * 300, "Manual of gates", chunker="whole")
    assert cut.truncated
    assert len(cut.model_ids) == BUDGET


@dataclass
class _Numbered:
    """A part that an edit may change."""

    heading: str
    body: str


def test_another_heading_changes_what_is_below_it_and_nothing_else() -> None:
    parts = [
        _Numbered(f"Part {n}", f"Line {n} of the gauge. " * (n % 5 * 20 + 1)) for n in range(30)
    ]

    def embedded(parts: list[_Numbered]) -> dict[bytes, Chunk]:
        text = "\n\n".join(f"## {part.heading}\n\n{part.body}" for part in parts)
        chunks = chunks_of(f"# Book\n\n{text}", min_tokens=1, max_tokens=64)
        return {chunk.sha256(): chunk for chunk in chunks}

    before = embedded(parts)
    parts[14] = replace(parts[14], heading="A longer one")
    after = embedded(parts)
    new = [after[one] for one in after.keys() - before.keys()]
    assert len(new) >= 3
    for chunk in new:
        assert chunk.heading == "Book > A longer one" or "A longer one" in chunk.text


def test_one_text_below_two_headings_is_embedded_twice() -> None:
    chunk = Chunk(0, "text", (1,), context="A", context_ids=(2,))
    assert chunk.model_ids == (2, 1)
    hashes = {
        one.sha256()
        for one in (
            chunk,
            replace(chunk, context="B"),
            replace(chunk, context=""),
            replace(chunk, context="", truncated=True),
            replace(chunk, truncated=True),
        )
    }
    assert len(hashes) == 5


# ── tables ──────────────────────────────────────────────────────────────────────────────────────────────────────────

ROWS = range(80)
MARKDOWN = "| Gate | Level |\n| --- | --- |\n" + "\n".join(f"| g{n} | {n} |" for n in ROWS)
_ROWS_OF_HTML = "".join(f"<tr><td>g{n}</td><td>{n}</td></tr>" for n in ROWS)
SIMPLE = (
    "====  =====\nGate  Level\n====  =====\n"
    + "\n".join(f"g{n:<3}  {n}" for n in ROWS)
    + "\n====  ====="
)
GRID = "+------+-------+\n| Gate | Level |\n+======+=======+\n" + "\n".join(
    f"| g{n:<3} | {n:<5} |\n+------+-------+" for n in ROWS
)


def html_table(header: str, before: str = "") -> CleanedDocument:
    page = f"<table>{before}{header}{_ROWS_OF_HTML}</table>"
    return clean_html(page, main=False, max_nesting=512)


TABLES = {
    "markdown": (clean_text(MARKDOWN, "markdown"), "| Gate | Level |\n| --- | --- |\n"),
    "quoted": (
        clean_text("> " + MARKDOWN.replace("\n", "\n> "), "markdown"),
        "> | Gate | Level |\n> | --- | --- |\n",
    ),
    "th": (html_table("<tr><th>Gate</th><th>Level</th></tr>"), "Gate | Level\n"),
    "thead": (html_table("<thead><tr><td>Gate<td>Level</thead>"), "Gate | Level\n"),
    "corner": (html_table("<tr><td></td><th>Level</th></tr>"), "| Level\n"),
    "two rows": (
        html_table("<tr><th colspan=2>Canal</th></tr><tr><th>Gate<th>Level</tr>"),
        "Canal |\nGate | Level\n",
    ),
    "caption": (
        html_table("<tr><th>Gate<th>Level</tr>", "<caption>All gates</caption>"),
        "Gate | Level\n",
    ),
    "no header": (html_table("<tr><td>Gate</td><td>Level</td></tr>"), ""),
    "headers of rows": (html_table("<tr><th>Gate</th><td>Level</td></tr>"), ""),
    "simple": (clean_text(SIMPLE, "rst"), "====  =====\nGate  Level\n====  =====\n"),
    "grid": (
        clean_text(GRID, "rst"),
        "+------+-------+\n| Gate | Level |\n+======+=======+\n",
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_every_chunk_of_a_table_has_its_header(name: str) -> None:
    document, header = TABLES[name]
    spec = PreparationSpec(max_tokens=128, min_tokens=1)
    first, *others = split(document, TOKENIZER, spec)
    assert (first.start, first.repeated) == (0, 0)
    assert header in first.text + "\n"
    assert len(others) >= 2
    for chunk in others:
        assert chunk.text.startswith(header)
        assert chunk.repeated == len(header)
        assert not header or header not in chunk.text[chunk.repeated :]
    rows = "\n".join(chunk.text[chunk.repeated :] for chunk in (first, *others))
    assert rows.split() == document.text.split()


def test_what_stands_behind_a_table_has_no_header_of_it() -> None:
    text = f"{MARKDOWN}\n\n" + "\n\n".join(f"Paragraph {n}. " + "word " * 30 for n in range(5))
    document = clean_text(text, "markdown")
    chunks = split(document, TOKENIZER, PreparationSpec(max_tokens=64, min_tokens=1))
    after = [chunk for chunk in chunks if chunk.text.startswith("Paragraph")]
    assert len(after) == 5
    assert all(chunk.repeated == 0 for chunk in after)


def test_a_header_that_leaves_no_room_is_not_repeated() -> None:
    header = "| " + "gate " * 40 + "| b |\n| - | - |\n"
    document = clean_text(header + "| a | b |\n" * 40, "markdown")
    chunks = split(document, TOKENIZER, PreparationSpec(max_tokens=64, min_tokens=1))
    assert all(chunk.repeated == 0 for chunk in chunks)
    assert "".join(chunk.text for chunk in chunks).count("gate") == 40


def test_a_tokenizer_that_joins_over_words_counts_the_header_too() -> None:
    folder = model_folder("all-MiniLM-L6-v2")
    tokenizer = ChunkTokenizer(Tokenizer.from_file(str(folder / "tokenizer.json")), 64)
    tokenizer.word_by_word = False
    document, header = TABLES["markdown"]
    chunks = split(document, tokenizer, PreparationSpec(min_tokens=1), context="headings")
    for chunk in chunks:
        assert list(chunk.token_ids) == tokenizer.encode(chunk.text)[0]
        assert len(chunk.model_ids) + tokenizer.special_tokens <= 64
        assert chunk.start == 0 or chunk.text.startswith(header)
