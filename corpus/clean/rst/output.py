"""The text of a document as it is put together, with its blocks."""

from typing import NamedTuple

from corpus.clean.block_builder import first_visible
from corpus.clean.blocks import Block, BlockKind

_MAX_BLANK_LINES = 2


class _Span(NamedTuple):
    """Lines of one block."""

    first: int
    end: int
    kind: BlockKind
    level: int
    header_end: int
    """Behind the last line of a table's header; as `first`: there is none."""


class Output:
    """Collects blocks of whole lines."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._spans: list[_Span] = []

    def blank(self) -> None:
        """Add a blank line, unless there are two, or nothing is before it."""
        if self._lines and any(self._lines[-_MAX_BLANK_LINES:]):
            self._lines.append("")

    def add(
        self, kind: BlockKind, text: str, level: int = 0, header_lines: int = 0
    ) -> None:
        """Add a block without the blank lines around it; a blank text is none.

        Args:
            kind: of the block.
            text: of the block.
            level: of a heading.
            header_lines: how many of a table's first lines name its columns; a table begins with no blank line.
        """
        lines = text.split("\n")
        if kind is not BlockKind.CODE:
            lines = [line.rstrip() for line in lines]
        while lines and not lines[-1].strip():
            lines.pop()
        start = 0
        while start < len(lines) and not lines[start].strip():
            start += 1
        if start == len(lines):
            return
        first = len(self._lines)
        self._lines += lines[start:]
        end = len(self._lines)
        self._spans.append(_Span(first, end, kind, level, first + header_lines))

    def finish(self) -> tuple[str, tuple[Block, ...]]:
        """Return the text and its blocks."""
        text = "\n".join(self._lines).rstrip()
        starts = [0]
        for line in self._lines:
            starts.append(starts[-1] + len(line) + 1)
        blocks: list[Block] = []
        for span in self._spans:
            start, end = starts[span.first], starts[span.end] - 1
            if span.kind is not BlockKind.CODE:
                start = first_visible(text, start, end)
            header = (0, 0)
            if span.first < span.header_end < span.end:
                header = (start, starts[span.header_end] - 1)
            blocks.append(Block(start, end, span.kind, span.level, *header))
        return text, tuple(blocks)
