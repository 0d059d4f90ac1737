"""EPUB → blocks: its pages, in the order of the book, by the cleaner of pages.

A book is a zip archive of XHTML with a list of its pages. The libraries for it are under the AGPL, or convert to
Markdown by the same three steps.
"""

import posixpath
from typing import Any
from urllib.parse import unquote
from zipfile import ZipFile

from corpus.clean.files.draft import CHARACTERS_OF_A_PAGE, Draft
from corpus.clean.files.kinds import FileRefusedError
from corpus.clean.files.limits import FileLimits
from corpus.clean.files.pages import read_page
from corpus.clean.files.unpack import opened, parsed_xml
from corpus.dead_letter import DeadLetterReason

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
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
                read_page(archive.read(page), draft, limits)
            else:
                draft.unread("a page that is not in the file", CHARACTERS_OF_A_PAGE)


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
    return parsed_xml(archive.read(name))
