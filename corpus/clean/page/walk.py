"""Reads a tree in document order: each block element becomes a block, each row of a table one line."""

from collections.abc import Callable, Mapping
from typing import ClassVar

from selectolax.lexbor import LexborNode

from corpus.clean.account import AccountBuilder, DropRule, visible_length
from corpus.clean.blocks import BlockKind
from corpus.clean.normalise import normalise
from corpus.clean.page.inline import (
    Numbering,
    alternative_text,
    folded,
    plain_tex,
    with_scripts,
)
from corpus.clean.page.layout import lays_out
from corpus.clean.page.marks import (
    BLOCKS,
    BREAK,
    CODE_BLOCKS,
    END,
    FORMULA_MARKS,
    HEADINGS,
    LOWERED,
    QUOTES,
    RAISED,
)
from corpus.clean.page.piece import NO_LINES, Piece
from corpus.clean.page.table import CELL, ROW, Spans, spans_of, table_lines
from corpus.clean.page.tree import parts_of, text_of

# On the stack: a node, for it and those behind it, in a tuple for it alone; the end of an element, by its name; or a
# text to add, after this.
_TEXT = "="
_NESTED_TABLE = "nested table"
_LIST_IN_WHOLE = "list"
# A name of a module costs a third of a member of an enum.
_PARAGRAPH = BlockKind.PARAGRAPH
_HEADING = BlockKind.HEADING
_LIST_ITEM = BlockKind.LIST_ITEM
_CODE = BlockKind.CODE
_TABLE = BlockKind.TABLE
_OF_TABLE = frozenset(("tr", "caption", "td", "th"))
_LISTS = frozenset(("ol", "ul", "menu", "dir"))
# After these a term needs no colon.
_ENDS_TERM = (":", "：", "?", "!", ".", "-", "–", "—")


class Walker:
    """Reads trees without recursion: their depth is the author's choice.

    Args:
        dropped: elements that are no part of the document, by the number that names them.
        account: where what is dropped is noted.
    """

    def __init__(
        self, dropped: Mapping[int, DropRule], account: AccountBuilder
    ) -> None:
        self.pieces: list[Piece] = []
        """The blocks so far."""
        self.kept = 0
        """Visible characters of the document that are in them."""
        self._dropped = dropped
        self._account = account
        self._stack: list[str | LexborNode | tuple[LexborNode]] = []
        self._lists: list[Numbering] = []
        # Of the open block.
        self._parts: list[str] = []
        self._kind = _PARAGRAPH
        self._level = 0
        self._mark = ""
        # Is the open block a term whose definition follows?
        self._awaits_definition = False
        # A heading, code or a table that is open: nothing inside it opens a block of its own.
        self._whole: BlockKind | None = None
        # Of the open table.
        self._cells: list[Spans] = []
        self._header = NO_LINES
        self._nested_tables = 0
        self._cell_has_text = False

    def read(self, root: LexborNode, characters: int) -> None:
        """Add the blocks of an element that holds so many visible characters."""
        self.kept += characters
        self._read_alone(root)
        stack = self._stack
        while stack:
            item = stack.pop()
            if isinstance(item, str):
                self._leave(item)
            elif isinstance(item, tuple):
                self._read_alone(*item)
            else:
                self._read_siblings(item)
        self._close()

    def _read_alone(self, node: LexborNode) -> None:
        """Read a node, but not those behind it."""
        if node.is_text_node:
            self._add(text_of(node))
        elif node.mem_id in self._dropped:
            self._drop(self._dropped[node.mem_id], text_of(node))
        else:
            self._read_siblings(self._enter(node, node.tag or ""))

    def _read_siblings(self, node: LexborNode | None) -> None:
        """Read a node and those behind it; what is inside and behind an element is left on the stack."""
        while node is not None:
            tag = node.tag
            if tag == "-text":
                self._add(node.text_content or "")
                node = node.next
            elif node.mem_id in self._dropped:
                self._drop(self._dropped[node.mem_id], text_of(node))
                node = node.next
            else:
                behind = node.next
                if behind is not None:
                    self._stack.append(behind)
                is_plain = tag not in _MEANS_SOMETHING
                node = node.first_child if is_plain else self._enter(node, tag)

    def _enter(self, node: LexborNode, tag: str) -> LexborNode | None:
        """Return the first child if the children are still to be read."""
        special = self.SPECIAL.get(tag)
        if special is not None and special(self, node):
            return None
        if self._whole is not None:
            self._separate(node, tag)
        elif tag in BLOCKS:
            self._begin(node, tag)
        return node.first_child

    def _drop(self, rule: DropRule, text: str) -> None:
        self._account.drop(rule, text)
        self.kept -= visible_length(text)

    # Blocks

    def _begin(self, node: LexborNode, tag: str) -> None:
        """Open the block of an element."""
        self._stack.append(tag)
        if tag in HEADINGS:
            self._open_whole(_HEADING, HEADINGS[tag])
        elif tag in CODE_BLOCKS:
            self._open_whole(_CODE)
        elif tag == "table" and not lays_out(node):
            self._open_whole(_TABLE)
            self._cells.clear()
            self._nested_tables = 0
        elif tag == "li":
            mark = self._lists[-1].mark_of(node) if self._lists else "-"
            self._open(_LIST_ITEM)
            self._mark = mark
        elif tag == "dt" and self._awaits_definition:
            self._awaits_definition = False
            self._parts.append(", ")
        else:
            self._open(_PARAGRAPH)
        if tag in _LISTS:
            self._lists.append(Numbering(node))

    def _leave(self, tag: str) -> None:
        if tag[0] == _TEXT:
            self._parts.append(tag[1:])
        elif tag == _NESTED_TABLE:
            self._nested_tables -= 1
        elif tag == _LIST_IN_WHOLE:
            self._lists.pop()
        else:
            self._end(tag)

    def _end(self, tag: str) -> None:
        """Close the block of an element."""
        self._whole = None
        if tag in _LISTS:
            self._lists.pop()
        if tag == "dt":
            self._awaits_definition = bool(self._parts)
            return
        if tag != "p":
            self._awaits_definition = False
        self._open(_PARAGRAPH)
        if tag == "li":
            self._kind = _PARAGRAPH  # also of an empty one

    def _open_whole(self, kind: BlockKind, level: int = 0) -> None:
        self._open(kind, level)
        self._whole = kind

    def _open(self, kind: BlockKind, level: int = 0) -> None:
        """Close the open block; what follows is of `kind`."""
        if self._awaits_definition and kind is _PARAGRAPH:
            return  # <dt><dd><p>: the paragraph belongs to the term
        was_empty = not self._close()
        if was_empty and self._kind is _LIST_ITEM and kind is _PARAGRAPH:
            return  # <li><p>: the paragraph is the item
        self._kind = kind
        self._level = level

    def _close(self) -> bool:
        """Put the open block behind the others; return whether it had text."""
        self._awaits_definition = False
        if not self._parts:
            return False
        raw = "".join(self._parts)
        self._parts.clear()
        kind = self._kind
        written = with_scripts(raw)
        lines = self._lines(written)
        text = normalise(lines)
        if not text:
            return False
        if kind is _LIST_ITEM:
            text = f"{self._mark} {text}"
        piece = Piece(kind, self._level, text, self._header)
        self.pieces.append(piece)
        return True

    def _lines(self, raw: str) -> str:
        self._header = NO_LINES
        kind = self._kind
        if kind is _CODE:
            return raw.replace(BREAK, "\n")
        if kind is _TABLE:
            lines, self._header = table_lines(raw, self._cells)
            return "\n".join(lines)
        return folded(raw)

    # Text

    def _add(self, text: str) -> None:
        """Add inline text; white space at a block's start is none, except in code."""
        if text.isspace():
            if self._parts or self._kind is _CODE:
                self._parts.append(text)
            return
        if self._awaits_definition:
            self._awaits_definition = False
            term = "".join(self._parts)
            term = term.rstrip()
            separator = ": "
            if term.endswith(_ENDS_TERM):
                separator = " "
            self._parts = [term, separator]
        self._parts.append(text)
        self._cell_has_text = True

    def _separate(self, node: LexborNode, tag: str) -> None:
        """Add what represents a tag inside a heading, code or a table."""
        if self._whole is _TABLE:
            self._separate_in_table(node, tag)
        elif tag in BLOCKS:
            is_code = self._whole is _CODE
            self._parts.append(BREAK if is_code else " ")

    def _separate_in_table(self, node: LexborNode, tag: str) -> None:
        if tag == "table":
            self._nested_tables += 1
            self._stack.append(_NESTED_TABLE)
        elif tag in _LISTS:
            self._lists.append(Numbering(node))
            self._stack.append(_LIST_IN_WHOLE)
        elif tag == "li":
            self._parts.append(self._mark_in_cell(node))
        elif tag in _OF_TABLE and not self._nested_tables:
            self._begin_in_table(node, tag)
        elif tag in BLOCKS:
            is_row = tag == "tr" and self._cell_has_text
            self._parts.append("; " if is_row else " ")

    def _begin_in_table(self, node: LexborNode, tag: str) -> None:
        """Begin a row, a caption or a cell of the open table."""
        self._cell_has_text = False
        parts = self._parts
        if tag not in ("td", "th"):
            parts.append(ROW)
            return
        parts.append(CELL)
        spans = spans_of(node)
        self._cells.append(spans)

    def _mark_in_cell(self, item: LexborNode) -> str:
        mark = self._lists[-1].mark_of(item) if self._lists else "-"
        number = "" if mark == "-" else f"{mark} "
        return f"; {number}" if self._cell_has_text else number

    # Elements with a meaning of their own; each returns whether nothing is left to do

    def _break(self, node: LexborNode) -> bool:
        self._parts.append(" " if self._whole is _TABLE else BREAK)
        return True

    def _script(self, node: LexborNode) -> bool:
        """<sup>, <sub>; one that holds a link refers to a note."""
        before, after = (RAISED if node.tag == "sup" else LOWERED), END
        if node.css_first("a") is not None:
            is_bracketed = text_of(node).lstrip().startswith(("[", "("))
            before, after = ("", "") if is_bracketed else ("[", "]")
        self._parts.append(before)
        self._stack.append(_TEXT + after)
        return False

    def _quoted(self, node: LexborNode) -> bool:
        before, after = QUOTES[node.tag or ""]
        self._parts.append(before)
        self._stack.append(_TEXT + after)
        return False

    def _picture(self, node: LexborNode) -> bool:
        text = alternative_text(node)
        if text:
            self._add(text)
        return True

    def _formula(self, node: LexborNode) -> bool:
        """<math>: its source in TeX, if it has one."""
        tex = node.css_first("annotation[encoding*='tex' i]")
        source = node.attributes.get("alttext")
        if tex is not None:
            source = text_of(tex)
            tex.remove()
        if source is None:
            return False
        if not source.strip():
            return False
        other = text_of(node)
        self._drop(DropRule.REPEATED, other)
        formula = plain_tex(source)
        self._add(formula)
        return True

    def _other_notation(self, node: LexborNode) -> bool:
        self._drop(DropRule.REPEATED, text_of(node))
        return True

    def _formula_part(self, node: LexborNode) -> bool:
        first, *between = FORMULA_MARKS[node.tag or ""]
        self._parts.append(first)
        children = parts_of(node)
        if len(between) == 1:
            self._stack.append(_TEXT + between[0])
            return False
        if len(children) != len(between):
            return False
        for child, mark in zip(reversed(children), reversed(between), strict=True):
            self._stack += (_TEXT + mark, (child,))
        return True

    def _page_link(self, node: LexborNode) -> bool:
        """<ri:page>: a link of Confluence without a text shows the page's title."""
        around = node.parent
        title = node.attributes.get("ri:content-title")
        if title and around is not None and not text_of(around).strip():
            self._add(title)
        return False

    def _time(self, node: LexborNode) -> bool:
        if not text_of(node).strip():
            self._add(node.attributes.get("datetime") or "")
        return False

    def _check_box(self, node: LexborNode) -> bool:
        """A box in front of a list item's text: done, or not."""
        attributes = node.attributes
        is_first = self._kind is _LIST_ITEM and not self._parts
        if is_first and attributes.get("type") == "checkbox":
            self._parts.append("[x] " if "checked" in attributes else "[ ] ")
        return True

    # What has a meaning of its own, by tag.
    SPECIAL: ClassVar[dict[str, Callable[["Walker", LexborNode], bool]]] = {
        "br": _break,
        "sup": _script,
        "sub": _script,
        "img": _picture,
        "math": _formula,
        "annotation": _other_notation,
        "annotation-xml": _other_notation,
        "ri:page": _page_link,
        "time": _time,
        "input": _check_box,
        **dict.fromkeys(QUOTES, _quoted),
        **dict.fromkeys(FORMULA_MARKS, _formula_part),
    }


_MEANS_SOMETHING = BLOCKS | Walker.SPECIAL.keys()
