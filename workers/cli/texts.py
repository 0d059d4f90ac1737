"""Titles and texts in the answers of commands: what a login may not read is left empty, and said once."""

from collections.abc import Sequence
from typing import Any

from workers.cli.console import write_message

_NO_TEXTS = "titles, addresses and texts are not shown: this login may not read them"
_NO_PARTS = "attachments are not shown: this login may not read what they are called"
_NO_DETAILS = (
    "details and sizes are not shown: this login may not read what dead letters hold"
)

Row = dict[str, Any]


def with_texts(versions: list[Row], chunks: Sequence[Row] = ()) -> list[Row]:
    """Versions of documents with their titles and addresses.

    Args:
        versions: with their `document_key`, which is taken out.
        chunks: get their `beginning`.
    """
    keys = [version.pop("document_key") for version in versions]
    chunk_ids = [chunk["chunk_id"] for chunk in chunks]
    titles: dict[int, Row] = {}
    beginnings: dict[int, Row] = {}
    if keys and _may_read("may_read_texts", _NO_TEXTS):
        titles = _by_key("document_titles", "document_key", keys)
        beginnings = _by_key("chunk_beginnings", "chunk_id", chunk_ids)
    for chunk in chunks:
        chunk.update(beginnings.get(chunk["chunk_id"], {"beginning": None}))
    nothing: Row = {"title": None, "uri": None}
    pairs = zip(keys, versions, strict=True)
    return [version | titles.get(key, nothing) for key, version in pairs]


def with_chunks(versions: list[Row]) -> list[Row]:
    """Versions with what `with_texts` adds, their chunks, and who was notified of them."""
    for version in versions:
        batch = {"source": version["source"], "batch": version["batch"]}
        version["told"] = _rows("lineage_told", batch)
        chunk_ids = {"chunk_ids": version.pop("chunk_ids")}
        version["chunks"] = _rows("lineage_chunks", chunk_ids)
    chunks = [chunk for version in versions for chunk in version["chunks"]]
    keys = [version["document_key"] for version in versions]
    shown = with_texts(versions, chunks)
    parts: dict[int, Row] = {}
    [answer] = _rows("may_read_texts", {})
    if answer["may_read"]:
        parts = _by_key("document_parts", "document_key", keys)
    nothing: Row = {"parts": None}
    pairs = zip(keys, shown, strict=True)
    return [version | parts.get(key, nothing) for key, version in pairs]


def parts_of(source: str | None, values: Row) -> list[Row]:
    """What is attached to visible documents (query `list_parts`); nothing where this login may not read it."""
    from workers.cli.names import query_rows

    if not _may_read("may_read_texts", _NO_PARTS):
        return []
    return query_rows("list_parts", {"source": source, **values}, source=source)


def with_details(letters: list[Row]) -> list[Row]:
    """Dead letters with what is wrong with them, and their sizes."""
    keys = [letter["dead_letter"] for letter in letters]
    details: dict[int, Row] = {}
    if keys and _may_read("may_read_dead_letters", _NO_DETAILS):
        details = _by_key("dead_letter_details", "dead_letter", keys)
    nothing: Row = dict.fromkeys(("detail", "key_bytes", "value_bytes"))
    return [letter | details.get(letter["dead_letter"], nothing) for letter in letters]


def _may_read(name: str, withheld: str) -> bool:
    """Whether this login may read; where it may not, that is said."""
    [answer] = _rows(name, {})
    if not answer["may_read"]:
        write_message(withheld)
    return bool(answer["may_read"])


def _by_key(name: str, key: str, keys: list[int]) -> dict[int, Row]:
    """The rows of a query by their key, which is left out of them."""
    if not keys:
        return {}
    rows = _rows(name, {"keys": keys})
    return {row.pop(key): row for row in rows}


def _rows(name: str, values: dict[str, Any]) -> list[Row]:
    from workers.cli.names import query_rows

    return query_rows(name, values)
