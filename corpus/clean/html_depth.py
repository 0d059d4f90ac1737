"""How deep HTML nests, counted in one pass; and the text of a page that nests too deep, without its structure.

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

_COMMENT = "!--"
_NOSCRIPT = re.compile(r"<(noscript)(?=[\s>/])", re.IGNORECASE)
_DROPPED = re.compile(
    r"<(script|style|template|noscript|iframe|object|svg|head)(?=[\s>/])|<!--",
    re.IGNORECASE,
)
_BREAKING = re.compile(
    r"</?(?:address|article|aside|blockquote|br|dd|div|dl|dt|figure|footer|form|h[1-6]|header|hr|li"
    r"|main|nav|ol|p|pre|section|table|td|th|tr|ul)(?=[\s>/])[^<>]*>",
    re.IGNORECASE,
)
_ANY_TAG = re.compile(r"<[/!?a-zA-Z][^<>]*>")


def nests_deeper(content: str, limit: int) -> bool:
    """Would a tree of `content` be deeper than about `limit` elements? Counts too much rather than too little."""
    if content.count("<") <= limit or not _counts_more(content, limit):
        return False
    # What looks like tags in scripts does not nest.
    return _counts_more(_without(_DROPPED, content), limit)


def _counts_more(content: str, limit: int) -> bool:
    depth = _Depth()
    for tag in _TAG.finditer(content):
        closing, name = tag.group(1), tag.group(2).lower()
        if name in _UNCOUNTED:
            continue
        if closing:
            depth.leave(name)
        else:
            depth.enter(name)
        if depth.total > limit:
            return True
    return False


class _Depth:
    """How many elements are open."""

    def __init__(self) -> None:
        self.total = 0
        self._open: list[str] = []
        self._open_by_name: Counter[str] = Counter()

    def enter(self, name: str) -> None:
        self.total += 1
        self._open_by_name[name] += 1
        if name not in _FORMATTING:
            self._open.append(name)

    def leave(self, name: str) -> None:
        """An end tag ends everything inside its element but formatting; one without a start ends nothing."""
        if not self._open_by_name[name]:
            return
        if name in _FORMATTING:
            self._count_end(name)
            return
        while self._open_by_name[name]:
            last = self._open.pop()
            self._count_end(last)
            if last == name:
                return

    def _count_end(self, name: str) -> None:
        self.total -= 1
        self._open_by_name[name] -= 1


def strip_tags(content: str) -> str:
    """Return the text between tags, one line per block element, in linear time."""
    visible = _without(_DROPPED, content)
    in_lines = _BREAKING.sub("\n\n", visible)
    text = _ANY_TAG.sub("", in_lines)
    return html.unescape(text)


def without_noscript(content: str) -> str:
    """Take out what is shown only where scripts do not run; in a page's head a parser would make body text of it."""
    if _NOSCRIPT.search(content) is None:
        return content
    return _without(_NOSCRIPT, content)


def _without(elements: re.Pattern[str], content: str) -> str:
    """Take out elements and comments from their start to their end; one without an end stays."""
    kept: list[str] = []
    endless: set[str] = set()
    kept_until = at = 0
    while (start := elements.search(content, at)) is not None:
        at = start.end()
        kind = (start.group(1) or _COMMENT).lower()
        if kind in endless:
            continue
        end = _end_of(kind, content, at)
        if end is None:
            endless.add(kind)
            continue
        kept.append(content[kept_until : start.start()])
        kept_until = at = end
    kept.append(content[kept_until:])
    return "".join(kept)


def _end_of(kind: str, content: str, at: int) -> int | None:
    end_tag = rf"</{kind}\s*>"
    pattern = re.compile("-->" if kind == _COMMENT else end_tag, re.IGNORECASE)
    end = pattern.search(content, at)
    return end.end() if end else None
