"""Splitting: limits, exact tokens, nothing lost, edits stay local."""

import random

import pytest

from corpus.chunk import Chunk
from corpus.clean.blocks import CleanedDocument
from corpus.clean.cleaner import clean_text
from corpus.clean.html import clean_html
from corpus.embed.tokenizer import load_tokenizer
from corpus.preparation import PreparationSpec
from corpus.split import above
from corpus.split.splitter import TooManyChunks, split

TOKENIZER = load_tokenizer("all-MiniLM-L6-v2")
BUDGET = 254
_WORDS = (
    "reservoir sluice weir gauge station spring melt flow record engineer gate level north open water channel "
    "turbine repair season survey concrete bridge council report unbelievable hydrodynamics"
)
WORDS = _WORDS.split()


def make_paragraph(seed: int, sentences: int = 4) -> str:
    rng = random.Random(seed)
    return " ".join(
        " ".join(rng.choices(WORDS, k=rng.randint(6, 16))).capitalize() + "."
        for _ in range(sentences)
    )


def make_document(paragraphs: int = 120) -> list[str]:
    return [
        f"## Part {number // 6}" if number % 6 == 0 else make_paragraph(number)
        for number in range(paragraphs)
    ]


def chunks_of(text: str, text_format: str = "markdown", **spec: object) -> list[Chunk]:
    return split(clean_text(text, text_format), TOKENIZER, PreparationSpec(**spec))  # type: ignore[arg-type]


def check(document: CleanedDocument, chunks: list[Chunk]) -> None:
    """What holds for any chunks."""
    end = 0
    for chunk in chunks:
        assert chunk.text == document.text[chunk.start : chunk.start + len(chunk.text)]
        assert chunk.text == chunk.text.strip()
        assert not document.text[end : chunk.start].strip()
        assert len(chunk.token_ids) <= BUDGET
        assert list(chunk.token_ids) == TOKENIZER.encode(chunk.text)[0]
        end = chunk.start + len(chunk.text)
    assert not document.text[end:].strip()


@pytest.mark.parametrize(
    "text",
    [
        "\n\n".join(make_document()),
        make_paragraph(1, sentences=300),  # no structure but sentences
        " ".join(random.Random(2).choices(WORDS, k=5_000)),  # words only
        "\n".join(
            f"2024-05-01T12:00:{number:02} INFO gate={number} flow={number * 37}"
            for number in range(900)
        ),
        "".join(random.Random(3).choices("abcdefgh0123456789+/", k=30_000)),  # one word
        "\u6c34\u95e8\u63a7\u5236\u5f88\u91cd\u8981" * 1_000,  # no spaces, a token a character
        "\u0e23\u0e30\u0e14\u0e31\u0e1a\u0e19\u0e49\u0e33" * 2_000,
        "a" + " " * 50_000 + "b",
        "\ufffd" * 10_000,
        "one\n\n\ufffd\n\ntwo",
        "```\n"
        + "\n".join(f"line_{number} = compute(line_{number - 1})" for number in range(400))
        + "\n```",
        "x." * 10_000,
    ],
)
def test_nothing_is_lost_or_too_long_and_tokens_are_the_texts_own(text: str) -> None:
    document = clean_text(text, "markdown")
    chunks = split(document, TOKENIZER, PreparationSpec())
    check(document, chunks)
    assert max(len(chunk.text) for chunk in chunks) <= 2 * 16 * BUDGET


def test_html_too() -> None:
    body = "".join(
        f"<h2>Part {number}</h2><p>{make_paragraph(number)}</p><ul><li>x<li>y</ul>"
        for number in range(60)
    )
    document = clean_html(body, main=True, max_nesting=512)
    check(document, split(document, TOKENIZER, PreparationSpec()))


def test_chunks_are_well_filled() -> None:
    chunks = chunks_of("\n\n".join(make_document()))
    assert sum(len(chunk.token_ids) for chunk in chunks) / len(chunks) / BUDGET > 0.6


def test_blank_is_no_chunk_and_small_is_one() -> None:
    assert chunks_of("") == []
    (only,) = chunks_of("# Weir\n\nOne line.")
    assert (only.text, only.heading, only.truncated) == ("# Weir\n\nOne line.", "Weir", False)


def test_headings_above_a_chunk() -> None:
    one, deep, two = (make_paragraph(seed, 20) for seed in (1, 2, 3))
    text = f"# Book\n\n## One\n\n{one}\n\n### Deep\n\n{deep}\n\n## Two\n\n{two}"
    paths = [chunk.heading for chunk in chunks_of(text, min_tokens=0)]
    assert paths[0] == "Book"
    assert "Book > One > Deep" in paths
    assert paths[-1] == "Book > Two"


@pytest.mark.parametrize(
    ("heading", "title"),
    [
        ("# A", "A"),
        ("## A ##", "A"),
        ("# C#", "C#"),
        ("# C# #", "C#"),
        ("# #hash", "#hash"),
        ("#", "#"),
        ("# ???", "???"),
        ("Two\nlines\n===", "Two lines"),
        ("# " + "long " * 100, ("long " * 100)[:200]),
    ],
)
def test_the_title_of_a_heading_is_its_words(heading: str, title: str) -> None:
    (chunk,) = chunks_of(f"{heading}\n\ntext")
    assert chunk.heading == title


def test_a_heading_of_a_higher_level_ends_those_below() -> None:
    text = "### A\n\n###### B\n\n# C\n\n#### D\n\n## E\n\n"
    document = clean_text(text, "markdown")
    paths = [" > ".join(heading.titles) for heading in above._headings(document)]
    assert paths == ["A", "A > B", "C", "C > D", "C > E"]


def test_a_heading_stays_with_its_text() -> None:
    for chunk in chunks_of("\n\n".join(make_document())):
        assert not chunk.text.rsplit("\n", 1)[-1].startswith("## ")


def test_smaller_limits_and_the_prefix_count() -> None:
    tokenizer = load_tokenizer("all-MiniLM-L6-v2", prefix="passage: ")
    document = clean_text(make_paragraph(1, 100), "plain")
    for chunk in split(document, tokenizer, PreparationSpec(max_tokens=64)):
        assert len(chunk.token_ids) + tokenizer.special_tokens <= 64


def test_too_many_chunks_is_said() -> None:
    with pytest.raises(TooManyChunks, match="max_chunks = 3"):
        chunks_of("\n\n".join(make_document()), max_chunks=3)


def test_whole_is_one_chunk_and_says_when_it_is_cut() -> None:
    (long,) = chunks_of("\n\n".join(make_document()), chunker="whole")
    (short,) = chunks_of("short", chunker="whole")
    assert (len(long.token_ids), long.truncated) == (BUDGET, True)
    assert (short.text, short.truncated) == ("short", False)


def test_a_hostile_order_of_hashes_or_none_is_no_recursion() -> None:
    same = "\n\n".join([make_paragraph(1)] * 3_000)
    document = clean_text(same, "markdown")
    chunks = split(document, TOKENIZER, PreparationSpec())
    assert len({chunk.text for chunk in chunks}) < 10
    check(document, chunks)


@pytest.mark.parametrize("edited", range(20, 100, 7))
def test_an_edit_changes_the_chunks_at_its_place_only(edited: int) -> None:
    paragraphs = make_document()
    before = {chunk.text for chunk in chunks_of("\n\n".join(paragraphs))}
    paragraphs[edited] = make_paragraph(10_000 + edited)
    after = [chunk.text for chunk in chunks_of("\n\n".join(paragraphs))]
    assert 1 <= len([text for text in after if text not in before]) <= 4


def test_a_chunk_has_the_tokens_of_its_text_whatever_is_beside_it() -> None:
    """The vector is kept under the text, so the first document with it must not decide what it is.

    BERT drops marks between letters.
    """
    tokenizer = load_tokenizer("all-MiniLM-L6-v2")
    pieces = [
        "# H",
        "word ",
        "foo. Bar ",
        "é",
        "日本語。",
        "\N{COMBINING ACUTE ACCENT}",
        "\N{REPLACEMENT CHARACTER}",
        "a" * 30,
        " ",
        "\n\n",
        "---",
    ]
    rng = random.Random(5)
    for _ in range(1_500):
        document = clean_text("".join(rng.choices(pieces, k=rng.randint(2, 8))), "plain")
        for chunk in split(document, tokenizer, PreparationSpec(max_tokens=8, min_tokens=1)):
            assert list(chunk.token_ids) == tokenizer.encode(chunk.text)[0], (document.text, chunk)


def test_a_text_that_the_tokenizer_drops_is_one_chunk_without_tokens() -> None:
    document = CleanedDocument("\u0301", ())
    (chunk,) = split(document, TOKENIZER, PreparationSpec())
    assert (chunk.start, chunk.text, chunk.token_ids) == (0, "\u0301", ())


@pytest.mark.parametrize("budget", [1, 2, 3])
def test_the_smallest_budgets_still_give_chunks_that_fit(budget: int) -> None:
    spec = PreparationSpec(max_tokens=budget + TOKENIZER.special_tokens, min_tokens=0)
    document = clean_text("# Weir\n\nunbelievable hydrodynamics.\n\n- 水门", "markdown")
    for chunk in split(document, TOKENIZER, spec):
        assert len(chunk.token_ids) <= budget


def test_a_limit_of_fewer_tokens_than_the_special_ones_is_one_token() -> None:
    chunks = chunks_of("one two three", max_tokens=1, min_tokens=0)
    assert [chunk.text for chunk in chunks] == ["one", "two", "three"]


def test_the_greatest_number_of_chunks_is_accepted() -> None:
    count = len(chunks_of("\n\n".join(make_document())))
    assert len(chunks_of("\n\n".join(make_document()), max_chunks=count)) == count


def test_boundaries_of_equal_keys_are_taken_from_the_middle() -> None:
    """Else a document of equal lines would be divided as deep as it has lines."""
    lines = "\n".join(["the same line"] * 4_000)
    chunks = chunks_of(lines, "plain")
    assert len(chunks) < 200
