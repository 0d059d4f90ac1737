"""Marks inside a paragraph of reStructuredText: links keep their text, roles theirs, substitutions become theirs.

Literals and emphasis stay as they are written. Each character is looked at a fixed number of times.
"""

import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from corpus.clean.account import AccountBuilder, DropRule, visible_length

_ROLE = r":[A-Za-z0-9][\w.+-]{0,40}(?::[\w.+-]{1,40}){0,3}:"
_MARKED = re.compile(
    r"(?P<literal>``[^`]+``|``(?=[^`\s]).+?``)"
    rf"|(?<![\w`\\])(?P<role>{_ROLE})?_?`(?P<body>[^`]+)`(?P<suffix>__?(?!\w)|{_ROLE})?"
    r"|(?<![\w|\\])\|(?P<name>[^|\s](?:[^|\n]{0,60}[^|\s])?)\|_{0,2}(?![\w|])"
    r"|(?P<note>\[[^\]\[\s]{1,40}\])_(?!\w)"
    r"|(?<![\w`\\.+-])(?P<word>[A-Za-z0-9](?:[\w.+-]{0,60}[A-Za-z0-9])?)__?(?!\w)"
    r"|\\(?P<escaped>[\s*_`|\\:<>]|(?<=`\\)\w)",
    re.DOTALL,
)
_MARKS = re.compile(r"[`|\\]|_(?!\w)")
_TARGET = re.compile(r"\s*<([^<>]+)>\s*$")

# What the reader sees before the text of a role.
_BEFORE_ROLE = {
    **{"pep": "PEP ", "rfc": "RFC "},
    **{"sup": "^", "superscript": "^", "sub": "_", "subscript": "_"},
}


@dataclass(frozen=True, slots=True)
class Names:
    """What a document defines for use inside its paragraphs."""

    substitutions: Mapping[str, str]
    """Text by name."""
    targets: Set[str]
    """Names that links refer to, in lower case."""


@dataclass(slots=True)
class InlineReader:
    """Takes marks out of text, and counts them."""

    names: Names
    account: AccountBuilder
    added: int = field(default=0)
    """Characters that are no characters of the document."""

    def read(self, text: str) -> str:
        """Return the text without its marks."""
        if _MARKS.search(text) is None:
            return text
        return _MARKED.sub(self._shown, text)

    def _shown(self, found: re.Match[str]) -> str:
        """Return what a reader sees of a marked piece."""
        before, kept = "", found[0]
        if found["body"] is not None:
            before, kept = _interpreted(found)
        elif found["name"] is not None:
            before, kept = self._substituted(found)
        elif found["note"] is not None:
            kept = found["note"]
        elif found["word"] is not None and found["word"].lower() in self.names.targets:
            kept = found["word"]
        elif found["escaped"] is not None:
            kept = found["escaped"].strip()
        self.added += visible_length(before)
        dropped = visible_length(found[0]) - visible_length(kept)
        self.account.count(DropRule.MARKUP, dropped, found[0])
        return before + kept

    def _substituted(self, found: re.Match[str]) -> tuple[str, str]:
        text = self.names.substitutions.get(found["name"])
        if text is None:
            return "", found[0]
        return text, ""


def _interpreted(found: re.Match[str]) -> tuple[str, str]:
    """Return what is added before the text of a link or a role, and that text."""
    body, role = found["body"], found["role"]
    suffix = found["suffix"] or ""
    if suffix.startswith(":"):
        role = suffix
    target = _TARGET.search(body) if role or suffix else None
    if target is not None and target.start() > 0:
        return "", body[: target.start()]
    if target is not None:
        return "", target[1]
    if role is None:
        return "", body
    if body.startswith("~"):
        return "", body[1:].rpartition(".")[2]
    return _BEFORE_ROLE.get(role.strip(":").lower(), ""), body.removeprefix("!")
