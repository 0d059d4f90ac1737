"""What a record that cannot be read says of its document: the id that it states, else what it quotes."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice, pairwise

_QUOTE = b'"'
_ESCAPE = b"\\"
_ID = b'"id"'
_MAX_QUOTES = 10_000  # of one record
_MAX_TOKENS = 100_000  # of one record
# A string, which may be cut; a mark; a number or a word.
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[{}\[\]:,]|[^\s{}\[\]:,"]+', re.DOTALL)
_NON_ASCII = re.compile(r"\\u[0-9a-f]{4}")


def quoted(document_id: str) -> set[bytes]:
    """An id as JSON writers have it: in UTF-8 or in ASCII, in small or capital digits, with `/` as it is or not."""
    in_ascii = json.dumps(document_id)
    capitals = _NON_ASCII.sub(_in_capitals, in_ascii)
    spellings = {json.dumps(document_id, ensure_ascii=False), in_ascii, capitals}
    spellings |= {spelling.replace("/", "\\/") for spelling in spellings}
    return {spelling.encode() for spelling in spellings}


def _in_capitals(escape: re.Match[str]) -> str:
    digits = escape.group()[2:]
    return rf"\u{digits.upper()}"


def names_in(value: bytes) -> set[bytes]:
    """The ids of which a record may be: those that its outermost object states, else all that it quotes."""
    return stated_ids(value) or _quoted_in(value)


def stated_ids(value: bytes) -> set[bytes]:
    """What the outermost object has as `id`, as text in UTF-8, whether it is quoted or not; the rest may be cut."""
    found = set[bytes]()
    depth = 0
    name = b""
    for token, following in pairwise(_tokens(value)):
        if following == b":":
            name = token
        if token == b":" and name == _ID and depth == 1:
            found |= _plain(following)
        if token in b"{[":
            depth += 1
        elif token in b"}]":
            depth -= 1
    return found


def _tokens(value: bytes) -> Iterator[bytes]:
    for match in islice(_TOKEN.finditer(value), _MAX_TOKENS):
        yield match.group()


def _plain(token: bytes) -> set[bytes]:
    """The text of a value; none of one that is cut, or is no text and no number."""
    if not token.startswith(_QUOTE):
        is_mark = token in b"{}[]:,"
        return set() if is_mark else {token}
    is_whole = len(token) > 1 and token.endswith(_QUOTE)
    if not is_whole:
        return set()
    inner = token[1:-1]
    return {inner} | _as_json_reads(inner)


def _quoted_in(value: bytes) -> set[bytes]:
    """What is between two quotes, as it is and as JSON reads it."""
    between = value.split(_QUOTE, _MAX_QUOTES)[1:-1]
    found = set(between)
    for text in between:
        found |= _as_json_reads(text)
    return found


def _as_json_reads(text: bytes) -> set[bytes]:
    if _ESCAPE in text:
        with suppress(ValueError):  # it is no JSON, or no UTF-8
            return {json.loads(_QUOTE + text + _QUOTE).encode()}
    return set()
