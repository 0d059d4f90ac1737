"""Parts of a document that are shown as documents of their own: what is attached to an e-mail."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from corpus.dead_letter import DeadLetterReason

MAX_NAME = 200
"""Characters of a part's name, and of what it is attached to; a longer one is shortened."""

_SEPARATOR = " > "
_SHORTENED = "…"
_END_CHARACTERS = 40  # of a shortened name that stay: what ends its file name is there
_REPLACEMENT = "\ufffd"
# Controls, what turns text round or takes no room, halves of characters, ends of lines.
_HARMFUL = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS = "\u200c\u200d"  # spelling, in scripts that have them


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a document: a slice of the cleaned text, or why none of it is there."""

    number: int
    """From 1, in reading order."""
    name: str
    """As `part_name` makes it."""
    within: str
    """Subject of the mail that it is attached to; below it those of mails in mails, joined by " > "."""
    media_type: str
    """As recognised; of what is not read, as stated."""
    content_bytes: int
    """Of the content as received."""
    start: int = 0
    """Character offset in the cleaned text, inclusive."""
    end: int = 0
    """Character offset, exclusive; the same as `start`: it has no text."""
    received: int = 0
    """Characters that are no white space."""
    kept: int = 0
    """Of them, those that are in the cleaned text."""
    reason: DeadLetterReason | None = None
    """Why it is not read; None: it is."""
    detail: str = ""
    """The same, as one line for a person."""


def part_name(name: str, instead: str) -> str:
    """A name as a part has it: the last piece of a path, on one line, without what does something where it is shown.

    Args:
        name: as the mail has it.
        instead: where nothing is left of it.
    """
    last = name.replace("\\", "/").rstrip("/ ").rpartition("/")[2]
    return harmless(last) or harmless(instead)


def path_of(names: Sequence[str]) -> str:
    """Names of mails inside each other, the outermost first."""
    return _shortened(_SEPARATOR.join(map(harmless, names)))


def harmless(text: str) -> str:
    """A text of others on one line: U+FFFD for what does something where it is shown; at most MAX_NAME characters."""
    line = " ".join(text.split())
    shown = [
        _REPLACEMENT if _is_harmful(character) else character for character in line
    ]
    return _shortened("".join(shown))


def _is_harmful(character: str) -> bool:
    return unicodedata.category(character) in _HARMFUL and character not in _JOINERS


def _shortened(text: str) -> str:
    if len(text) <= MAX_NAME:
        return text
    beginning = text[: MAX_NAME - _END_CHARACTERS - len(_SHORTENED)]
    return f"{beginning}{_SHORTENED}{text[-_END_CHARACTERS:]}"
