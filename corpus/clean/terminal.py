"""What a program wrote for a terminal → what a person saw there.

Sequences go as a whole, so that nothing of them stays as text. A sequence that is not complete loses its escape
character only, and no text is ever taken for a part of one. Each character is looked at a fixed number of times.
"""

import re
from itertools import pairwise

from corpus.clean.account import AccountBuilder, DropRule

_STRING_END = "(?:\x07|\x1b\\\\|\x9c)"
# ECMA-48: control sequences (colours, moves), strings (titles, links), character sets, single functions. As one byte
# (0x9B, 0x9D) they begin only with a parameter, since these bytes are also quotation marks of broken encodings.
_SEQUENCE = re.compile(
    "\x1b\\[[0-?]*[ -/]*[@-~]"
    f"|\x1b\\][^\x07\x1b\x9c\x9d\n\r]*{_STRING_END}"
    f"|\x1b[PX^_][^\x07\x1b\x9c\x9d\n\r]*{_STRING_END}"
    "|\x1b[ -/]+[0-~]"
    "|\x1b[78=>]|\x1b[cDEHMNOZ](?![A-Za-z])|\x1b\\\\"
    "|\x9b[0-9;:?]+[ -/]*[@-~]"
    f"|\x9d[0-9]+;[^\x07\x1b\x9c\x9d\n\r]*{_STRING_END}"
)
_PERHAPS_SEQUENCE = re.compile("[\x1b\x9b\x9d]")
_PROGRESS = re.compile(r"\d ?%|\d/\d|\d ?[kKMG]i?B\b")
_NO_LETTERS = re.compile(r"[\W\d_]+")


def as_shown(text: str, account: AccountBuilder) -> str:
    """Return the text without escape sequences, and of a progress bar only its last state."""
    if _PERHAPS_SEQUENCE.search(text):
        text = _without_sequences(text, account)
    if "\r" in text and "\n" in text:  # a carriage return may be an end of lines
        lines = text.split("\n")
        text = "\n".join(_last_states(line, account) for line in lines)
    return text


def _without_sequences(text: str, account: AccountBuilder) -> str:
    def drop(sequence: re.Match[str]) -> str:
        account.drop(DropRule.MACHINE, sequence[0].strip("\x07\x1b\x9b\x9c\x9d"))
        return ""

    return _SEQUENCE.sub(drop, text)


def _last_states(line: str, account: AccountBuilder) -> str:
    """Leave out what the next part of a line overwrites: a state of progress with the same words."""
    if "\r" not in line[:-1]:
        return line
    parts = line.split("\r")
    kept: list[str] = []
    for part, following in pairwise(parts):
        if _PROGRESS.search(part) and _words(part) == _words(following):
            account.drop(DropRule.MACHINE, part)
        else:
            kept.append(part)
    return "\r".join((*kept, parts[-1]))


def _words(part: str) -> str:
    return _NO_LETTERS.sub("", part)
