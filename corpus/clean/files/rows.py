"""Rows of cells → a table of lines, as the tables of pages are written: one line per row, a bar between cells."""

import re
from collections.abc import Iterable, Sequence

from corpus.clean.blocks import BlockKind
from corpus.clean.page.piece import NO_LINES, Lines, Piece

_NUMBER = re.compile(r"[-+]?[\d.,:/%€$£ -]+")


def table_piece(rows: Iterable[Sequence[str]]) -> Piece | None:
    """A table; None: it has no text.

    Args:
        rows: of cells, each a text in one line.
    """
    written: list[Sequence[str]] = []
    lines: list[str] = []
    for row in rows:
        line = " | ".join(row).rstrip(" |")
        if line:
            written.append(row)
            lines.append(line)
    if not lines:
        return None
    header = NO_LINES
    if len(lines) > 1 and _names_columns(written[0], written[1]):
        header = Lines(0, 1)
    lines[0] = lines[0].lstrip()  # a block begins with text
    return Piece(BlockKind.TABLE, 0, "\n".join(lines), header)


def _names_columns(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether a first row names the columns: as many names as cells below, each once, and none a number."""
    names = list(filter(None, first))
    count = len(names)
    if count < 2:
        return False
    numbers = map(_NUMBER.fullmatch, names)
    if any(numbers):
        return False
    below = list(filter(None, second))
    if count < len(below):
        return False
    different = set(names)
    return len(different) == count
