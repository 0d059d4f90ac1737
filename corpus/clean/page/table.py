"""A table's cells → lines: one per row, its cells in their columns.

A cell that spans rows is repeated in each of them, so that each line can be read alone; one that spans columns is
followed by empty cells, or repeated if it heads a group of columns.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from selectolax.lexbor import LexborNode

from corpus.clean.page.piece import Lines

# Stand for the beginning of a row and of a cell; no text holds them (see source).
ROW = "\x04"
CELL = "\x05"

# What repeating may add, per character and per cell that the table has; a bomb of spans adds no more.
_GROWTH = 4
_SPARE = 1_000
# A browser clamps colspan to 1,000; no table that is read has more columns than this.
_MAX_COLUMNS = 200
# rowspan=0: to the end of the table.
_ALL_ROWS = 65_534


class Spans(NamedTuple):
    """How a cell lies in its table."""

    rows: int = 1
    columns: int = 1
    heads: bool = False
    """Is it a header?"""


class Cell(NamedTuple):
    """One cell as it was written."""

    text: str
    """White space folded."""
    spans: Spans


@dataclass(slots=True)
class _Reach:
    """A cell that reaches into the next rows."""

    text: str
    rows: int


class _Budget:
    """How much repeating may still add."""

    def __init__(self, rows: list[list[Cell]]) -> None:
        characters = sum(len(cell.text) for row in rows for cell in row)
        cells = sum(map(len, rows))
        self._characters = _GROWTH * characters + _SPARE
        self._cells = _GROWTH * cells + _SPARE

    def repeated(self, text: str) -> str:
        """Return the text if it may be repeated, else nothing."""
        if len(text) > self._characters:
            return ""
        self._characters -= len(text)
        return text

    def cell(self) -> bool:
        """May there be another cell that was not written?"""
        self._cells -= 1
        return self._cells >= 0


def lines_of(rows: list[list[Cell]]) -> list[str]:
    """Return one line per row; it is empty where the row has no text."""
    budget = _Budget(rows)
    reaching: dict[int, _Reach] = {}
    width = max((sum(cell.spans.columns for cell in row) for row in rows), default=0)
    lines: list[str] = []
    for row in rows:
        texts = _unfolded(row, reaching, budget, width)
        line = " | ".join(texts) if any(texts) else ""
        lines.append(" ".join(line.split()))
    return lines


def _unfolded(
    row: list[Cell], reaching: dict[int, _Reach], budget: _Budget, width: int
) -> list[str]:
    """Return the texts of a row's columns."""
    texts: list[str] = []
    _continue_above(texts, reaching, budget)
    for cell in row:
        for text in _texts_of(cell, budget, width):
            if cell.spans.rows > 1:
                reaching[len(texts)] = _Reach(text, cell.spans.rows - 1)
            texts.append(text)
        _continue_above(texts, reaching, budget)
    last = max(reaching, default=-1)
    while len(texts) <= last and budget.cell():
        texts.append("")
        _continue_above(texts, reaching, budget)
    return texts


def _texts_of(cell: Cell, budget: _Budget, width: int) -> Iterator[str]:
    """Yield the text of each column that a cell spans."""
    yield cell.text
    heads_group = cell.spans.heads and cell.spans.columns < width
    for _ in range(1, min(cell.spans.columns, _MAX_COLUMNS)):
        if not budget.cell():
            return
        yield budget.repeated(cell.text) if heads_group else ""


def _continue_above(
    texts: list[str], reaching: dict[int, _Reach], budget: _Budget
) -> None:
    """Add the cells of rows above that reach into the next columns of this one."""
    while (reach := reaching.get(len(texts))) is not None:
        reach.rows -= 1
        if not reach.rows:
            del reaching[len(texts)]
        if not budget.cell():
            return
        texts.append(budget.repeated(reach.text))


def table_lines(raw: str, spans: list[Spans]) -> tuple[list[str], Lines]:
    """Return the lines of a table (its captions, then one per row), and which of them name its columns.

    Args:
        raw: its text, with ROW and CELL in front of each.
        spans: of its cells, in order.
    """
    captions: list[str] = []
    rows: list[list[Cell]] = []
    next_spans = iter(spans)
    for part in raw.split(ROW):
        before, *texts = part.split(CELL)
        captions.append(_one_line(before))
        if texts:
            rows.append([Cell(_one_line(text), next(next_spans)) for text in texts])
    lines = list(filter(None, captions))
    first = len(lines)
    of_rows = lines_of(rows)
    header = list(filter(None, of_rows[: _header_rows(rows)]))
    lines += filter(None, of_rows)
    return lines, Lines(first, first + len(header))


def _header_rows(rows: list[list[Cell]]) -> int:
    """Return how many rows at the top hold headers only; 0 where every row does."""
    for number, row in enumerate(rows):
        is_header = _names_columns(row)
        if not is_header:
            return number
    return 0


def _names_columns(row: list[Cell]) -> bool:
    """Are the cells with text headers? The corner above a column of headers is empty."""
    return all(cell.spans.heads or not cell.text for cell in row)


def spans_of(cell: LexborNode) -> Spans:
    """Return how a cell lies in its table."""
    attributes = cell.attributes
    rows = _number(attributes.get("rowspan", "1"))
    columns = _number(attributes.get("colspan", "1"))
    heads = cell.tag == "th" or _is_in_head(cell)
    return Spans(rows or _ALL_ROWS, columns or 1, heads)


def _is_in_head(cell: LexborNode) -> bool:
    row = cell.parent
    group = row.parent if row is not None else None
    return group is not None and group.tag == "thead"


def _one_line(raw: str) -> str:
    return " ".join(raw.split())


def _number(text: str | None) -> int:
    digits = (text or "").strip()[:6]
    return int(digits) if digits.isascii() and digits.isdigit() else 1
