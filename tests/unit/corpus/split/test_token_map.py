"""A text, tokenised once."""

import itertools
import random

import pytest

from corpus.embed.tokenizer import load_tokenizer
from corpus.split import token_map
from corpus.split.token_map import MAX_WORD_CHARACTERS, map_tokens

TOKENIZER = load_tokenizer("all-MiniLM-L6-v2")


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\u200b"])
def test_nothing_has_no_tokens(text: str) -> None:
    tokens = map_tokens(text, TOKENIZER)
    assert len(tokens.ids) == len(tokens.starts) == len(tokens.ends) == 0
    assert tokens.first_at([0]) == [0]


def test_offsets_are_those_of_the_whole_text(monkeypatch: pytest.MonkeyPatch) -> None:
    text = " ".join(
        random.Random(3).choices(["weir", "gauge", "unbelievable", "42", "水门", "é"], k=900)
    )
    ids, offsets = TOKENIZER.encode(text)
    monkeypatch.setattr(token_map, "_SEGMENT", 50)  # many segments, in several calls
    tokens = map_tokens(text, TOKENIZER)
    assert tokens.ids.tolist() == ids
    assert list(zip(tokens.starts.tolist(), tokens.ends.tolist(), strict=True)) == offsets


@pytest.mark.parametrize(
    "text",
    ["a" * 500, "a " * 300, "\n" * 400, "x" * 49 + " " + "y" * 49, "x" * 50 + " y", " " * 50 + "z"],
)
def test_segments_are_never_empty_or_too_long(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_map, "_SEGMENT", 50)
    edges = token_map._segment_edges(text, frozenset())
    assert (edges[0], edges[-1]) == (0, len(text))
    assert all(0 < end - start <= 50 for start, end in itertools.pairwise(edges))


def test_a_segment_ends_at_white_space_where_there_is_any() -> None:
    text = "word " * 40_000
    edges = token_map._segment_edges(text, frozenset())
    assert len(edges) > 3
    assert all(text[edge] == " " for edge in edges[1:-1])


def test_long_words_are_divided_at_places_of_their_own() -> None:
    word = "x" * (2 * MAX_WORD_CHARACTERS + 1)
    assert map_tokens(word, TOKENIZER).forced == {MAX_WORD_CHARACTERS, 2 * MAX_WORD_CHARACTERS}
    before = "an edit before it "
    moved = {len(before) + place for place in map_tokens(word, TOKENIZER).forced}
    assert map_tokens(before + word, TOKENIZER).forced == moved


def test_a_word_of_the_greatest_length_is_whole() -> None:
    assert map_tokens("x" * MAX_WORD_CHARACTERS, TOKENIZER).forced == frozenset()
