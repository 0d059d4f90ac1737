"""What became of texts, for a person: what was dropped, where the text is from, and which another address has."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from workers.cli.console import write_table

Noted = Annotated[
    bool,
    typer.Option(
        "--noted",
        help="Those read as another media type than stated, recognised in pictures, or with the bytes of another "
        "address of their host.",
    ),
]
_COLUMNS = ("source", "document_id", "version", "title", "content_type")
_NOTES = ("read_as", "recognised_pages", "recognised_characters", "same_bytes")


def dropped_by(dropped: dict[str, int] | None) -> str:
    """The rules that dropped text, and how many characters each: "hidden 120, navigation 4,000"."""
    rules = [f"{rule} {characters:,}" for rule, characters in (dropped or {}).items()]
    return ", ".join(rules) or "nothing"


def text_account(version: dict[str, Any]) -> str:
    """What became of a version's text, in one line."""
    received = version["received_characters"]
    if received is None:
        return "no account (a deletion, or a version from before accounts were kept)"
    kept = f"{version['kept_characters']:,} of {received:,} characters kept"
    return f"{kept}, dropped by rule: {dropped_by(version['dropped'])}{_model_account(version)}{_notes(version)}"


def _model_account(version: dict[str, Any]) -> str:
    """How the model reads a version's text: its tokens, and what it has no word for."""
    account = f"; {version['tokens']:,} tokens"
    if version["unknown_tokens"]:
        account += f", {version['unknown_tokens']:,} of them unknown to the model"
    if version["unknown_characters"]:
        account += f", which stand for {version['unknown_characters']:,} characters"
    return account


def _notes(version: dict[str, Any]) -> str:
    """The end of the line on a version's text; empty: there is nothing to say."""
    notes: dict[str, Any] = version["notes"] or {}
    line = ""
    if "read_as" in notes:
        stated = version["content_type"] or "otherwise"
        line += f"; read as {notes['read_as']}, stated {stated}"
    if "recognised_pages" in notes:
        pages, characters = notes["recognised_pages"], notes["recognised_characters"]
        line += f"; text recognised on {pages:,} pages ({characters:,} characters)"
    if "same_bytes" in notes:
        line += "; another address of its host gave the same bytes"
    return line


def write_noted(rows: Sequence[dict[str, Any]]) -> None:
    """Documents that have notes."""
    write_table(
        (*_COLUMNS, *(name.replace("_", " ") for name in _NOTES)),
        (_cells(row) for row in rows),
        empty="every document was read as what it was sent as, without text recognition, and none has the bytes of "
        "another address of its host",
    )


def _cells(row: dict[str, Any]) -> list[Any]:
    notes = [row["notes"].get(name) for name in _NOTES]
    return [*(row[name] for name in _COLUMNS), *notes]
