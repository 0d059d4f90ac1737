"""reStructuredText → blocks.

A scanner of our own, which looks at each line once. docutils, the reference parser, gives no line ranges (only the line
near which a node begins, for some nodes none), may read files that a document includes, and takes 19 times as long.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from corpus.clean.block_builder import BlockBuilder
from corpus.clean.blocks import Block, BlockKind
from corpus.clean.plain import LIST_ITEM

_RULE = re.compile(r"([!-/:-@\[-`{-~])\1{2,}$")
_TABLE = re.compile(r"\s*(?:\+[-=+]+\+|={2,}(?: +={2,})+)$")
_CODE_DIRECTIVE = re.compile(
    r"\s*\.\. (?:code|code-block|sourcecode|parsed-literal|productionlist)::"
)
_MAX_LEVEL = 6


def rst_blocks(text: str) -> tuple[Block, ...]:
    """Return headings (with or without overline), literal blocks, tables, list items, paragraphs.

    A heading's level is the order in which its underline style first appears, as docutils has it.
    """
    return _Scanner(text).blocks()


@dataclass(frozen=True, slots=True)
class _Heading:
    style: str
    """The underline's character; twice with an overline, which is a style of its own."""
    lines: int


class _Scanner:
    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        self._builder = BlockBuilder(text)
        self._levels: dict[str, int] = {}
        # Indentation of the line that announced a literal block, which is indented more; None: no such line.
        self._announced: int | None = None

    def blocks(self) -> tuple[Block, ...]:
        number = offset = 0
        while number < len(self._lines):
            end = number + self._read(number, offset)
            while number < end:
                offset += len(self._lines[number]) + 1
                number += 1
        return self._builder.finish()

    def _read(self, number: int, offset: int) -> int:
        """Read what starts at a line; return how many lines it has."""
        line = self._lines[number]
        in_code = self._builder.kind is BlockKind.CODE
        if not line:
            if not in_code:
                self._builder.close()
            return 1
        if self._announced is not None and _indentation(line) > self._announced:
            if not in_code:
                self._builder.open(offset, BlockKind.CODE)
            self._builder.extend(offset, line)
            return 1
        if in_code:
            self._builder.close()
        self._announced = None
        return self._read_heading(number, offset) or self._read_text(line, offset)

    def _read_heading(self, number: int, offset: int) -> int:
        """Add the heading that starts at a line; return how many lines it has, 0 if there is none."""
        if self._builder.kind is not None:
            return 0
        heading = _heading_at(self._lines[number : number + 3])
        if heading is None:
            return 0
        lines = self._lines[number : number + heading.lines]
        level = self._levels.setdefault(heading.style, len(self._levels) + 1)
        self._builder.heading(
            offset, offset + len("\n".join(lines)), min(level, _MAX_LEVEL)
        )
        return heading.lines

    def _read_text(self, line: str, offset: int) -> int:
        if self._builder.kind is not BlockKind.TABLE:
            if _TABLE.match(line):
                self._builder.open(offset, BlockKind.TABLE)
            elif LIST_ITEM.match(line):
                self._builder.open(offset, BlockKind.LIST_ITEM)
        self._builder.extend(offset, line)
        if _announces_code(line):
            self._announced = _indentation(line)
        return 1


def _heading_at(lines: Sequence[str]) -> _Heading | None:
    """Return the heading that begins with the first of these (one to three) lines, of which that one is not blank."""
    title, underline, *rest = *lines, ""
    if not underline:
        return None
    if _RULE.match(title):
        if underline.strip() and rest[:1] == [title]:
            return _Heading(title[0] * 2, 3)
        return None
    long_enough = len(underline) >= len(title) - 3
    if _RULE.match(underline) and long_enough and not title.startswith(" "):
        return _Heading(underline[0], 2)
    return None


def _announces_code(line: str) -> bool:
    if _CODE_DIRECTIVE.match(line):
        return True
    return line.endswith("::") and ".. " not in line


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip())
