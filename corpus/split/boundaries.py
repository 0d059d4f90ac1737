"""Where a text may be cut, and how good each place is.

A boundary's key is (rank, hash of the text that follows): a property of the place alone, so that an edit elsewhere
cannot change it. The smallest key is the best place.
"""

import re
from collections.abc import Iterable, Iterator
from enum import IntEnum
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from corpus.clean.blocks import Block, BlockKind
from corpus.split.token_map import TokenMap

# A sentence's end: its mark, closing quotes or brackets, white space (none after the full stops of Chinese and Japanese).
_SENTENCE_END = re.compile(
    r"[.!?…。！？](?:[\"'’”)\]»]*)\s+(?=[^\Wa-z_]|[\"'“‘«(\[`*])|[。！？]+[」』”’]*(?=\S)"
)
_LOOK_AHEAD = 48  # characters of the following text that tell a boundary from others; an edit behind them moves nothing
_HASH_BITS = 48


class Rank(IntEnum):
    """How natural a place is to cut at; smaller is better. Headings of level 1 to 6 are 0 to 5."""

    HEADING = 0
    BLOCK = 6
    LIST_ITEM = 7
    ANNOUNCED = 8  # between "as follows:" and what follows
    BLANK_LINE = 9  # in code
    SENTENCE = 10
    LINE = 11
    HEADING_BODY = 12  # between a heading and its text
    WORD = 13
    PUNCTUATION = 14
    INSIDE_WORD = 15  # the pieces are tokenised again


class Boundaries:
    """Boundaries of one span, in order: before which token, and with which key."""

    __slots__ = ("keys", "tokens")

    def __init__(self, tokens: NDArray[np.int64], keys: NDArray[np.uint64]) -> None:
        self.tokens = tokens
        self.keys = keys

    def between(self, first: int, end: int) -> tuple[int, int]:
        """Range of those strictly inside the tokens first … end."""
        return int(self.tokens.searchsorted(first, "right")), int(
            self.tokens.searchsorted(end, "left")
        )


def structural(text: str, blocks: tuple[Block, ...], tokens: TokenMap, budget: int) -> Boundaries:
    """Boundaries between blocks, and inside the blocks that have more than `budget` tokens."""
    begins = tokens.starts.searchsorted([block.start for block in blocks], "left").tolist()
    begins.append(len(tokens.ids))
    at: list[int] = []
    keys: list[int] = []
    for number, block in enumerate(blocks):
        if number:
            at.append(begins[number])
            keys.append(_key(_rank(text, blocks[number - 1], block), text, block.start))
        if begins[number + 1] - begins[number] > budget:
            inner = list(_inside(text, block))
            at += tokens.starts.searchsorted([place for _, place in inner], "left").tolist()
            keys += [_key(rank, text, place) for rank, place in inner]
    return _ordered(at, keys)


def words(text: str, tokens: TokenMap, first: int, end: int) -> Boundaries:
    """Boundaries between words of a span without structure; where it has none, between any tokens."""
    starts, before = tokens.starts[first + 1 : end], tokens.ends[first : end - 1]
    gaps = np.flatnonzero(starts > before)
    places = (gaps if len(gaps) else np.arange(len(starts))) + first + 1
    offsets = tokens.starts[places].tolist()
    return _ordered(
        places.tolist(), [_key(_word_rank(text, offset), text, offset) for offset in offsets]
    )


def _word_rank(text: str, offset: int) -> Rank:
    if text[offset - 1].isspace():
        return Rank.WORD
    return (
        Rank.INSIDE_WORD
        if text[offset].isalnum() and text[offset - 1].isalnum()
        else Rank.PUNCTUATION
    )


def _rank(text: str, before: Block, block: Block) -> int:
    if before.kind is BlockKind.HEADING:
        return Rank.HEADING_BODY
    if block.kind is BlockKind.HEADING:
        return Rank.HEADING + block.level - 1
    if (
        block.kind is not BlockKind.PARAGRAPH
        and before.kind is BlockKind.PARAGRAPH
        and text[before.end - 1] in ":："
    ):
        return Rank.ANNOUNCED
    return Rank.LIST_ITEM if block.kind is BlockKind.LIST_ITEM else Rank.BLOCK


def _inside(text: str, block: Block) -> Iterator[tuple[Rank, int]]:
    """Rank and character offset of the places inside a block."""
    if block.kind in (BlockKind.PARAGRAPH, BlockKind.LIST_ITEM):
        for end in _SENTENCE_END.finditer(text, block.start, block.end):
            yield Rank.SENTENCE, end.end()
    newline = text.find("\n", block.start, block.end)
    while newline >= 0:
        blank = text[newline + 1] == "\n"
        if not blank:
            yield (Rank.BLANK_LINE if text[newline - 1] == "\n" else Rank.LINE), newline + 1
        newline = text.find("\n", newline + 1, block.end)


def _key(rank: int, text: str, offset: int) -> int:
    following = text[offset : offset + _LOOK_AHEAD].encode("utf-8", "surrogatepass")
    return rank << _HASH_BITS | int.from_bytes(
        blake2b(following, digest_size=_HASH_BITS // 8).digest(), "big"
    )


def _ordered(at: Iterable[int], keys: Iterable[int]) -> Boundaries:
    """Sort by place; of several before one token the best stays."""
    tokens, ranks = np.fromiter(at, np.int64), np.fromiter(keys, np.uint64)
    order = np.lexsort((ranks, tokens))
    tokens, ranks = tokens[order], ranks[order]
    first = np.ones(len(tokens), bool)
    first[1:] = tokens[1:] != tokens[:-1]
    return Boundaries(tokens[first], ranks[first])
