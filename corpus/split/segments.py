"""A document → its own text and its parts, each of which is divided as a document of its own."""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from corpus.clean.blocks import CleanedDocument
from corpus.clean.parts import Part


class Segment(NamedTuple):
    """A slice of a document."""

    document: CleanedDocument
    """The slice by itself."""
    start: int
    """Character offset in the whole document."""
    part: Part | None = None
    """None: the document's own text."""


def segments(document: CleanedDocument) -> Iterator[Segment]:
    """Yield the slices of a document in order; one without parts is one slice."""
    parts = [part for part in document.parts if part.end > part.start]
    if not parts:
        yield Segment(document, 0)
        return
    edges = [0, *(part.start for part in parts), len(document.text)]
    owners = [None, *parts]
    for part, (start, end) in zip(owners, pairwise(edges), strict=True):
        yield Segment(_slice(document, start, end), start, part)


def _slice(document: CleanedDocument, start: int, end: int) -> CleanedDocument:
    text = document.text[start:end].rstrip()
    inside = (block for block in document.blocks if start <= block.start < end)
    blocks = (block.moved(-start) for block in inside)
    return CleanedDocument(text, tuple(blocks))
