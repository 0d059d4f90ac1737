"""Cleaned text → chunks: cut where the structure is, at places that an edit elsewhere does not move.

A span of text that the model can read at once is a chunk. A longer one is cut at its best boundary, and each side is
looked at again. *Best* is a property of the place alone (see `boundaries`), so an edit changes the cuts next to it and
no others. Small neighbours are then joined again, within a few chunks' distance.
"""

from bisect import bisect_right
from collections.abc import Iterator

import numpy as np

from corpus.chunk import Chunk
from corpus.clean.blocks import BlockKind, CleanedDocument
from corpus.embed.tokenizer import ChunkTokenizer
from corpus.preparation import PreparationSpec
from corpus.split.boundaries import Boundaries, structural, words
from corpus.split.token_map import TokenMap, map_tokens

# Characters a token: text with less than one token in so many is cut as if it were longer. An index row stays small.
_CHARACTERS_PER_TOKEN = 16
# Pieces are joined where they fit in spans of so many budgets and less, so that no edit is felt further away than this.
_LOCAL_BUDGETS = 8
_MAX_DEPTH = 100  # cuts above each other; real texts stay below 40. Beyond it the middle is taken whatever its key.
_HEADING_CHARACTERS = 200


class TooManyChunks(Exception):
    """The document has more chunks than `max_chunks`."""


def split(
    document: CleanedDocument, tokenizer: ChunkTokenizer, spec: PreparationSpec
) -> list[Chunk]:
    """MicroBatch a document into chunks that the model reads whole.

    Together, in order, the chunks hold all of the text but white space; each is a slice of it.

    Raises:
        TooManyChunks: more than `spec.max_chunks`.
    """
    if not document.text or document.text.isspace():
        return []
    limit = min(tokenizer.limit, spec.max_tokens or tokenizer.limit)
    budget = max(limit - tokenizer.special_tokens, 1)
    if spec.chunker == "whole":
        return [_whole(document, tokenizer, budget)]
    chunks = _Splitter(document, tokenizer, budget, min(spec.min_tokens, budget)).chunks()
    if len(chunks) > spec.max_chunks:
        raise TooManyChunks(
            f"the document has {len(chunks)} chunks, more than max_chunks = {spec.max_chunks}; raise the limit or split the document at its source"
        )
    return chunks


def _whole(document: CleanedDocument, tokenizer: ChunkTokenizer, budget: int) -> Chunk:
    tokens = map_tokens(document.text, tokenizer)
    ids = tuple(tokens.ids[:budget].tolist())
    text = document.text.strip()
    return Chunk(
        document.text.find(text),
        text,
        ids,
        next(_headings(document), (0, None))[1],
        truncated=len(tokens.ids) > budget,
    )


class _Splitter:
    """One document on its way; spans are ranges of token numbers."""

    def __init__(
        self, document: CleanedDocument, tokenizer: ChunkTokenizer, budget: int, small: int
    ) -> None:
        self.document = document
        self.text = document.text
        self.tokenizer = tokenizer
        self.budget = budget
        self.small = small
        self.widest = budget * _CHARACTERS_PER_TOKEN
        self.tokens: TokenMap = map_tokens(self.text, tokenizer)

    def chunks(self) -> list[Chunk]:
        """1. find the spans, 2. slice text and tokens, 3. name the headings above each."""
        # 1.
        count = len(self.tokens.ids)
        boundaries = structural(self.text, self.document.blocks, self.tokens, self.budget)
        spans = self._cut(0, count, boundaries, 0) if count else []
        # 2.
        edges = [0, *self.tokens.starts[[first for first, _ in spans[1:]]].tolist(), len(self.text)]
        slices = [
            piece
            for number in range(len(edges) - 1)
            for piece in self._slices(edges[number], edges[number + 1], spans[number : number + 1])
        ]
        # 3.
        headings = list(_headings(self.document))
        begins = [start for start, _ in headings]
        chunks: list[Chunk] = []
        for start, text, ids in slices:
            above = bisect_right(begins, start)
            chunks.append(Chunk(start, text, ids, headings[above - 1][1] if above else None))
        return chunks

    # Cutting

    def _fits(self, first: int, end: int) -> bool:
        return (
            end - first <= self.budget
            and int(self.tokens.ends[end - 1] - self.tokens.starts[first]) <= self.widest
        )

    def _cut(
        self, first: int, end: int, boundaries: Boundaries, depth: int
    ) -> list[tuple[int, int]]:
        """MicroBatch a span into spans that fit."""
        if end - first <= 1 or self._fits(first, end):
            return [(first, end)]
        low, high = boundaries.between(first, end)
        if low == high:
            boundaries = words(self.text, self.tokens, first, end)
            low, high = boundaries.between(first, end)
        places, keys = boundaries.tokens[low:high], boundaries.keys[low:high]
        best = places[keys == keys.min()] if depth < _MAX_DEPTH else places
        at = int(
            best[np.abs(best - (first + end) // 2).argmin()]
        )  # of equals the one in the middle
        left = self._cut(first, at, boundaries, depth + 1)
        right = self._cut(at, end, boundaries, depth + 1)
        return self._joined(left, right, local=end - first <= _LOCAL_BUDGETS * self.budget)

    def _joined(
        self, left: list[tuple[int, int]], right: list[tuple[int, int]], *, local: bool
    ) -> list[tuple[int, int]]:
        """Put two lists of spans together, joining the spans that meet if they fit into one."""
        (first, middle), (_, end) = left[-1], right[0]
        if self._fits(first, end) and (local or min(middle - first, end - middle) < self.small):
            return [*left[:-1], (first, end), *right[1:]]
        return left + right

    # Slicing

    def _slices(
        self, start: int, end: int, span: list[tuple[int, int]]
    ) -> Iterator[tuple[int, str, tuple[int, ...]]]:
        """Yield start, text and token ids of a chunk; of several, where its tokens have to be made again and are more."""
        text = self.text[start:end].strip()
        if not text:
            return
        begin = start + self.text[start:end].index(text[0]) if self.text[start].isspace() else start
        if (
            span
            and len(text) <= 2 * self.widest
            and self.tokenizer.word_by_word
            and self._exact(begin, begin + len(text))
        ):
            first, last = span[0]
            yield begin, text, tuple(self.tokens.ids[first:last].tolist())
            return
        ids, offsets = self.tokenizer.encode(text)
        if len(text) <= 1 or (len(ids) <= self.budget and len(text) <= 2 * self.widest):
            yield begin, text, tuple(ids)
            return
        # Where tokens end in the middle, else in the middle of the text.
        half = (
            offsets[len(offsets) // 2][0]
            if len(offsets) > 1 and offsets[len(offsets) // 2][0]
            else len(text) // 2
        )
        yield from self._slices(begin, begin + half, [])
        yield from self._slices(begin + half, begin + len(text), [])

    def _exact(self, start: int, end: int) -> bool:
        """Are the tokens of this slice what the slice by itself would give? Not if a word was cut."""
        text = self.text
        if (start and _may_join(text[start - 1], text[start])) or (
            end < len(text) and _may_join(text[end - 1], text[end])
        ):
            return False
        return not any(start <= at <= end for at in self.tokens.forced)


def _may_join(left: str, right: str) -> bool:
    """Whether a tokenizer may read the two as parts of one word: beyond ASCII, marks that it drops stand between letters."""
    if left.isspace() or right.isspace():
        return False
    return (left.isalnum() and right.isalnum()) or not (left.isascii() and right.isascii())


def _headings(document: CleanedDocument) -> Iterator[tuple[int, str | None]]:
    """Yield, for every heading, its offset and the path that leads to it."""
    path: list[tuple[int, str]] = []
    for block in document.blocks:
        if block.kind is BlockKind.HEADING:
            path = [(level, title) for level, title in path if level < block.level]
            path.append((block.level, _title(document.text[block.start : block.end])))
            yield block.start, " > ".join(title for _, title in path)[:_HEADING_CHARACTERS]


def _title(heading: str) -> str:
    """The words of a heading, without the marks that make it one."""
    lines = [line.strip() for line in heading.split("\n")]
    words_of = next(
        (line for line in lines if any(character.isalnum() for character in line)), lines[0]
    )
    return (
        words_of.lstrip("#").rstrip("#").strip() if words_of.startswith(("# ", "##")) else words_of
    )
