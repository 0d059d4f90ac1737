"""Where a text may be divided, and how good each place is.

A boundary's key is (rank, hash of the text that follows): a property of the place alone, so that an edit elsewhere
cannot change it. The smallest key is the best place.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from enum import IntEnum
from hashlib import blake2b
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from corpus.clean.blocks import Block, BlockKind
from corpus.split.token_map import TokenMap

# A sentence's end: its mark, closing quotes or brackets, white space (none after full stops of Chinese and Japanese).
_SENTENCE_END = re.compile(
    r"[.!?…。！？](?:[\"'’”)\]»]*)\s+(?=[^\Wa-z_]|[\"'“‘«(\[`*])|[。！？]+[」』”’]*(?=\S)"
)
# Characters of the following text that distinguish a boundary from others; an edit behind them moves nothing.
_LOOK_AHEAD = 48
_HASH_BITS = 48


class Rank(IntEnum):
    """How natural a place is to divide at; smaller is better. Headings of level 1 to 6 are 0 to 5."""

    HEADING = 0
    BLOCK = 6
    LIST_ITEM = 7
    ANNOUNCED = 8
    """Between "as follows:" and what follows."""
    BLANK_LINE = 9
    """In code."""
    SENTENCE = 10
    LINE = 11
    HEADING_BODY = 12
    """Between a heading and its text."""
    WORD = 13
    PUNCTUATION = 14
    INSIDE_WORD = 15
    """The pieces are tokenised again."""


class Boundaries:
    """Boundaries of a text or a span, in order.

    Args:
        tokens: before which token each is; ascending.
        keys: how good each is.
    """

    __slots__ = ("_keys", "_tokens")

    def __init__(self, tokens: NDArray[np.int64], keys: NDArray[np.uint64]) -> None:
        self._tokens = tokens
        self._keys = keys

    def has_any_inside(self, first: int, end: int) -> bool:
        """Is one strictly between the tokens `first` and `end`?"""
        inside = self._inside(first, end)
        return inside.start < inside.stop

    def places_inside(
        self, first: int, end: int, *, best_only: bool
    ) -> NDArray[np.int64]:
        """Return the tokens of the boundaries strictly between two tokens, or of the best of these."""
        inside = self._inside(first, end)
        tokens, keys = self._tokens[inside], self._keys[inside]
        if not best_only:
            return tokens
        return tokens[keys == keys.min()]

    def _inside(self, first: int, end: int) -> slice:
        start = int(self._tokens.searchsorted(first, "right"))
        stop = int(self._tokens.searchsorted(end, "left"))
        return slice(start, stop)


def structural(
    text: str,
    blocks: tuple[Block, ...],
    tokens: TokenMap,
    room_at: Callable[[int], int],
) -> Boundaries:
    """Return the boundaries between blocks, and inside the blocks that do not fit into a chunk.

    Args:
        text: with the blocks.
        blocks: in order.
        tokens: of the text.
        room_at: tokens of the text in a chunk that begins at a character offset.
    """
    places: list[tuple[int, int]] = []
    for before, block in pairwise(blocks):
        rank = _rank(text, before, block)
        places.append((rank, block.start))
    edges = tokens.first_at([block.start for block in blocks])
    edges.append(len(tokens.ids))
    for block, (first, end) in zip(blocks, pairwise(edges), strict=True):
        if end - first > room_at(block.start):
            places += _inside(text, block)
    at = tokens.first_at([offset for _, offset in places])
    keys = (_key(rank, text, offset) for rank, offset in places)
    return _ordered(at, keys)


def words(text: str, tokens: TokenMap, first: int, end: int) -> Boundaries:
    """Return the boundaries between words of a span without structure; where it has none, between any tokens."""
    starts = tokens.starts[first + 1 : end]
    ends_before = tokens.ends[first : end - 1]
    gaps = np.flatnonzero(starts > ends_before)
    if not len(gaps):
        gaps = np.arange(len(starts))
    at = gaps + first + 1
    offsets = tokens.starts[at].tolist()
    keys = (_key(_word_rank(text, offset), text, offset) for offset in offsets)
    return _ordered(at.tolist(), keys)


def _word_rank(text: str, offset: int) -> Rank:
    before, after = text[offset - 1], text[offset]
    if before.isspace():
        return Rank.WORD
    if before.isalnum() and after.isalnum():
        return Rank.INSIDE_WORD
    return Rank.PUNCTUATION


def _rank(text: str, before: Block, block: Block) -> int:
    """Return the rank of the boundary between two neighbours."""
    if before.kind is BlockKind.HEADING:
        return Rank.HEADING_BODY
    if block.kind is BlockKind.HEADING:
        return Rank.HEADING + block.level - 1
    announces = before.kind is BlockKind.PARAGRAPH and text[before.end - 1] in ":："
    if announces and block.kind is not BlockKind.PARAGRAPH:
        return Rank.ANNOUNCED
    if block.kind is BlockKind.LIST_ITEM:
        return Rank.LIST_ITEM
    return Rank.BLOCK


def _inside(text: str, block: Block) -> Iterator[tuple[Rank, int]]:
    """Yield rank and character offset of the places inside a block."""
    if block.kind in (BlockKind.PARAGRAPH, BlockKind.LIST_ITEM):
        for end in _SENTENCE_END.finditer(text, block.start, block.end):
            yield Rank.SENTENCE, end.end()
    # A table's header stays with its first row.
    start = max(block.start, block.header_end + 1)
    newline = text.find("\n", start, block.end)
    while newline >= 0:
        next_line = newline + 1
        if text[next_line] == "\n":
            pass  # the place is behind the last of several
        elif text[newline - 1] == "\n":
            yield Rank.BLANK_LINE, next_line
        else:
            yield Rank.LINE, next_line
        newline = text.find("\n", next_line, block.end)


def _key(rank: int, text: str, offset: int) -> int:
    following = text[offset : offset + _LOOK_AHEAD]
    encoded = following.encode("utf-8", "surrogatepass")
    digest = blake2b(encoded, digest_size=_HASH_BITS // 8).digest()
    return rank << _HASH_BITS | int.from_bytes(digest, "big")


def _ordered(at: Iterable[int], keys: Iterable[int]) -> Boundaries:
    """Sort by place; of several boundaries before one token the best stays."""
    tokens = np.fromiter(at, np.int64)
    ranks = np.fromiter(keys, np.uint64)
    order = np.lexsort((ranks, tokens))
    tokens, ranks = tokens[order], ranks[order]
    is_first = np.ones(len(tokens), bool)
    is_first[1:] = tokens[1:] != tokens[:-1]
    return Boundaries(tokens[is_first], ranks[is_first])
