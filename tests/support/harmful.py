"""Text that does something where it is shown."""

import unicodedata

HARMFUL = {
    "escape": "\x1b[2J\x1b]0;t\x07",
    "control sequence in one byte": "\x9b31m",
    "backspaces": "a\b\b\b",
    "carriage return": "good\rbad",
    "delete": "\x7f",
    "override": "\u202egpj.exe",
    "isolate": "\u2066a\u2069",
    "mark": "\u200f\u061c",
    "zero width": "pay\u200bpal\u2060\ufeff",
    "joiners": "pay\u200dpal \u200cx\u200d",
    "tags": "\U000e0041\U000e0042\U000e007f",
    "selectors": "a\ufe0f\ufe0e\ufe01\U000e0101",
    "fillers": "\u115f\u3164\uffa0",
    "halves": "\ud83d \udcff",
    "separators": "a\u2028b\u2029c",
}


def harmful_characters(text: str) -> set[str]:
    """By Unicode's own categories, not by the table of the code."""
    # Joiners, and the signs of Arabic, Syriac and Kaithi that are drawn around numbers.
    signs = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
    spelling = {"\u200c", "\u200d", *signs}
    return {
        character
        for character in text
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        and character not in spelling
        and character not in "\n\t"
    }
