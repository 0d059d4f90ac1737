"""Markdown → blocks.

The structure is markdown-it's: its block rules give exact line ranges. Nothing is rendered, so the text stays as its
author wrote it.
"""

import re
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.rules_block.html_block import HTML_SEQUENCES
from markdown_it.token import Token
from mdit_py_plugins.footnote import footnote_plugin

from corpus.clean.block_builder import first_visible
from corpus.clean.blocks import Block, BlockKind
from corpus.clean.markdown.rules import try_rules_by_first_character
from corpus.clean.plain import plain_blocks


# Definitions of links stay text, so the rule that takes them out is off. What nests deeper than the parser's limit (20
# containers) has no tokens; it is read as plain text.
def make_parser(*disabled: str) -> MarkdownIt:
    """Return a parser without some block rules."""
    parser = MarkdownIt("commonmark").enable("table").disable(["reference", *disabled])
    return parser.use(footnote_plugin)


_PARSER = try_rules_by_first_character(make_parser())
_PARSER_WITHOUT_HTML = try_rules_by_first_character(make_parser("html_block"))

# An end tag as browsers read it; CommonMark allows no space.
_SPACED_END = re.compile(r"</(?:script|style)\s+>", re.IGNORECASE)

# Of a table: the row that names the columns, and the one of dashes below it.
_HEADER_LINES = 2

_KINDS = {
    "heading_open": BlockKind.HEADING,
    "paragraph_open": BlockKind.PARAGRAPH,
    "hr": BlockKind.PARAGRAPH,
    "fence": BlockKind.CODE,
    "code_block": BlockKind.CODE,
    "table_open": BlockKind.TABLE,
}


class _Span(NamedTuple):
    """Lines of one block."""

    first: int
    end: int
    kind: BlockKind
    level: int


class Lines:
    """Where each line of a text is."""

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        lengths = [len(line) + 1 for line in self._lines]
        self._starts = list(accumulate(lengths, initial=0))

    def __len__(self) -> int:
        return len(self._lines)

    def start(self, number: int) -> int:
        """Offset of a line's first character."""
        return self._starts[number]

    def end(self, number: int) -> int:
        """Offset behind the last character before line `number`."""
        return self._starts[number] - 1

    def without_blank_end(self, first: int, end: int) -> int:
        """Return `end` without the blank lines before it."""
        while end > first and not self._lines[end - 1]:
            end -= 1
        return end


def markdown_blocks(text: str) -> tuple[Block, ...]:
    """Return headings, code, tables, list items and paragraphs.

    1. what the parser names
    2. between it (HTML, what nests too deep, an empty item) paragraphs and list items, as in plain text
    """
    lines = Lines(text)
    blocks: list[Block] = []
    covered = 0
    for span in _spans(parse(text)):
        # 2.
        _append_unnamed(blocks, text, lines, covered, span.first)
        # 1.
        end = lines.without_blank_end(span.first, span.end)
        blocks.append(_block(text, lines.start(span.first), lines.end(end), span))
        covered = end
    _append_unnamed(blocks, text, lines, covered, len(lines))
    return tuple(blocks)


# Structure


def parse(text: str) -> list[Token]:
    """Return the block tokens.

    By the letter of CommonMark, a comment (script, ...) without an end hides the rest of the document. It is more
    likely a slip than a wish, so from there on the document is read as if Markdown had no HTML blocks.
    """
    tokens = _block_tokens(_PARSER, text)
    last_line = text.count("\n") + 1
    for number, token in enumerate(tokens):
        first_line, end_line = token.map or (0, 0)
        if end_line == last_line and _never_ends(token):
            return tokens[:number] + _tokens_without_html(text, first_line)
    return tokens


def _tokens_without_html(text: str, first_line: int) -> list[Token]:
    """Return the tokens of the text from a line to the end."""
    tokens = _block_tokens(_PARSER_WITHOUT_HTML, text[Lines(text).start(first_line) :])
    for token in tokens:
        if token.map is not None:
            token.map = [line + first_line for line in token.map]
    return tokens


def _block_tokens(parser: MarkdownIt, text: str) -> list[Token]:
    tokens: list[Token] = []
    parser.block.parse(text, parser, {}, tokens)
    return tokens


def _never_ends(token: Token) -> bool:
    """Does an HTML block lack the end that it must have?"""
    if token.type != "html_block" or _SPACED_END.search(token.content):
        return False
    for opening, closing, _ in HTML_SEQUENCES:
        if opening.search(token.content):
            ends_at_blank_line = closing.search("") is not None
            return not ends_at_blank_line and closing.search(token.content) is None
    return False


def _spans(tokens: list[Token]) -> Iterator[_Span]:
    item_line = -1
    for token in tokens:
        if token.map is None:
            continue
        first, end = token.map
        if token.type == "list_item_open":
            item_line = first
        kind = _kind(token)
        if kind is BlockKind.PARAGRAPH and first == item_line:
            kind = BlockKind.LIST_ITEM
        if kind is not None:
            yield _Span(first, end, kind, _level(token, kind))


def _kind(token: Token) -> BlockKind | None:
    kind = _KINDS.get(token.type)
    if kind is BlockKind.HEADING and token.level:
        return (
            BlockKind.PARAGRAPH
        )  # in a quote or a list, where it is no part of the document's outline
    return kind


def _level(token: Token, kind: BlockKind) -> int:
    if kind is not BlockKind.HEADING:
        return 0
    return int(token.tag.removeprefix("h"))


def _block(text: str, start: int, end: int, span: _Span) -> Block:
    if span.kind is not BlockKind.CODE:  # code keeps the indentation of its first line
        start = first_visible(text, start, end)
    if span.kind is BlockKind.TABLE:
        header_end = _end_of_lines(text, start, _HEADER_LINES)
        return Block(start, end, span.kind, 0, start, header_end)
    return Block(start, end, span.kind, span.level)


def _end_of_lines(text: str, start: int, count: int) -> int:
    """Return where the last of some lines ends; every table has more."""
    end = start - 1
    for _ in range(count):
        end = text.find("\n", end + 1)
    return end


def _append_unnamed(
    blocks: list[Block], text: str, lines: Lines, first: int, end: int
) -> None:
    """Append the blocks of lines that the parser names nothing for."""
    end = lines.without_blank_end(first, end)
    if end == first:
        return
    offset = lines.start(first)
    for relative in plain_blocks(text[offset : lines.end(end)]):
        block = Block(relative.start + offset, relative.end + offset, relative.kind)
        if blocks and _continues(text, blocks[-1], block):
            before = blocks.pop()
            block = Block(before.start, block.end, before.kind)
        blocks.append(block)


def _continues(text: str, before: Block, block: Block) -> bool:
    """Is `block` nothing but marks at the end of the paragraph before it, such as the ">" of a quote's empty line?"""
    if before.kind not in (BlockKind.PARAGRAPH, BlockKind.LIST_ITEM):
        return False
    if block.kind is not BlockKind.PARAGRAPH:
        return False
    between = text[before.end : block.start]
    content = text[block.start : block.end]
    return between.count("\n") == 1 and not any(map(str.isalnum, content))
