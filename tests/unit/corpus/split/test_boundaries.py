"""Where a text may be divided, and which place is best."""

import numpy as np
import pytest

from corpus.clean.cleaner import clean_text
from corpus.embed.tokenizer import load_tokenizer
from corpus.split.boundaries import Boundaries, Rank, structural, words
from corpus.split.token_map import map_tokens
from tests.support.work import count_calls

TOKENIZER = load_tokenizer("all-MiniLM-L6-v2")
WHOLE = 10**9  # no block has more tokens


def ranks(text: str, text_format: str, budget: int) -> dict[str, int]:
    """Rank of each boundary, by the text that follows it."""
    document = clean_text(text, text_format)
    tokens = map_tokens(document.text, TOKENIZER)
    return _ranks(
        document.text,
        tokens,
        structural(document.text, document.blocks, tokens, lambda place: budget),
    )


def word_ranks(text: str) -> dict[str, int]:
    tokens = map_tokens(text, TOKENIZER)
    return _ranks(text, tokens, words(text, tokens, 0, len(tokens.ids)))


def _ranks(text: str, tokens: object, boundaries: Boundaries) -> dict[str, int]:
    starts = tokens.starts[boundaries._tokens]  # type: ignore[attr-defined]
    keys = boundaries._keys.tolist()
    return {text[start:]: key >> 48 for start, key in zip(starts, keys, strict=True)}


def test_ranks_between_blocks() -> None:
    text = "# A\n\npara:\n\n- one\n- two\n\n### B\n\nmore\n\nend"
    found = {
        following.split("\n")[0]: rank for following, rank in ranks(text, "markdown", WHOLE).items()
    }
    assert found == {
        "para:": Rank.HEADING_BODY,
        "- one": Rank.ANNOUNCED,
        "- two": Rank.LIST_ITEM,
        "### B": Rank.HEADING + 2,
        "more": Rank.HEADING_BODY,
        "end": Rank.BLOCK,
    }


def test_a_block_that_fits_is_not_divided() -> None:
    assert ranks("One. Two. Three.", "plain", WHOLE) == {}


def test_ranks_inside_code() -> None:
    code = "```\na = 1\nb = 2\n\nc = 3\n```"
    assert ranks(code, "markdown", 1) == {
        "a = 1\nb = 2\n\nc = 3\n```": Rank.LINE,
        "b = 2\n\nc = 3\n```": Rank.LINE,
        "c = 3\n```": Rank.BLANK_LINE,
        "```": Rank.LINE,
    }


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three?", ["Two! Three?", "Three?"]),
        ('He said "Go." Then he went.', ["Then he went."]),
        ("See v. 2 and e.g. this one.", []),  # lower case follows, or a number's mark
        ("\u6c34\u95e8\u3002\u6253\u5f00\u3002", ["\u6253\u5f00\u3002"]),
        ("It costs 4.2 crowns.", []),
        ("Wait... Now.", ["Now."]),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    found = ranks(text, "plain", 1)
    by_sentence = [following for following, rank in found.items() if rank == Rank.SENTENCE]
    assert [following for following in by_sentence if not following[0].isdigit()] == sentences


def test_ranks_between_words() -> None:
    assert word_ranks("weir gauge") == {"gauge": Rank.WORD}
    assert word_ranks("a-b") == {"-b": Rank.PUNCTUATION, "b": Rank.PUNCTUATION}
    assert set(word_ranks("unbelievablehydrodynamics").values()) == {Rank.INSIDE_WORD}


def test_a_key_depends_on_nothing_but_the_text_that_follows() -> None:
    def key(text: str) -> int:
        document = clean_text(text, "plain")
        tokens = map_tokens(document.text, TOKENIZER)
        return int(
            structural(document.text, document.blocks, tokens, lambda place: WHOLE)._keys[-1]
        )

    last = "The last paragraph, which is long enough to be told from others."
    assert key(f"a\n\n{last}") == key(f"quite another text\n\nb\n\n{last} And an edit behind it.")
    assert key(f"a\n\n{last}") != key(f"a\n\nNot {last}")


def test_of_two_places_before_one_token_the_better_stays() -> None:
    # The first line of a paragraph that follows a sentence in the same block.
    found = ranks("One is here.\nTwo is there.", "plain", 1)
    assert found == {"Two is there.": Rank.SENTENCE}


def test_only_what_is_strictly_inside_counts() -> None:
    keys = np.array([5, 3, 3, 9], np.uint64)
    boundaries = Boundaries(np.array([2, 4, 6, 8], np.int64), keys)
    assert boundaries.places_inside(2, 8, best_only=False).tolist() == [4, 6]
    assert boundaries.places_inside(2, 9, best_only=True).tolist() == [4, 6]
    assert boundaries.places_inside(6, 9, best_only=True).tolist() == [8]
    assert boundaries.has_any_inside(1, 3)
    assert not boundaries.has_any_inside(2, 4)
    assert not boundaries.has_any_inside(8, 20)


def test_boundaries_cost_twice_the_work_for_twice_the_text() -> None:
    def work(paragraphs: int) -> int:
        document = clean_text("One is here. Two is there.\n\n" * paragraphs, "plain")
        tokens = map_tokens(document.text, TOKENIZER)
        return count_calls(
            lambda: structural(document.text, document.blocks, tokens, lambda place: 4)
        )

    assert work(600) <= 2.3 * work(300)
