"""How deep HTML nests, counted in one pass; and its text without any structure, for what nests too deep.

Parsers that build a tree are quadratic in its depth (200 KB of open elements: ten seconds), so depth is known before.
"""

import html
import re
from collections import Counter


def names(words: str) -> frozenset[str]:
    """Element names as one reads them."""
    return frozenset(words.split())


_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/<>]*)")
_VOID = names(
    "area base br col embed hr img input link meta param source track wbr basefont bgsound frame keygen"
)
# Their ends may be left out, and they cannot contain themselves without a list, table or block that is counted.
_SELF_ENDING = names(
    "p li dt dd tr td th thead tbody tfoot option optgroup colgroup caption rt rp html head body"
)
# A parser opens these again after every block that they were left open in, so only their own end tag ends them.
_FORMATTING = names("a b big code em font i nobr s small strike strong tt u")
_UNCOUNTED = _VOID | _SELF_ENDING

_NOSCRIPT = re.compile(r"<(noscript)(?=[\s>/])", re.IGNORECASE)
_DROPPED = re.compile(
    r"<(script|style|template|noscript|iframe|object|svg|head)(?=[\s>/])|<!--", re.IGNORECASE
)
_BREAKING = re.compile(
    r"</?(?:address|article|aside|blockquote|br|dd|div|dl|dt|figure|footer|form|h[1-6]|header|hr|li|main|nav|ol|p|pre|section|table|td|th|tr|ul)(?=[\s>/])[^<>]*>",
    re.IGNORECASE,
)
_ANY_TAG = re.compile(r"<[/!?a-zA-Z][^<>]*>")


def nests_deeper(content: str, limit: int) -> bool:
    """Would a tree of `content` be deeper than about `limit` elements? Counts too much rather than too little."""
    if content.count("<") <= limit or not _counts_more(content, limit):
        return False
    return _counts_more(
        _without(_DROPPED, content), limit
    )  # what looks like tags in scripts does not nest


def _counts_more(content: str, limit: int) -> bool:
    opened: list[str] = []
    inside: Counter[str] = Counter()
    formatting: Counter[str] = Counter()
    left_open = 0
    for start in _TAG.finditer(content):
        closing, tag = start.group(1), start.group(2).lower()
        if tag in _UNCOUNTED:
            continue
        if tag in _FORMATTING:
            change = -1 if closing and formatting[tag] else 0 if closing else 1
            formatting[tag] += change
            left_open += change
        elif not closing:
            opened.append(tag)
            inside[tag] += 1
        else:
            _close(tag, opened, inside)
        if len(opened) + left_open > limit:
            return True
    return False


def _close(tag: str, opened: list[str], inside: Counter[str]) -> None:
    """An end tag ends everything inside its element; one without a start ends nothing."""
    while inside[tag]:
        last = opened.pop()
        inside[last] -= 1
        if last == tag:
            return


def strip_tags(content: str) -> str:
    """Return the text between tags, a line a block element, in linear time."""
    text = _ANY_TAG.sub("", _BREAKING.sub("\n\n", _without(_DROPPED, content)))
    return html.unescape(text)


def without_noscript(content: str) -> str:
    """Take out what is shown only where scripts do not run; in a page's head a parser would make body text of it."""
    return _without(_NOSCRIPT, content) if _NOSCRIPT.search(content) else content


def _without(elements: re.Pattern[str], content: str) -> str:
    parts: list[str] = []
    kept = at = 0
    endless: set[str] = set()
    while (start := elements.search(content, at)) is not None:
        at = start.end()
        kind = (start.group(1) or "").lower()
        if kind in endless:
            continue
        end = _end_of(kind, content, at)
        if end < 0:
            endless.add(kind)
            continue
        parts.append(content[kept : start.start()])
        kept = at = end
    parts.append(content[kept:])
    return "".join(parts)


def _end_of(kind: str, content: str, at: int) -> int:
    if not kind:
        found = content.find("-->", at)
        return found + 3 if found >= 0 else -1
    end = re.compile(rf"</{kind}\s*>", re.IGNORECASE).search(content, at)
    return end.end() if end else -1
