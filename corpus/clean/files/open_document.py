"""ODT and ODP → blocks by odfdo."""

from importlib import import_module
from io import BytesIO
from typing import Any

from corpus.clean.account import DropRule
from corpus.clean.files.draft import Draft
from corpus.clean.files.kinds import FileRefusedError
from corpus.clean.files.limits import FileLimits
from corpus.clean.files.unpack import opened, text_characters
from corpus.dead_letter import DeadLetterReason

# Typed, but for what an element is.
_odfdo: Any = import_module("odfdo")

_MANIFEST = "META-INF/manifest.xml"
_CONTENT = "content.xml"
_ENCRYPTED = b"encryption-data"
_PICTURES = "Pictures/"
_BLOCKS = "descendant::text:h|descendant::text:p|descendant::table:table"
# What holds paragraphs that are read with something else: cells with their table, notes where they are referred to.
_INSIDE = (
    "ancestor::table:table",
    "ancestor::text:note",
    "ancestor::office:annotation",
)
_DELETED = "ancestor::text:tracked-changes"
_IN_LIST = "ancestor::text:list-item"


def read_odt(content: bytes, draft: Draft, limits: FileLimits) -> None:
    """Add headings, paragraphs, list items and tables in order; a note follows the paragraph that refers to it."""
    document = _opened(content, draft, limits)
    _read_blocks(document.body, draft)


def read_odp(content: bytes, draft: Draft, limits: FileLimits) -> None:
    """Add the pages in order, each below a heading `slide N`."""
    document = _opened(content, draft, limits)
    pages = document.body.get_elements("descendant::draw:page")
    limits.check_pages(len(pages), "slides")
    for number, page in enumerate(pages, 1):
        draft.place(f"slide {number}")
        _read_blocks(page, draft)


def _opened(content: bytes, draft: Draft, limits: FileLimits) -> Any:
    with opened(content, limits.max_unpacked_bytes) as archive:
        names = archive.namelist()
        if _MANIFEST in names and _ENCRYPTED in archive.read(_MANIFEST):
            raise FileRefusedError(
                DeadLetterReason.ENCRYPTED,
                "the document needs a password; send it without one",
            )
        text_characters(archive, [_CONTENT], frozenset())  # refuses what nests too deep
        draft.has_pictures |= any(name.startswith(_PICTURES) for name in names)
    return _odfdo.Document(BytesIO(content))


def _read_blocks(parent: Any, draft: Draft) -> None:
    for element in parent.get_elements(_BLOCKS):
        if any(element.xpath(path) for path in _INSIDE):
            continue
        if element.xpath(_DELETED):
            draft.account.drop(DropRule.HIDDEN, element.inner_text)
        elif element.tag == "table:table":
            draft.table(_rows(element))
        elif element.tag == "text:h":
            draft.heading(_own_text(element), _level(element))
        else:
            _read_paragraph(element, draft)


def _read_paragraph(element: Any, draft: Draft) -> None:
    text = _own_text(element)
    if element.xpath(_IN_LIST):
        draft.item(text)
    else:
        draft.text(text)
    for note in element.get_elements("descendant::text:note-body"):
        draft.text(note.text_recursive)


def _own_text(element: Any) -> str:
    """The text without notes and annotations."""
    kept: list[str] = element.xpath(
        "descendant::text()[not(ancestor::text:note) and not(ancestor::office:annotation)]"
    )
    return "".join(map(str, kept))


def _level(heading: Any) -> int:
    level = heading.get_attribute_integer("text:outline-level")
    return min(max(level or 1, 1), 6)


def _rows(table: Any) -> list[list[str]]:
    rows: list[list[str]] = []
    for row in table.get_elements("descendant::table:table-row"):
        cells = row.get_elements("table:table-cell|table:covered-table-cell")
        rows.append([cell.text_recursive for cell in cells])
    return rows
