"""EPUB → blocks: its pages, in the order of the book, by the cleaner of pages.

A book is a zip archive of XHTML with a list of its pages. The libraries for it are under the AGPL, or convert to
Markdown by the same three steps.
"""

import codecs
import posixpath
import re
from contextlib import suppress
from importlib import import_module
from typing import Any
from urllib.parse import unquote
from zipfile import ZipFile

from corpus.clean.account import DropRule
from corpus.clean.files.draft import CHARACTERS_OF_A_PAGE, Draft
from corpus.clean.files.kinds import FileRefusedError
from corpus.clean.files.limits import FileLimits
from corpus.clean.files.unpack import opened
from corpus.clean.html import clean_html
from corpus.dead_letter import DeadLetterReason

# Without types.
_etree: Any = import_module("lxml.etree")

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_DECLARED = re.compile(
    rb"""<\?xml[^>]*\sencoding=["']([A-Za-z0-9._-]{1,40})|<meta[^>]*\scharset=["']?([A-Za-z0-9._-]{1,40})"""
)
_BEGINNING = 1_024
_PICTURES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".svg")


def read_epub(content: bytes, draft: Draft, limits: FileLimits) -> None:
    """Add the pages of the book.

    Raises:
        FileRefusedError: a page of it is encrypted, or it has no list of pages.
    """
    with opened(content, limits.max_unpacked_bytes) as archive:
        names = set(archive.namelist())
        draft.has_pictures |= any(name.lower().endswith(_PICTURES) for name in names)
        pages = _pages(archive)
        limits.check_pages(len(pages), "pages")
        if _ENCRYPTION in names:
            _check_readable(archive, pages)
        for page in pages:
            if page in names:
                _read_page(archive.read(page), draft, limits)
            else:
                draft.unread("a page that is not in the file", CHARACTERS_OF_A_PAGE)


def _read_page(content: bytes, draft: Draft, limits: FileLimits) -> None:
    page = _decoded(content)
    draft.account.count(
        DropRule.UNDECODABLE, page.count("\ufffd"), "not in the page's encoding"
    )
    document = clean_html(page, main=False, max_nesting=limits.max_nesting)
    draft.document(document)


def _decoded(content: bytes) -> str:
    """A page by its byte order mark, by what it declares, else as UTF-8."""
    declared = _DECLARED.search(content[:_BEGINNING])
    stated = (declared[1] or declared[2]) if declared else b"utf-8"
    encoding = stated.decode("ascii")
    for mark, name in _MARKS.items():
        if content.startswith(mark):
            encoding = name
    with suppress(LookupError, ValueError):
        return content.decode(encoding, "replace")
    return content.decode("utf-8", "replace")


def _pages(archive: ZipFile) -> list[str]:
    """Names of the pages, in the order of the book."""
    container = _parsed(archive, _CONTAINER)
    places: list[Any] = container.xpath("//*[local-name()='rootfile']/@full-path")
    if not places:
        raise FileRefusedError(
            DeadLetterReason.DAMAGED_FILE, "the EPUB names no list of its pages"
        )
    place = str(places[0])
    package = _parsed(archive, place)
    targets = {
        item.get("id"): item.get("href", "")
        for item in package.xpath("//*[local-name()='manifest']/*")
    }
    folder = posixpath.dirname(place)
    order: list[Any] = package.xpath("//*[local-name()='itemref']/@idref")
    return [_name(folder, targets.get(str(one), "")) for one in order]


def _name(folder: str, target: str) -> str:
    path = unquote(target.partition("#")[0])
    return posixpath.normpath(posixpath.join(folder, path))


def _check_readable(archive: ZipFile, pages: list[str]) -> None:
    """Check that what is encrypted are fonts, which many books have so, and no pages."""
    encryption = _parsed(archive, _ENCRYPTION)
    references = encryption.xpath("//*[local-name()='CipherReference']/@URI")
    encrypted = {unquote(str(one)).lstrip("/") for one in references}
    if encrypted.intersection(pages):
        raise FileRefusedError(
            DeadLetterReason.ENCRYPTED,
            "pages of the EPUB are encrypted; send it without protection",
        )


def _parsed(archive: ZipFile, name: str) -> Any:
    """An XML file; entities stay as they are, and nothing is fetched."""
    parser = _etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
    )
    content = archive.read(name)
    return _etree.fromstring(content, parser)
