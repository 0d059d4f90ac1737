"""Collects the lines of a text into blocks."""

from collections.abc import Iterator

from corpus.clean.blocks import Block, BlockKind


def numbered_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield each line with the character offset at which it starts."""
    offset = 0
    for line in text.split("\n"):
        yield offset, line
        offset += len(line) + 1


def first_visible(text: str, start: int, end: int) -> int:
    """Return the offset of the first character in `text[start:end]` that is not a space or a tab."""
    while start < end - 1 and text[start] in " \t":
        start += 1
    return start


class BlockBuilder:
    """Joins neighbouring lines into blocks; at most one block is open at a time.

    Offsets are characters in the whole text.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._blocks: list[Block] = []
        self._start = -1
        self._end = -1
        self._kind = BlockKind.PARAGRAPH

    @property
    def kind(self) -> BlockKind | None:
        """Kind of the open block; None if no block is open."""
        if self._start < 0:
            return None
        return self._kind

    def open(self, start: int, kind: BlockKind) -> None:
        """Start a block of `kind` at `start`; the open block ends."""
        self.close()
        self._start = start
        self._kind = kind

    def extend(self, start: int, line: str) -> None:
        """Add a line that is not blank to the open block; without one, a paragraph starts here."""
        if self._start < 0:
            self.open(start, BlockKind.PARAGRAPH)
        self._end = start + len(line)

    def close(self) -> None:
        """End the open block, if there is one."""
        if self._start < 0:
            return
        start = self._start
        if (
            self._kind is not BlockKind.CODE
        ):  # code keeps the indentation of its first line
            start = first_visible(self._text, start, self._end)
        self._blocks.append(Block(start, self._end, self._kind))
        self._start = -1

    def heading(self, start: int, end: int, level: int) -> None:
        """Add a whole heading; the open block ends."""
        self.close()
        start = first_visible(self._text, start, end)
        self._blocks.append(Block(start, end, BlockKind.HEADING, level))

    def finish(self) -> tuple[Block, ...]:
        """End the open block and return all blocks."""
        self.close()
        return tuple(self._blocks)
