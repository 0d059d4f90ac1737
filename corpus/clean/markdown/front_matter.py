"""Metadata at the beginning of a Markdown document.

By hand: the parser's plugin takes everything between two thematic breaks, and knows no TOML. A thematic break looks
like the start of YAML; only what is between the two marks tells.
"""

import re
import tomllib

# Longer metadata is more likely a document between two breaks.
_MAX_CHARACTERS = 100_000
_FRONT_MATTER = {
    "---\n": re.compile(r"\n(?:---|\.\.\.)(?:\n|$)"),
    "+++\n": re.compile(r"\n\+\+\+(?:\n|$)"),
}
# A line of a YAML mapping: a key (in words, not a sentence), or what can only continue the line above it.
_KEY = re.compile(r"""(?:"[^"\n]*"|'[^'\n]*'|[\w$@.][^:\n]{0,60}?)\s*:(?:\s|$)""")
_CONTINUATION = re.compile(r"$|#|\s|- |-$|[\]}]")


def front_matter_end(text: str) -> int:
    """Return the offset behind YAML or TOML between two marks at the very beginning; 0 where there is none."""
    ending = _FRONT_MATTER.get(text[:4])
    if ending is None:
        return 0
    end = ending.search(text, 3, _MAX_CHARACTERS)
    if end is None:
        return 0
    metadata = text[4 : end.start() + 1]
    if text.startswith("-"):
        is_metadata = _is_yaml(metadata)
    else:
        is_metadata = _is_toml(metadata)
    return end.end() if is_metadata else 0


def _is_yaml(text: str) -> bool:
    """Is each line one of a mapping? A sentence at the beginning of a line is not."""
    has_key = False
    for line in text.splitlines():
        if _KEY.match(line):
            has_key = True
            continue
        if not _CONTINUATION.match(line):
            return False
        is_comment = line.startswith("#")
        if line and not has_key and not is_comment:
            return False
    return has_key


def _is_toml(text: str) -> bool:
    try:
        return bool(tomllib.loads(text))
    except ValueError:
        return False
