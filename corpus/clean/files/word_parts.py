"""What of a DOCX its library does not know: text that is hidden, and files inside of it."""

import posixpath
import re
from collections.abc import Iterator
from importlib import import_module
from io import BytesIO
from typing import Any
from zipfile import ZipFile

from corpus.clean.account import visible_length
from corpus.clean.files.unpack import parsed_xml

# Without types.
_etree: Any = import_module("lxml.etree")

_TEXTS = ("word/document.xml", "word/footnotes.xml", "word/endnotes.xml")
_RELATIONS = "word/_rels/document.xml.rels"
_EMBEDDED = "/aFChunk"
# Of Word's markup, whatever prefix it has in a file.
_CHANGED = re.compile(rb"[:<](?:vanish|cr|moveFrom)[ />]")
_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_NAMES = {"w": _WORD}
_IS_OFF = "contains('|0|false|off|', concat('|', @w:val, '|'))"
_HIDDEN = f"//w:r[w:rPr/w:vanish[not(@w:val) or not({_IS_OFF})]]|//w:moveFrom//w:r"


def shown_text(archive: ZipFile, content: bytes) -> tuple[bytes, int]:
    """The document without hidden text, and how many characters of it there were.

    Args:
        archive: the document, whose parts are known to be within limits.
        content: its bytes; they are returned where nothing has to change.
    """
    names = [name for name in _TEXTS if name in archive.namelist()]
    parts = ((name, archive.read(name)) for name in names)
    changed = {name: part for name, part in parts if _CHANGED.search(part)}
    if not changed:
        return content, 0
    hidden = 0
    written = BytesIO()
    with ZipFile(written, "w") as copy:
        for member in archive.infolist():
            inside = changed.get(member.filename)
            if inside is None:
                copy.writestr(member.filename, archive.read(member))
                continue
            shown, count = _without_hidden(inside)
            hidden += count
            copy.writestr(member.filename, shown)
    return written.getvalue(), hidden


def _without_hidden(content: bytes) -> tuple[bytes, int]:
    """A part without hidden text and without what was moved away, which stands where it was moved to."""
    root = parsed_xml(content)
    hidden = 0
    for run in root.xpath(_HIDDEN, namespaces=_NAMES):
        hidden += visible_length("".join(run.xpath(".//w:t/text()", namespaces=_NAMES)))
        run.getparent().remove(run)
    for mark in root.xpath("//w:cr", namespaces=_NAMES):
        mark.tag = f"{{{_WORD}}}br"
    return _etree.tostring(root), hidden


def embedded_files(archive: ZipFile) -> Iterator[tuple[str, bytes]]:
    """Names in lower case and contents of the files that the document shows as its own text."""
    names = set(archive.namelist())
    if _RELATIONS not in names:
        return
    for relation in parsed_xml(archive.read(_RELATIONS)):
        kind: str = relation.get("Type", "")
        target: str = relation.get("Target", "")
        name = posixpath.normpath(posixpath.join("word", target)).lstrip("/")
        if kind.endswith(_EMBEDDED) and name in names:
            yield name.lower(), archive.read(name)
