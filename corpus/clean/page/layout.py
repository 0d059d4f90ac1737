"""Does a table arrange parts of a page, rather than data?"""

from collections.abc import Container, Iterable, Iterator

from selectolax.lexbor import LexborNode

from corpus.clean.page.marks import DATA_TABLE, IN_LAYOUT_CELL, LAYOUT_TABLE
from corpus.clean.page.tree import characters

_GROUPS = frozenset(("thead", "tbody", "tfoot"))
# In one row, or one column, these are parts of a page.
_IN_LONE_CELL = "ul, ol, dl, blockquote, p + p"
# A cell of more that holds several paragraphs or a list is a part of a page.
_MAX_CELL_CHARACTERS = 600


def lays_out(table: LexborNode) -> bool:
    """Does a table arrange parts of a page?

    1. where its author says so
    2. not where it has headers or a caption
    3. where a cell holds headings, code or another table
    4. where it has one row or one column, and lists or paragraphs in it; or such a cell that is long
    """
    # 1.
    if table.css_matches(", ".join(LAYOUT_TABLE)):
        return True
    # 2.
    rows = list(_rows(table))
    cells = [cell for row in rows for cell in row.iter()]
    if _holds(DATA_TABLE, [*table.iter(), *cells]):
        return False
    # 3.
    inner = table.css(", ".join(IN_LAYOUT_CELL))
    if any(element.mem_id != table.mem_id for element in inner):
        return True
    # 4.
    if not table.css_first(_IN_LONE_CELL):
        return False
    is_one_line = len(rows) < 2 or len(cells) == len(rows)
    return is_one_line or any(map(_is_long, cells))


def _holds(tags: Container[str | None], nodes: Iterable[LexborNode]) -> bool:
    return any(node.tag in tags for node in nodes)


def _rows(table: LexborNode) -> Iterator[LexborNode]:
    for child in table.iter():
        if child.tag == "tr":
            yield child
        elif child.tag in _GROUPS:
            yield from (row for row in child.iter() if row.tag == "tr")


def _is_long(cell: LexborNode) -> bool:
    if characters(cell) <= _MAX_CELL_CHARACTERS:
        return False
    return cell.css_first(_IN_LONE_CELL) is not None
