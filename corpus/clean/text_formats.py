"""Texts of any format but HTML → cleaned documents, by the readers of their formats."""

from collections.abc import Callable

from corpus.clean.account import AccountBuilder, visible_length
from corpus.clean.blocks import Block, CleanedDocument
from corpus.clean.code_types import CODE
from corpus.clean.data import (
    read_code,
    read_csv,
    read_json,
    read_json_lines,
    read_tsv,
)
from corpus.clean.markdown.noise import without_noise
from corpus.clean.markdown.structure import markdown_blocks
from corpus.clean.normalise import normalise
from corpus.clean.payload import without_payloads
from corpus.clean.plain import plain_blocks
from corpus.clean.rst.reader import read_rst

# By media type. "html" and "mail" are read by others.
TEXT_FORMATS = {
    "text/plain": "plain",
    "text/markdown": "markdown",
    "text/x-markdown": "markdown",
    "text/mdx": "markdown",
    "text/x-mdx": "markdown",
    "text/x-rst": "rst",
    "text/prs.fallenstein.rst": "rst",
    "text/html": "html",
    "application/xhtml+xml": "html",
    **dict.fromkeys(("text/csv", "application/csv"), "csv"),
    "text/tab-separated-values": "tsv",
    **dict.fromkeys(("application/json", "text/json"), "json"),
    "application/x-ndjson": "json lines",
    "application/jsonl": "json lines",
    "application/x-jsonlines": "json lines",
    "message/rfc822": "mail",
    **dict.fromkeys(CODE, "code"),
}
# The text, its blocks, and how many characters of it the cleaner added.
_ReadText = tuple[str, tuple[Block, ...], int]


def clean_text(content: str, text_format: str) -> CleanedDocument:
    """Clean a text of any format but HTML in this process."""
    account = AccountBuilder()
    text = normalise(content, account)
    text, blocks, added = _READERS[text_format](text, account)
    added += account.count_undecodable(text)
    return CleanedDocument(text, blocks, account.finish(visible_length(text) - added))


def _read_plain(text: str, account: AccountBuilder) -> _ReadText:
    text, added = without_payloads(text, account)
    return text, plain_blocks(text), added


def _read_markdown(text: str, account: AccountBuilder) -> _ReadText:
    text, added = without_noise(text, account)
    return text, markdown_blocks(text), added


_READERS: dict[str, Callable[[str, AccountBuilder], _ReadText]] = {
    "plain": _read_plain,
    "markdown": _read_markdown,
    "rst": read_rst,
    "csv": read_csv,
    "tsv": read_tsv,
    "json": read_json,
    "json lines": read_json_lines,
    "code": read_code,
}
