"""The one exit for text: what documents, producers and failures say, made harmless for terminals, logs and exports.

A title can hold what a terminal obeys, what turns a line round, what nobody sees, or what a spreadsheet computes. Each
function replaces such characters by U+FFFD, so that a person sees that something was there; JSON keeps them, escaped.
"""

import json
import re
from typing import Any

_REPLACEMENT = "\ufffd"
# What a terminal obeys: C0 and C1 controls. Tab and newline are kept where a text may have several lines.
_CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f"
# What turns text round: marks, embeddings, overrides, isolates. Line separators, which only some programs obey.
_DIRECTIONS = "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
# What takes no room: soft hyphen, fillers, zero-width space, word joiner, invisible operators, byte order mark,
# annotations, shorthand and music controls, tags and the selectors behind them.
_UNSEEN = (
    "\xad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2060-\u2065\u206a-\u206f\u3164"
    "\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U00013430-\U0001345f"
    "\U000e0000-\U000e0fff"
)
_HALVES = "\ud800-\udfff"
# Joiners and the selectors of emoji are spelling between characters beyond ASCII (and in a keycap), and hide something
# elsewhere.
_JOINERS = "\u200c\u200d"
_SELECTORS = "\ufe0e\ufe0f"
_LETTER = f"[^\x00-\x7f{_JOINERS}{_SELECTORS}]"
_LETTER_OR_SELECTOR = f"[^\x00-\x7f{_JOINERS}]"
_MISPLACED = (
    f"(?<!{_LETTER})[{_SELECTORS}](?!\u20e3)"
    f"|(?<!{_LETTER_OR_SELECTOR})[{_JOINERS}]"
    f"|[{_JOINERS}](?!{_LETTER})"
)
_ALWAYS = f"[{_CONTROLS}{_DIRECTIONS}{_UNSEEN}{_HALVES}]"
_HARMFUL = re.compile(f"{_ALWAYS}|{_MISPLACED}")
_HARMFUL_IN_JSON = re.compile(
    f"[{_CONTROLS}{_DIRECTIONS}{_UNSEEN}{_HALVES}{_JOINERS}{_SELECTORS}]"
)
_LINE_BREAKS = re.compile("\r\n|[\n\t\r\x0b\x0c\x85\u2028\u2029]")
# A spreadsheet computes a cell that begins with one of these, in their wide forms, too.
# A quotation mark is there since a reader of tables takes it away, and with it what stood before the formula.
_FORMULA = tuple('=+-@\t\r\n＝＋－＠"')


def shown(text: str) -> str:
    """A text of any number of lines, for a terminal or a log."""
    return _HARMFUL.sub(_REPLACEMENT, text)


def shown_line(text: str) -> str:
    """One line with its spaces: breaks and tabs become spaces."""
    return shown(_LINE_BREAKS.sub(" ", text))


def one_line(text: str) -> str:
    """One line of a text of others: all its white space becomes single spaces."""
    return shown(" ".join(text.split()))


def export_cell(value: Any) -> str:
    """A value as a cell of tab-separated values; a text that a spreadsheet would compute begins with an apostrophe."""
    text = str(value)
    is_formula = isinstance(value, str) and text.startswith(_FORMULA)
    cell = shown_line(text)
    return f"'{cell}" if is_formula else cell


def json_text(value: Any, **options: Any) -> str:
    """A value as JSON that means exactly this value, without a character that does anything where it is shown.

    Args:
        value: for `json.dumps`.
        options: of `json.dumps`.
    """
    text = json.dumps(value, ensure_ascii=False, **options)
    return _HARMFUL_IN_JSON.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    """As JSON escapes it: beyond the first plane as two halves."""
    quoted = json.dumps(match[0])
    if quoted == f'"{match[0]}"':  # DEL is the one control that JSON may hold as it is
        return f"\\u{ord(match[0]):04x}"
    return quoted[1:-1]
