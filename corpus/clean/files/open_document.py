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
_MAX_SPACES = 100
_PICTURES = "Pictures/"
_BLOCKS = "descendant::text:h|descendant::text:p|descendant::table:table"
# What holds paragraphs that are read with something else: cells with their table, notes where they are referred to.
_INSIDE = (
    "ancestor::table:table",
    "ancestor::text:note",
    "ancestor::office:annotation",
)
_HIDDEN = (
    "ancestor::text:tracked-changes"
    "|ancestor::text:section[@text:display='none']"
    "|ancestor-or-self::text:hidden-paragraph"
)
_HIDDEN_WORDS = "descendant::text:hidden-text"
# Inside of a paragraph, what is not its own text; its own place may be inside of one, too.
_APART = ("text:note", "office:annotation", "draw:frame", "text:hidden-text")
# Elements that stand for white space, or separate what is around them.
_WHITE = {
    "text:line-break": "\n",
    "text:tab": "\t",
    "text:s": " ",
    "draw:frame": " ",
}
_OWN = "descendant::text()|" + "|".join(f"descendant::{name}" for name in _WHITE)
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
        if element.xpath(_HIDDEN):
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
    for words in element.get_elements(_HIDDEN_WORDS):
        draft.account.drop(DropRule.HIDDEN, words.inner_text)
    for note in element.get_elements("descendant::text:note-body"):
        draft.text("\n\n".join(_texts(note)))


def _texts(parent: Any) -> list[str]:
    """The text of each paragraph inside; annotations are no text of the document."""
    paragraphs = parent.get_elements("descendant::text:h|descendant::text:p")
    return [
        _own_text(paragraph)
        for paragraph in paragraphs
        if not paragraph.xpath("ancestor::office:annotation")
    ]


def _own_text(element: Any) -> str:
    """The text without notes, annotations and frames: those have paragraphs of their own."""
    around = [len(element.xpath(f"ancestor::{name}")) for name in _APART]
    own = " and ".join(
        f"count(ancestor::{name}) = {count}"
        for name, count in zip(_APART, around, strict=True)
    )
    found: list[Any] = element.xpath(f"({_OWN})[{own}]")
    return "".join(map(_written, found))


def _written(found: Any) -> str:
    """A piece of text, or the white space that an element stands for."""
    if isinstance(found, str):
        return found
    count = found.get_attribute_integer("text:c") or 1
    return _WHITE[found.tag] * min(count, _MAX_SPACES)


def _level(heading: Any) -> int:
    level = heading.get_attribute_integer("text:outline-level")
    return min(max(level or 1, 1), 6)


def _rows(table: Any) -> list[list[str]]:
    rows: list[list[str]] = []
    depth = len(table.xpath("ancestor-or-self::table:table"))
    own = f"descendant::table:table-row[count(ancestor::table:table) = {depth}]"
    for row in table.get_elements(own):
        cells = row.get_elements("table:table-cell|table:covered-table-cell")
        rows.append([" ".join(_texts(cell)) for cell in cells])
    return rows
