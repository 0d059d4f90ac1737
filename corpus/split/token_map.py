"""A text, tokenised once: which tokens, and where in the text each is."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from corpus.embed.tokenizer import ChunkTokenizer

# Characters encoded in one call: long enough for speed, short enough that a 20 MB document needs no gigabytes.
_SEGMENT = 65_536
_SEGMENTS_AT_ONCE = 16
# A "word" longer than this (base64, a script without spaces) is tokenised in pieces, so that it can be divided.
MAX_WORD_CHARACTERS = 1_000
_LONG_WORD = re.compile(rf"\S{{{MAX_WORD_CHARACTERS + 1},}}")


@dataclass(frozen=True, slots=True)
class TokenMap:
    """Parallel arrays with one element per token, in order."""

    ids: NDArray[np.int32]
    starts: NDArray[np.int64]
    """Character offsets."""
    ends: NDArray[np.int64]
    forced: frozenset[int]
    """Character offsets at which a long word was divided before it was tokenised."""

    def first_at(self, offsets: Sequence[int]) -> list[int]:
        """Return, for each character offset, the number of the first token that starts there or later."""
        return self.starts.searchsorted(offsets, "left").tolist()


def map_tokens(text: str, tokenizer: ChunkTokenizer) -> TokenMap:
    """Tokenise `text` in segments that end where words end."""
    forced = _places_in_long_words(text)
    ids = [np.empty(0, np.int32)]
    offsets = [np.empty((0, 2), np.int64)]
    for start, segment_ids, segment_offsets in _segments(text, tokenizer, forced):
        if segment_ids:
            ids.append(np.array(segment_ids, np.int32))
            offsets.append(np.array(segment_offsets, np.int64) + start)
    columns = np.concatenate(offsets)
    starts = np.ascontiguousarray(columns[:, 0])
    ends = np.ascontiguousarray(columns[:, 1])
    return TokenMap(np.concatenate(ids), starts, ends, forced)


def _segments(
    text: str, tokenizer: ChunkTokenizer, forced: frozenset[int]
) -> Iterator[tuple[int, list[int], list[tuple[int, int]]]]:
    """Yield each segment's start in the text, its token ids, and their offsets in the segment."""
    spans = list(pairwise(_segment_edges(text, forced)))
    for first in range(0, len(spans), _SEGMENTS_AT_ONCE):
        group = spans[first : first + _SEGMENTS_AT_ONCE]
        encoded = tokenizer.encode_batch([text[start:end] for start, end in group])
        for (start, _), (ids, offsets) in zip(group, encoded, strict=True):
            yield start, ids, offsets


def _places_in_long_words(text: str) -> frozenset[int]:
    """Return where long words are divided: counted from the word's own start, so that no edit elsewhere moves it."""
    places: set[int] = set()
    for word in _LONG_WORD.finditer(text):
        first = word.start() + MAX_WORD_CHARACTERS
        places.update(range(first, word.end(), MAX_WORD_CHARACTERS))
    return frozenset(places)


def _segment_edges(text: str, forced: frozenset[int]) -> list[int]:
    """Return 0, the offsets at which a new segment starts, and the text's length."""
    edges = [0]
    for stop in [*sorted(forced), len(text)]:
        while stop - edges[-1] > _SEGMENT:
            edges.append(_segment_end(text, edges[-1]))
        if stop > edges[-1]:
            edges.append(stop)
    return edges


def _segment_end(text: str, start: int) -> int:
    """Return the last white space that a segment from `start` may reach; without one, its greatest length."""
    limit = start + _SEGMENT
    newline = text.rfind("\n", start + 1, limit)
    space = text.rfind(" ", start + 1, limit)
    last = max(newline, space)
    return last if last > start else limit
