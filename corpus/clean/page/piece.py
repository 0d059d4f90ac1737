"""The blocks of a page, and the text that they make together."""

from typing import NamedTuple

from corpus.clean.account import AccountBuilder
from corpus.clean.blocks import Block, BlockKind, CleanedDocument


class Lines(NamedTuple):
    """A range of lines."""

    first: int
    end: int


NO_LINES = Lines(0, 0)


class Piece(NamedTuple):
    """A block that is not yet placed in a text."""

    kind: BlockKind
    level: int
    text: str
    header: Lines = NO_LINES
    """Of a table: the lines that name its columns."""

    def header_at(self, offset: int) -> tuple[int, int]:
        """Return where the header is in the text that has the piece at an offset; (0, 0): there is none."""
        first, end = self.header
        if first == end:
            return 0, 0
        lines = self.text.split("\n")
        if end >= len(lines):  # no row is left below it
            return 0, 0
        start = offset + sum(len(line) + 1 for line in lines[:first])
        length = len("\n".join(lines[first:end]))
        return start, start + length


def assembled(
    pieces: list[Piece], account: AccountBuilder, kept: int
) -> CleanedDocument:
    """Join blocks by an empty line, list items by a line's end."""
    parts: list[str] = []
    blocks: list[Block] = []
    offset = 0
    before: BlockKind | None = None
    for piece in pieces:
        kind = piece.kind
        if before is not None:
            separator = "\n" if kind is before is BlockKind.LIST_ITEM else "\n\n"
            parts.append(separator)
            offset += len(separator)
        end = offset + len(piece.text)
        parts.append(piece.text)
        header = piece.header_at(offset)
        blocks.append(Block(offset, end, kind, piece.level, *header))
        offset = end
        before = kind
    return CleanedDocument("".join(parts), tuple(blocks), account.finish(kept))
