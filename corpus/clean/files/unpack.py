"""Zip archives and the XML in them: how large, how deep, and how much text there is, before a library reads them."""

import zipfile
from collections.abc import Iterable
from importlib import import_module
from io import BytesIO
from typing import Any
from xml.parsers import expat

from corpus.clean.files.kinds import FileRefusedError
from corpus.dead_letter import DeadLetterReason

# Without types.
_etree: Any = import_module("lxml.etree")

_MAX_MEMBERS = 20_000
# Documents stay far below; parsers that build a tree go as deep as their stack.
_MAX_DEPTH = 250
_PART_BYTES = 1 << 20
# Shown in place of what is left out for readers that know no better; it repeats what is beside it.
_REPEATED = "Fallback"


def opened(content: bytes, max_bytes: int) -> zipfile.ZipFile:
    """Open an archive.

    Args:
        content: of the archive.
        max_bytes: that its members may have together when they are unpacked; zipfile reads no more of one than its
            header says.

    Raises:
        FileRefusedError: it becomes larger, or has too many members.
        zipfile.BadZipFile: it is no archive.
    """
    archive = zipfile.ZipFile(BytesIO(content))
    members = archive.infolist()
    size = sum(member.file_size for member in members)
    if size > max_bytes:
        raise FileRefusedError(
            DeadLetterReason.TOO_LARGE,
            f"the file has {size:,} bytes when it is unpacked, more than max_unpacked_bytes = {max_bytes:,}",
        )
    if len(members) > _MAX_MEMBERS:
        raise FileRefusedError(
            DeadLetterReason.TOO_LARGE,
            f"the file has {len(members):,} parts; at most {_MAX_MEMBERS:,} are read",
        )
    return archive


class _Survey:
    """One pass over an XML file."""

    def __init__(self, elements: frozenset[str]) -> None:
        self.characters = 0
        self._elements = elements
        self._depth = 0
        self._repeated_at = 0
        self._is_text = False
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.StartDoctypeDeclHandler = self._doctype

    def feed(self, part: bytes, *, is_last: bool = False) -> None:
        self._parser.Parse(part, is_last)

    def _start(self, name: str, _attributes: object) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise FileRefusedError(
                DeadLetterReason.DAMAGED_FILE,
                f"its XML nests more than {_MAX_DEPTH} levels deep, as no document does",
            )
        local = name.rpartition(":")[2]
        is_outermost = not self._repeated_at
        if local == _REPEATED and is_outermost:
            self._repeated_at = self._depth
        self._is_text = local in self._elements

    def _end(self, _name: str) -> None:
        if self._depth == self._repeated_at:
            self._repeated_at = 0
        self._depth -= 1
        self._is_text = False

    def _text(self, text: str) -> None:
        if self._is_text and not self._repeated_at:
            self.characters += len("".join(text.split()))

    def _doctype(self, *_: object) -> None:
        raise FileRefusedError(
            DeadLetterReason.DAMAGED_FILE,
            "its XML declares a document type, as no document of this kind does",
        )


def text_characters(
    archive: zipfile.ZipFile, names: Iterable[str], elements: frozenset[str]
) -> int:
    """How many characters that are no white space are in XML files, inside elements of these names.

    Raises:
        FileRefusedError: one nests too deep, or declares entities.
        expat.ExpatError: one is no XML.
    """
    characters = 0
    for name in names:
        survey = _Survey(elements)
        with archive.open(name) as member:
            while part := member.read(_PART_BYTES):
                survey.feed(part)
            survey.feed(b"", is_last=True)
        characters += survey.characters
    return characters


def parsed_xml(content: bytes) -> Any:
    """An XML file as lxml has it; entities stay as they are, and nothing is fetched."""
    parser = _etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
    )
    return _etree.fromstring(content, parser)
