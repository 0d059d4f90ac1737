"""What a line of reStructuredText begins."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from corpus.clean.blocks import BlockKind
from corpus.clean.plain import LIST_ITEM

RULE = re.compile(r"([!-/:-@\[-`{-~])\1{2,}$")
GRID = re.compile(r"\s*\+[-=+]+\+$")
"""A border of a grid table."""
SIMPLE = re.compile(r"\s*={2,}(?: +={2,})+$")
"""A border of a simple table."""
_HEADER_BORDER = re.compile(r"\s*\+=[=+]*\+$")
EXPLICIT = re.compile(r"\s*\.\.(?: |$)")
FOOTNOTE = re.compile(r"\[[^\]\s]{1,40}\]")
TARGET = re.compile(r"_(?:[^:\\`]|\\.|`[^`]*`)*:(?:\s|$)|__:(?:\s|$)")
SUBSTITUTION = re.compile(r"\|[^|]+\|\s")
DIRECTIVE = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[\w.+-]{0,60})(?::[\w.+-]{1,60}){0,2}) ?::(?:\s+(?P<argument>.*))?$"
)

_INSIDE = re.compile(
    "|".join(each.pattern for each in (DIRECTIVE, FOOTNOTE, TARGET, SUBSTITUTION))
)


@dataclass(frozen=True, slots=True)
class Heading:
    """A title and the lines that it takes with its rules."""

    style: str
    """The underline's character; twice with an overline, which is a style of its own."""
    lines: int


def is_explicit_inside(line: str) -> bool:
    """Does explicit markup begin in the middle of other lines? A comment does not, since it may be text."""
    explicit = EXPLICIT.match(line)
    if explicit is None:
        return False
    marked = _INSIDE.match(line, explicit.end())
    return marked is not None


def list_pieces(lines: list[str]) -> Iterator[tuple[BlockKind, str]]:
    """Yield list items and what is before them."""
    kind = BlockKind.PARAGRAPH
    piece: list[str] = []
    for line in lines:
        if LIST_ITEM.match(line):
            if piece:
                yield kind, "\n".join(piece)
            kind, piece = BlockKind.LIST_ITEM, []
        piece.append(line)
    if piece:
        yield kind, "\n".join(piece)


def heading_at(lines: Sequence[str]) -> Heading | None:
    """Return the heading that begins with the first of these (one to three) lines, of which that one is not blank."""
    title, underline, *rest = *lines, ""
    if not underline:
        return None
    if RULE.match(title):
        if underline.strip() and rest[:1] == [title]:
            return Heading(title[0] * 2, 3)
        return None
    long_enough = len(underline) >= len(title) - 3
    if RULE.match(underline) and long_enough and not title.startswith(" "):
        return Heading(underline[0], 2)
    return None


def header_lines(table: Sequence[str]) -> int:
    """Return how many of a table's first lines name its columns: up to the border below them."""
    border = _HEADER_BORDER if GRID.match(table[0]) else SIMPLE
    for number, line in enumerate(table[1:-1], 2):
        if border.match(line):
            return number
    return 0


def indentation_of(line: str) -> int:
    """Return the number of spaces before a line's text."""
    return len(line) - len(line.lstrip())
