"""XLSX, XLS, ODS → tables by calamine. Each sheet becomes a heading."""

import re
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from importlib import import_module
from io import BytesIO
from typing import Any
from zipfile import ZipFile

from corpus.clean.account import DropRule
from corpus.clean.files.draft import Draft
from corpus.clean.files.kinds import FileRefusedError
from corpus.clean.files.limits import FileLimits
from corpus.clean.files.unpack import opened, text_characters
from corpus.dead_letter import DeadLetterReason

# Without types of its own for what cells hold.
_calamine: Any = import_module("python_calamine")

# The library keeps a sheet as a rectangle: one cell in its last corner would be 17 billion.
_MAX_CELLS = 10_000_000
_SHEET = re.compile(r"xl/worksheets/sheet\d+\.xml")
_CELL = re.compile(rb'<c r="([A-Z]{1,3})(\d{1,7})"')
_DRAWN = re.compile(r"xl/(?:drawings/drawing|diagrams/data|charts/chart)\d*\.xml")
_NOTED = re.compile(r"xl/(?:comments|threadedComments/threadedComment)\d*\.xml")
_TEXT = frozenset({"t"})
_PART_BYTES = 1 << 20
_OVERLAP_BYTES = 64
# So many rows are written as one block at most, so that a block is not larger than what is worth looking at.
_ROWS_OF_A_TABLE = 100_000


def read_sheets(content: bytes, draft: Draft, limits: FileLimits) -> None:
    """Add each sheet as a table, below a heading `sheet NAME`. Values of formulas are those that were saved.

    A hidden sheet is dropped.

    Raises:
        FileRefusedError: it needs a password, or a sheet is too large.
    """
    if content.startswith(b"PK"):
        with opened(content, limits.max_unpacked_bytes) as archive:
            names = archive.namelist()
            for name in filter(_SHEET.fullmatch, names):
                _check_cells(archive, name)
            _count_others(archive, names, draft)
    try:
        book = _calamine.load_workbook(BytesIO(content))
    except _calamine.PasswordError as error:
        raise FileRefusedError(
            DeadLetterReason.ENCRYPTED,
            "the workbook needs a password; send it without one",
        ) from error
    sheets = book.sheets_metadata
    limits.check_pages(len(sheets), "sheets")
    for sheet in sheets:
        _read_sheet(book, sheet, draft)


def _count_others(archive: ZipFile, names: list[str], draft: Draft) -> None:
    """What lies on the sheets and is in no cell; comments are shown where a reader points at them only."""
    drawn = text_characters(archive, filter(_DRAWN.fullmatch, names), _TEXT)
    noted = text_characters(archive, filter(_NOTED.fullmatch, names), _TEXT)
    draft.account.count(DropRule.HIDDEN, noted, "comments")
    if drawn:
        draft.unread("text boxes and diagrams on the sheets", drawn)


def _read_sheet(book: Any, sheet: Any, draft: Draft) -> None:
    if sheet.typ != _calamine.SheetTypeEnum.WorkSheet:
        return
    rows = _rows(book.get_sheet_by_name(sheet.name))
    if sheet.visible != _calamine.SheetVisibleEnum.Visible:
        for row in rows:
            draft.account.drop(DropRule.HIDDEN, " ".join(row))
        return
    draft.place(f"sheet {sheet.name}")
    table: list[list[str]] = []
    for row in rows:
        table.append(row)
        if len(table) == _ROWS_OF_A_TABLE:
            draft.table(table)
            table = []
    draft.table(table)


def _rows(sheet: Any) -> Iterator[list[str]]:
    for row in sheet.iter_rows():
        yield [_shown(value) for value in row]


def _shown(value: Any) -> str:
    """A cell as a person reads it."""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float):
        is_whole = value.is_integer() and abs(value) < 2**53
        return str(int(value)) if is_whole else repr(value)
    if isinstance(value, datetime):
        is_day = value.time() == time()
        return value.date().isoformat() if is_day else value.isoformat(" ")
    if isinstance(value, (date, time, timedelta)):
        return str(value)
    return str(value)


def _check_cells(archive: ZipFile, name: str) -> None:
    """Check how large the rectangle around a sheet's cells is.

    Raises:
        FileRefusedError: too large.
    """
    columns: set[bytes] = set()
    first = last = 0
    for column, row in _cells(archive, name):
        columns.add(column)
        number = int(row)
        first = min(first or number, number)
        last = max(last, number)
    numbers = list(map(_column_number, columns))
    if not numbers:
        return
    cells = (last - first + 1) * (max(numbers) - min(numbers) + 1)
    if cells > _MAX_CELLS:
        raise FileRefusedError(
            DeadLetterReason.TOO_LARGE,
            f"a sheet spans {cells:,} cells; at most {_MAX_CELLS:,} are read (a stray cell far outside is enough)",
        )


def _cells(archive: ZipFile, name: str) -> Iterator[tuple[bytes, bytes]]:
    rest = b""
    with archive.open(name) as member:
        while part := member.read(_PART_BYTES):
            text = rest + part
            for cell in _CELL.finditer(text):
                yield cell[1], cell[2]
            rest = text[-_OVERLAP_BYTES:]


def _column_number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number
