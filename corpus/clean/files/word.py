"""DOCX → HTML by mammoth → blocks by the cleaner of pages."""

import re
from importlib import import_module
from io import BytesIO
from typing import Any
from zipfile import ZipFile

from corpus.clean.account import DropRule
from corpus.clean.files.draft import Draft
from corpus.clean.files.limits import FileLimits
from corpus.clean.files.pages import read_page
from corpus.clean.files.unpack import opened, text_characters
from corpus.clean.files.word_parts import embedded_files, shown_text
from corpus.clean.html import clean_html

# Without types.
_mammoth: Any = import_module("mammoth")
import_module("xml.dom.expatbuilder")  # loaded late; a confined process could not

_READ = re.compile(r"word/(?:document|footnotes|endnotes)\.xml")
_MARGINS = re.compile(r"word/(?:header|footer)\d*\.xml")
_COMMENTS = re.compile(r"word/comments\.xml")
_DRAWN = re.compile(r"word/(?:diagrams/data|charts/chart)\d*\.xml")
_PICTURES = "word/media/"
_PAGES = (".html", ".htm", ".xhtml")
_XML = (".xml", ".rels")
# Of text: in Word's markup, and in that of its formulas.
_TEXT = frozenset({"t"})
_STYLES = "p[style-name='Title'] => h1:fresh\np[style-name='Subtitle'] => p:fresh"


def read_docx(content: bytes, draft: Draft, limits: FileLimits) -> None:
    """Add headings, paragraphs, lists, tables, notes and text boxes. Deleted text is not in it.

    Headers and footers are dropped, and comments: they are no part of the document's text. What the library leaves out
    (formulas) is counted as not read.
    """
    with opened(content, limits.max_unpacked_bytes) as archive:
        characters = _characters(archive)
        names = archive.namelist()
        shown, hidden = shown_text(archive, content)
        embedded = list(embedded_files(archive))
    draft.has_pictures |= any(name.startswith(_PICTURES) for name in names)
    converted = _mammoth.convert_to_html(
        BytesIO(shown),
        style_map=_STYLES,
        convert_image=_mammoth.images.img_element(_without_picture),
    )
    page: str = converted.value
    document = clean_html(page, main=False, max_nesting=limits.max_nesting)
    draft.document(document)
    for name, inside in embedded:
        _read_embedded(name, inside, draft, limits)
    margins = _sum_of(characters, _MARGINS)
    comments = _sum_of(characters, _COMMENTS)
    draft.account.count(DropRule.BOILERPLATE, margins, "headers and footers of pages")
    draft.account.count(DropRule.HIDDEN, comments, "comments")
    draft.account.count(DropRule.HIDDEN, hidden, "text with the mark hidden")
    drawn = _sum_of(characters, _DRAWN)
    if drawn:
        draft.unread("diagrams and charts", drawn)
    missing = _sum_of(characters, _READ) - hidden - document.account.received
    if missing > 0:
        draft.unread("formulas, or other text that no reader is there for", missing)


def _read_embedded(name: str, content: bytes, draft: Draft, limits: FileLimits) -> None:
    """Add what another program put into the document as a file (`altChunk`); Word shows it as its own text."""
    if not name.endswith(_PAGES):
        draft.unread(f"an embedded file ({name.rpartition('.')[2]})", len(content))
        return
    read_page(content, draft, limits)


def _without_picture(_: Any) -> dict[str, str]:
    return {}


def _characters(archive: ZipFile) -> dict[str, int]:
    """Characters of text per XML part. All parts are looked at: the library follows entities and depth in each."""
    return {
        name: text_characters(archive, [name], _TEXT)
        for name in archive.namelist()
        if name.endswith(_XML)
    }


def _sum_of(characters: dict[str, int], parts: re.Pattern[str]) -> int:
    return sum(count for name, count in characters.items() if parts.fullmatch(name))
