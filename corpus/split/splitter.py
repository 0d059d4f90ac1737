"""Cleaned text → chunks, which end where the structure is, at places that an edit elsewhere does not move.

A span of text that the model can read at once is a chunk. A longer one is divided at its best boundary, and each side
is looked at again. *Best* is a property of the place alone (see `boundaries`), so an edit changes the boundaries beside
it and no others. Small neighbours are then joined again, within a few chunks' distance.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from corpus.chunk import Chunk
from corpus.clean.blocks import CleanedDocument
from corpus.embed.tokenizer import ChunkTokenizer
from corpus.preparation import Context, PreparationSpec
from corpus.split.above import CHARACTERS_PER_TOKEN, Lead, Outline
from corpus.split.boundaries import Boundaries, structural, words
from corpus.split.segments import segments
from corpus.split.token_map import TokenMap, map_tokens

# Pieces are joined where they fit in spans of so many budgets and less, so that no edit is felt further away than this.
_LOCAL_BUDGETS = 8
# Divisions inside each other; real texts stay below 40. Beyond it the middle is taken, whatever its key.
_MAX_DEPTH = 100


class TooManyChunks(Exception):
    """The document has more chunks than `max_chunks`."""


class _Span(NamedTuple):
    """A range of token numbers."""

    first: int
    end: int

    @property
    def tokens(self) -> int:
        return self.end - self.first


class _Slice(NamedTuple):
    """A piece of the text that becomes a chunk."""

    start: int
    text: str
    token_ids: tuple[int, ...]
    """Of the header that is repeated, and of the text."""
    lead: Lead


def split(
    document: CleanedDocument,
    tokenizer: ChunkTokenizer,
    spec: PreparationSpec,
    *,
    context: Context = "none",
    title: str | None = None,
) -> list[Chunk]:
    """Divide a document into chunks that the model reads whole.

    Together, in order, the chunks hold all of the text but white space; each is a slice of it, behind the repeated
    header of the table that it continues. No chunk has text of two parts, and those of a part are what the part would
    have as a document of its own, with its name as the title.

    Args:
        document: cleaned.
        tokenizer: of the model.
        spec: sizes.
        context: what the model is given above a chunk.
        title: of the document, as its event has it; it counts as a heading above all others. A part has its name.

    Raises:
        TooManyChunks: more than `spec.max_chunks`.
    """
    limit = min(tokenizer.limit, spec.max_tokens or tokenizer.limit)
    budget = max(limit - tokenizer.special_tokens, 1)
    chunks: list[Chunk] = []
    for segment in segments(document):
        part_name = segment.part.name if segment.part else ""
        outline = Outline(
            segment.document,
            tokenizer,
            budget,
            context=context == "headings",
            title=part_name or title or "",
        )
        divided = _divided(segment.document, tokenizer, spec, budget, outline)
        chunks += _placed(divided, segment.start, part_name)
    if spec.chunker != "whole" and len(chunks) > spec.max_chunks:
        raise TooManyChunks(
            f"the document has {len(chunks)} chunks, more than max_chunks = {spec.max_chunks}; "
            "raise the limit or split the document at its source"
        )
    return chunks


def _divided(
    document: CleanedDocument,
    tokenizer: ChunkTokenizer,
    spec: PreparationSpec,
    budget: int,
    outline: Outline,
) -> list[Chunk]:
    """The chunks of a document without parts."""
    if not document.text or document.text.isspace():
        return []
    if spec.chunker == "whole":
        return [_whole(document, tokenizer, budget, outline)]
    min_tokens = min(spec.min_tokens, budget)
    return _Splitter(document, tokenizer, outline, budget, min_tokens).chunks()


def _placed(chunks: list[Chunk], start: int, part_name: str) -> list[Chunk]:
    """Chunks of a slice, with their places in the whole document."""
    if not part_name:
        return chunks
    return [
        replace(chunk, start=chunk.start + start, part_name=part_name)
        for chunk in chunks
    ]


def _whole(
    document: CleanedDocument,
    tokenizer: ChunkTokenizer,
    budget: int,
    outline: Outline,
) -> Chunk:
    tokens = map_tokens(document.text, tokenizer)
    text = document.text.strip()
    start = document.text.find(text)
    lead = outline.lead(start)
    room = budget - lead.tokens
    ids = tokens.ids[:room].tolist()
    return Chunk(
        start,
        text,
        tuple(ids),
        outline.first_path(),
        truncated=len(tokens.ids) > room,
        context=lead.context,
        context_ids=lead.context_ids,
    )


class _Splitter:
    """Divides one document.

    Args:
        outline: of the document.
        budget: tokens per chunk.
        min_tokens: smaller pieces are joined to a neighbour where they fit.
    """

    def __init__(
        self,
        document: CleanedDocument,
        tokenizer: ChunkTokenizer,
        outline: Outline,
        budget: int,
        min_tokens: int,
    ) -> None:
        self._document = document
        self._outline = outline
        self._text = document.text
        self._tokenizer = tokenizer
        self._budget = budget
        self._min_tokens = min_tokens
        self._max_characters = budget * CHARACTERS_PER_TOKEN
        self._tokens: TokenMap = map_tokens(self._text, tokenizer)

    def chunks(self) -> list[Chunk]:
        """1. find the spans, 2. slice text and tokens, 3. name the headings above each."""
        # 1.
        spans = self._spans()
        # 2., 3.
        return [self._chunk(one) for one in self._slices(spans)]

    def _chunk(self, one: _Slice) -> Chunk:
        lead = one.lead
        return Chunk(
            one.start,
            lead.header + one.text,
            one.token_ids,
            self._outline.path(one.start),
            repeated=len(lead.header),
            context=lead.context,
            context_ids=lead.context_ids,
        )

    # Spans

    def _spans(self) -> list[_Span]:
        whole = _Span(0, len(self._tokens.ids))
        if not whole.tokens:
            return []
        blocks = self._document.blocks
        boundaries = structural(self._text, blocks, self._tokens, self._room_at)
        return self._divide(whole, boundaries, depth=0)

    def _room_at(self, place: int) -> int:
        return self._budget - self._outline.lead(place).tokens

    def _divide(self, span: _Span, boundaries: Boundaries, depth: int) -> list[_Span]:
        """Divide a span into spans that fit."""
        if span.tokens <= 1 or self._fits(span):
            return [span]
        if not boundaries.has_any_inside(span.first, span.end):
            boundaries = words(self._text, self._tokens, span.first, span.end)
        middle = (span.first + span.end) // 2
        places = boundaries.places_inside(
            span.first, span.end, best_only=depth < _MAX_DEPTH
        )
        place = int(places[np.abs(places - middle).argmin()])
        left = self._divide(_Span(span.first, place), boundaries, depth + 1)
        right = self._divide(_Span(place, span.end), boundaries, depth + 1)
        local = span.tokens <= _LOCAL_BUDGETS * self._budget
        return self._put_together(left, right, local=local)

    def _put_together(
        self, left: list[_Span], right: list[_Span], *, local: bool
    ) -> list[_Span]:
        """Return both lists as one; the spans that meet are joined if they fit into one chunk."""
        before, after = left[-1], right[0]
        joined = _Span(before.first, after.end)
        small = min(before.tokens, after.tokens) < self._min_tokens
        if (local or small) and self._fits(joined):
            return [*left[:-1], joined, *right[1:]]
        return left + right

    def _fits(self, span: _Span) -> bool:
        if span.tokens > self._budget:
            return False
        start = int(self._tokens.starts[span.first])
        end = int(self._tokens.ends[span.end - 1])
        lead = self._outline.lead(start)
        if span.tokens + lead.tokens > self._budget:
            return False
        return end - start + lead.characters <= self._max_characters

    # Slices

    def _slices(self, spans: list[_Span]) -> Iterator[_Slice]:
        """Yield the slices of the text, in order. A text without tokens is one slice."""
        if not spans:
            yield from self._encoded(0, len(self._text))
            return
        first_tokens = [span.first for span in spans[1:]]
        inner_edges = self._tokens.starts[first_tokens].tolist()
        edges = [0, *inner_edges, len(self._text)]
        for number, span in enumerate(spans):
            yield from self._slice(edges[number], edges[number + 1], span)

    def _slice(self, start: int, end: int, span: _Span) -> Iterator[_Slice]:
        """Yield the slice of a span; several, if it has to be encoded again and has more tokens then."""
        begin, text = self._stripped(start, end)
        lead = self._outline.lead(begin)
        fits = lead.tokens + span.tokens <= self._budget
        if text and fits and self._keeps_its_tokens(begin, text):
            token_ids = self._tokens.ids[span.first : span.end]
            ids = (*lead.header_ids, *token_ids.tolist())
            yield _Slice(begin, text, ids, lead)
        elif text:
            yield from self._encoded(begin, begin + len(text))

    def _encoded(self, start: int, end: int) -> Iterator[_Slice]:
        """Yield slices with the tokens of their own text, as many as are needed for each to fit."""
        begin, text = self._stripped(start, end)
        if not text:
            return
        lead = self._outline.lead(begin)
        token_ids, _ = self._tokenizer.encode(lead.header + text)
        tokens = len(lead.context_ids) + len(token_ids)
        fits = tokens <= self._budget and self._is_short(text)
        if fits or len(text) <= 1:
            yield _Slice(begin, text, tuple(token_ids), lead)
            return
        _, offsets = self._tokenizer.encode(text)
        middle = begin + _middle(text, offsets)
        yield from self._encoded(begin, middle)
        yield from self._encoded(middle, begin + len(text))

    def _stripped(self, start: int, end: int) -> tuple[int, str]:
        """Return the text between two offsets without white space around it, and where it begins."""
        whole = self._text[start:end]
        text = whole.lstrip()
        begin = start + len(whole) - len(text)
        return begin, text.rstrip()

    def _is_short(self, text: str) -> bool:
        return len(text) <= 2 * self._max_characters

    def _keeps_its_tokens(self, start: int, text: str) -> bool:
        """Are the tokens of this slice what the slice by itself would give? Not if a word was divided."""
        if not self._tokenizer.word_by_word or not self._is_short(text):
            return False
        end = start + len(text)
        if _may_join(self._text, start) or _may_join(self._text, end):
            return False
        return not any(start <= place <= end for place in self._tokens.forced)


def _middle(text: str, offsets: Sequence[tuple[int, int]]) -> int:
    """Return where the middle token begins; without one, the middle of the text."""
    if len(offsets) > 1:
        start, _ = offsets[len(offsets) // 2]
        if start:
            return start
    return len(text) // 2


def _may_join(text: str, place: int) -> bool:
    """Could a tokenizer read the characters beside a place as parts of one word?

    Beyond ASCII there are marks between letters which it drops.
    """
    if not 0 < place < len(text):
        return False
    left, right = text[place - 1], text[place]
    if left.isspace() or right.isspace():
        return False
    both_letters = left.isalnum() and right.isalnum()
    both_ascii = left.isascii() and right.isascii()
    return both_letters or not both_ascii
