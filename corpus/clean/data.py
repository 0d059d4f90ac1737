"""Tables, data and source code as text → blocks in which lines have a meaning.

What is read are the formats that are text: CSV by the library csv, JSON by the library json. Text that is not what its
media type says stays as it is.
"""

import csv
import json
from collections.abc import Iterable, Iterator
from io import StringIO
from typing import Any, cast

from corpus.clean.account import AccountBuilder, DropRule, visible_length
from corpus.clean.blocks import Block, BlockKind
from corpus.clean.files.rows import table_piece
from corpus.clean.page.piece import Piece, assembled
from corpus.clean.payload import MIN_IN_CODE, without_payloads

# The text, its blocks, and how many characters of it the cleaner added.
ReadText = tuple[str, tuple[Block, ...], int]

_SEPARATORS = ",;\t|"
# The lines that tell the separator.
_BEGINNING_LINES = 20
_MAX_CELL = 1 << 30


def read_csv(text: str, account: AccountBuilder) -> ReadText:
    """A table whose separator is found in its first lines: the one that divides most of them into as many cells."""
    lines = text.split("\n", _BEGINNING_LINES)[:_BEGINNING_LINES]
    separator = max(_SEPARATORS, key=lambda one: _steadiness(lines, one))
    return _read_rows(text, separator, account)


def read_tsv(text: str, account: AccountBuilder) -> ReadText:
    """A table whose cells are separated by tabs."""
    return _read_rows(text, "\t", account)


def _steadiness(lines: list[str], separator: str) -> int:
    """How many lines have as many separators as the first one, if that has any."""
    first = lines[0].count(separator)
    if not first:
        return 0
    return sum(line.count(separator) == first for line in lines)


def _read_rows(text: str, separator: str, account: AccountBuilder) -> ReadText:
    csv.field_size_limit(_MAX_CELL)
    reader = csv.reader(StringIO(text), delimiter=separator)
    rows = [[" ".join(cell.split()) for cell in row] for row in reader]
    kept = sum(visible_length("".join(row)) for row in rows)
    piece = table_piece(rows)
    return _read([piece] if piece else [], text, kept, account)


def read_json(text: str, account: AccountBuilder) -> ReadText:
    """Names and values line by line, indented as they nest; what is no JSON stays as it is."""
    try:
        value = _parsed(text)
    except (ValueError, RecursionError):
        return read_code(text, account)
    return _read_values([value], text, account)


def read_json_lines(text: str, account: AccountBuilder) -> ReadText:
    """A JSON value per line."""
    try:
        values = [_parsed(line) for line in text.split("\n") if line.strip()]
    except (ValueError, RecursionError):
        return read_code(text, account)
    return _read_values(values, text, account)


def read_code(text: str, account: AccountBuilder) -> ReadText:
    """Source code: it keeps its lines and their indentation."""
    text, added = without_payloads(text, account, MIN_IN_CODE)
    if not text:
        return "", (), added
    return text, (Block(0, len(text), BlockKind.CODE),), added


class _Members(list[tuple[str, Any]]):
    """The members of an object, in order; a name may be there twice."""


def _parsed(text: str) -> Any:
    """A JSON value; numbers stay as they are written."""
    return json.loads(text, object_pairs_hook=_Members, parse_float=str, parse_int=str)


def _read_values(values: Iterable[Any], text: str, account: AccountBuilder) -> ReadText:
    pieces: list[Piece] = []
    kept = 0
    for value in values:
        for part in _parts(value):
            lines = list(_lines(part, ""))
            kept += sum(map(visible_length, _texts(part)))
            shown = "\n".join(lines).strip("\n")
            if shown.strip():
                pieces.append(Piece(BlockKind.CODE, 0, shown))
    return _read(pieces, text, kept, account)


def _parts(value: Any) -> Iterator[Any]:
    """Yield what becomes a block of its own: the members or items of the outermost value."""
    if isinstance(value, _Members):
        for member in value:
            yield _Members([member])
    elif isinstance(value, list):
        yield from cast("list[Any]", value)
    else:
        yield value


def _lines(value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, _Members):
        for name, inner in value:
            yield from _named(name, inner, indent)
    elif isinstance(value, list):
        for item in cast("list[Any]", value):
            yield from _named("-", item, indent, mark="")
    else:
        yield f"{indent}{_scalar(value)}"


def _named(name: str, value: Any, indent: str, mark: str = ":") -> Iterator[str]:
    """Yield the lines of a value behind its name, or behind the mark of an item."""
    if _is_nested(value):
        yield f"{indent}{name}{mark}"
        yield from _lines(value, indent + "  ")
    else:
        yield f"{indent}{name}{mark} {_scalar(value)}"


def _is_nested(value: Any) -> bool:
    """Whether it is an object or a list."""
    return isinstance(value, list)


def _scalar(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return str(value)


def _texts(value: Any) -> Iterator[str]:
    """Yield every name and value."""
    if isinstance(value, _Members):
        for name, inner in value:
            yield name
            yield from _texts(inner)
    elif isinstance(value, list):
        for item in cast("list[Any]", value):
            yield from _texts(item)
    else:
        yield _scalar(value)


def _read(
    pieces: list[Piece], received: str, kept: int, account: AccountBuilder
) -> ReadText:
    """The pieces as a text. What of the received text is in none of them is the format's own."""
    markup = visible_length(received) - kept
    account.count(DropRule.MARKUP, max(markup, 0), "separators, quotes, brackets")
    document = assembled(pieces, AccountBuilder(), 0)
    added = visible_length(document.text) - kept
    return document.text, document.blocks, added
