"""A text, tokenised once: which tokens, and where in the text each stands."""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corpus.embed.tokenizer import ChunkTokenizer

# Characters encoded in one call: long enough for speed, short enough that a 20 MB document needs no gigabytes.
_SEGMENT = 65_536
_SEGMENTS_AT_ONCE = 16
# A "word" longer than this (base64, a script without spaces) is tokenised in pieces, so that it can be cut.
MAX_WORD_CHARACTERS = 1_000
_LONG_WORD = re.compile(rf"\S{{{MAX_WORD_CHARACTERS + 1},}}")


@dataclass(frozen=True, slots=True)
class TokenMap:
    """Parallel arrays, one element a token, in order."""

    ids: NDArray[np.int32]
    starts: NDArray[np.int64]  # character offsets
    ends: NDArray[np.int64]
    forced: frozenset[int]  # character offsets at which a long word was cut before tokenising


def map_tokens(text: str, tokenizer: ChunkTokenizer) -> TokenMap:
    """Tokenise `text` in segments that end where words end."""
    forced = _cuts_in_long_words(text)
    edges = _segment_edges(text, forced)
    ids: list[NDArray[np.int32]] = []
    places: list[NDArray[np.int64]] = []
    for first in range(0, len(edges) - 1, _SEGMENTS_AT_ONCE):
        spans = list(
            zip(
                edges[first : first + _SEGMENTS_AT_ONCE],
                edges[first + 1 : first + 1 + _SEGMENTS_AT_ONCE],
                strict=False,
            )
        )
        for (start, _), (found, offsets) in zip(
            spans, tokenizer.encode_batch([text[start:end] for start, end in spans]), strict=True
        ):
            if found:
                ids.append(np.array(found, np.int32))
                places.append(np.array(offsets, np.int64) + start)
    if not ids:
        return TokenMap(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.int64), forced)
    offsets = np.concatenate(places)
    return TokenMap(
        np.concatenate(ids),
        np.ascontiguousarray(offsets[:, 0]),
        np.ascontiguousarray(offsets[:, 1]),
        forced,
    )


def _cuts_in_long_words(text: str) -> frozenset[int]:
    """Counted from the word's own start, so that an edit elsewhere does not move them."""
    return frozenset(
        at
        for word in _LONG_WORD.finditer(text)
        for at in range(word.start() + MAX_WORD_CHARACTERS, word.end(), MAX_WORD_CHARACTERS)
    )


def _segment_edges(text: str, forced: frozenset[int]) -> list[int]:
    """Return 0, the offsets where a new segment starts, and the text's length."""
    edges = [0]
    for stop in [*sorted(forced), len(text)]:
        while stop - edges[-1] > _SEGMENT:
            start = edges[-1]
            at = max(
                text.rfind("\n", start + 1, start + _SEGMENT),
                text.rfind(" ", start + 1, start + _SEGMENT),
            )
            edges.append(at if at > start else start + _SEGMENT)
        if stop > edges[-1]:
            edges.append(stop)
    return edges
