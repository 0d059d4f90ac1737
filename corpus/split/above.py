"""What stands above a place of a text: its headings, and the header of the table that the place is in.

A chunk that begins there is read below them: the model is given the headings where the source asks for it, and the
rows of a table always have its header above them. Both count as tokens of the chunk.
"""

from bisect import bisect_right
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from corpus.clean.blocks import Block, BlockKind, CleanedDocument
from corpus.embed.tokenizer import ChunkTokenizer

SEPARATOR = " > "
# A text with more characters per token counts as if it had more tokens, so that a row of the index stays small.
CHARACTERS_PER_TOKEN = 16
_MAX_HEADING_CHARACTERS = 200
# Shares of a chunk's tokens.
_MAX_CONTEXT = 1 / 4
_MAX_HEADER = 1 / 2


class Lead(NamedTuple):
    """What a chunk is read below."""

    context: str = ""
    context_ids: tuple[int, ...] = ()
    header: str = ""
    """Whole lines, the last line's end included."""
    header_ids: tuple[int, ...] = ()

    @property
    def tokens(self) -> int:
        """How many it has."""
        return len(self.context_ids) + len(self.header_ids)

    @property
    def characters(self) -> int:
        """How many it has."""
        return len(self.context) + len(self.header)


_NOTHING = Lead()


class _Heading(NamedTuple):
    start: int
    end: int
    titles: tuple[str, ...]
    """From the outermost heading to this one."""


class Outline:
    """Headings and tables of one document, by place.

    Args:
        budget: tokens per chunk.
        context: whether the model is given the headings above a chunk.
        title: of the document: its outermost heading; empty: it has none.
    """

    def __init__(
        self,
        document: CleanedDocument,
        tokenizer: ChunkTokenizer,
        budget: int,
        *,
        context: bool,
        title: str,
    ) -> None:
        self._text = document.text
        self._budget = budget
        self._has_context = context
        self._title = " ".join(title.split())
        self._headings = list(_headings(document))
        self._heading_starts = [heading.start for heading in self._headings]
        self._tables = [block for block in document.blocks if block.header_end]
        self._table_starts = [table.header_end for table in self._tables]
        # The outline lives as long as its document is divided; most places share what is above them.
        self._tokenizer = tokenizer
        self._ids = cache(self._encoded)
        self._context_of = cache(self._context)
        self._header_of = cache(self._header)

    def path(self, place: int) -> str | None:
        """Return the headings above a place or at it ("Book > Chapter"); None: there is none."""
        above = bisect_right(self._heading_starts, place)
        if not above:
            return None
        path = SEPARATOR.join(self._headings[above - 1].titles)
        return path[:_MAX_HEADING_CHARACTERS]

    def first_path(self) -> str | None:
        """Return the document's first heading; None: there is none."""
        if not self._headings:
            return None
        return self.path(self._headings[0].start)

    def lead(self, place: int) -> Lead:
        """Return what a chunk that begins at a place is read below."""
        context, header = "", ""
        if self._has_context:
            context = self._context_of(self._titles(place))
        if self._tables:
            header = self._header_of(self._table(place))
        if not context and not header:
            return _NOTHING
        context_ids = self._ids(f"{context}\n") if context else ()
        return Lead(context, context_ids, header, self._ids(header))

    def _encoded(self, text: str) -> tuple[int, ...]:
        token_ids, _ = self._tokenizer.encode(text)
        return tuple(token_ids)

    # Context

    def _titles(self, place: int) -> tuple[str, ...]:
        """Return the headings above a place, the document's title first; a heading at the place is in the chunk."""
        above = bisect_right(self._heading_starts, place)
        if not above:
            return (self._title,) if self._title else ()
        heading = self._headings[above - 1]
        titles = heading.titles
        is_titled = not self._title or _same(titles[0], self._title)
        if place < heading.end:
            titles = titles[:-1]
        return titles if is_titled else (self._title, *titles)

    def _context(self, titles: tuple[str, ...]) -> str:
        """Join titles; where they are too long, the outermost are left out."""
        for first in range(len(titles)):
            context = SEPARATOR.join(titles[first:])
            if self._takes(f"{context}\n", _MAX_CONTEXT):
                return context
        return ""

    # Tables

    def _table(self, place: int) -> int:
        """Return the number of the table whose rows are at a place, below its header; -1: none."""
        number = bisect_right(self._table_starts, place) - 1
        if number >= 0 and place < self._tables[number].end:
            return number
        return -1

    def _header(self, number: int) -> str:
        """Return the header of a table; one that would leave its rows no room is not repeated."""
        if number < 0:
            return ""
        table = self._tables[number]
        header = self._text[table.header_start : table.header_end] + "\n"
        return header if self._takes(header, _MAX_HEADER) else ""

    def _takes(self, text: str, share: float) -> bool:
        """Does a text take no more than a share of a chunk?"""
        most = int(self._budget * share)
        if len(text) > most * CHARACTERS_PER_TOKEN:
            return False
        return len(self._ids(text)) <= most


def _same(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()


def _headings(document: CleanedDocument) -> Sequence[_Heading]:
    """Return every heading with the titles that lead to it."""
    above: list[tuple[int, str]] = []
    headings: list[_Heading] = []
    for block in document.blocks:
        if block.kind is not BlockKind.HEADING:
            continue
        while above and above[-1][0] >= block.level:
            above.pop()
        above.append((block.level, _title(document.text, block)))
        titles = tuple(title for _, title in above)
        headings.append(_Heading(block.start, block.end, titles))
    return headings


def _title(text: str, heading: Block) -> str:
    """Return the words of a heading, without the marks that make it one."""
    lines = text[heading.start : heading.end].split("\n")
    named = [line.strip() for line in lines if any(map(str.isalnum, line))]
    title = " ".join(named) or lines[0].strip()
    if not title.startswith(("# ", "##")):
        return title
    title = title.lstrip("#").strip()
    without_closing = title.rstrip("#")
    if without_closing.endswith(" "):  # "C #" is closed, "C#" is not
        return without_closing.rstrip()
    return title
