"""What a document of reStructuredText defines for use inside its paragraphs: substitutions, and targets of links."""

import re
import sys

from corpus.clean.rst.inline import Names

_SUBSTITUTION = re.compile(
    r"^[ ]*\.\. \|(?P<name>[^|\n]+)\|[ ]+(?P<kind>replace|unicode|image)::[ ]*(?P<text>[^\n]*)"
    r"(?P<more>(?:\n[ ]+[^\s.][^\n]*)*)",
    re.MULTILINE,
)
_TARGET = re.compile(r"^[ ]*\.\. _([A-Za-z0-9][\w.+-]*):(?:\s|$)", re.MULTILINE)
_TITLE = re.compile(
    r"^([A-Za-z0-9][\w.+-]*)\n([=\-~^\"'`*+#:.<>_])\2{2,}$", re.MULTILINE
)
_ALT = re.compile(r":alt:[ ]*([^\n]+)")
_CODE_POINT = re.compile(r"(?:U\+|0x|\\[ux])([0-9A-Fa-f]{2,6})$", re.IGNORECASE)


def defined_names(text: str) -> Names:
    """Return what a document defines."""
    substitutions: dict[str, str] = {}
    if ".. |" in text:
        for found in _SUBSTITUTION.finditer(text):
            substitutions[found["name"].strip()] = _text_of(found)
    targets = set(map(str.lower, _TARGET.findall(text)))
    targets |= {title.lower() for title, _ in _TITLE.findall(text)}
    return Names(substitutions, targets)


def _text_of(found: re.Match[str]) -> str:
    if found["kind"] == "unicode":
        return "".join(map(_character, found["text"].partition(" .. ")[0].split()))
    if found["kind"] == "image":
        alternative = _ALT.search(found["more"])
        return alternative[1].strip() if alternative else ""
    lines = (found["text"] + found["more"]).split("\n")
    return " ".join(map(str.strip, lines)).strip()


def _character(written: str) -> str:
    """A character that is written as its code point, or as itself."""
    found = _CODE_POINT.match(written)
    if found is None:
        return written
    code = int(found[1], 16)
    if code > sys.maxunicode:
        return written
    character = chr(code)
    if character.isspace():
        return " "
    return character if character.isprintable() else ""
