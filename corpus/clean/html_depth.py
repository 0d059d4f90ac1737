"""How deep HTML nests, counted in one pass; and the text of a page that nests too deep, without its structure.

Parsers that build a tree are quadratic in its depth (200 KB of open elements: ten seconds), so depth is known before.
"""

import html
import re
from collections import Counter

from corpus.clean.account import AccountBuilder, DropRule
from corpus.clean.page.rules import names

_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/<>]*)")
_TAG_NAME = re.compile(r"<(/?[a-zA-Z][^\s/<>]*)")
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
_RULES = {
    "script": DropRule.MACHINE,
    "style": DropRule.MACHINE,
    "template": DropRule.MACHINE,
    "svg": DropRule.MACHINE,
    "head": DropRule.FRONT_MATTER,
    "noframes": DropRule.HIDDEN,
    "noembed": DropRule.HIDDEN,
    "iframe": DropRule.HIDDEN,
    "object": DropRule.HIDDEN,
}
_DROPPED = re.compile(rf"<({'|'.join(_RULES)})(?=[\s>/])|<!--", re.IGNORECASE)
_BREAKING = re.compile(
    r"</?(?:address|article|aside|blockquote|br|dd|div|dl|dt|figure|footer|form|h[1-6]|header|hr|li"
    r"|main|nav|ol|p|pre|section|table|td|th|tr|ul)(?=[\s>/])[^<>]*>",
    re.IGNORECASE,
)
_ANY_TAG = re.compile(r"<[/!?a-zA-Z][^<>]*>")


def nests_deeper(content: str, limit: int) -> bool:
    """Would a tree of `content` be deeper than about `limit` elements? Counts too much rather than too little."""
    if content.count("<") <= limit or not _may_count_more(content, limit):
        return False
    if not _counts_more(content, limit):
        return False
    # What looks like tags in scripts does not nest.
    return _counts_more(_without_dropped(content), limit)


def _may_count_more(content: str, limit: int) -> bool:
    """Do more elements stay open where an end tag ends nothing but one element of its name? Most pages: no."""
    tags = _TAG_NAME.findall(content)
    different = set(tags)
    names_of = {tag: tag.lower().removeprefix("/") for tag in different}
    counted = {tag: name for tag, name in names_of.items() if name not in _UNCOUNTED}
    open_by_name = dict.fromkeys(counted.values(), 0)
    total = 0
    for tag in tags:
        name = counted.get(tag)
        if name is None:
            continue
        is_start = tag[0] != "/"
        if is_start:
            open_by_name[name] += 1
            total += 1
            if total > limit:
                return True
        elif open_by_name[name]:
            open_by_name[name] -= 1
            total -= 1
    return False


def _counts_more(content: str, limit: int) -> bool:
    depth = _Depth()
    for closing, name in _TAG.findall(content):
        if name in _UNCOUNTED:
            continue
        if closing:
            depth.leave(name.lower())
        elif (lower := name.lower()) not in _UNCOUNTED:
            depth.enter(lower)
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
        is_formatting = name in _FORMATTING
        if is_formatting:
            return
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


def strip_tags(content: str, account: AccountBuilder | None = None) -> str:
    """Return the text between tags, one line per block element, in linear time.

    Args:
        content: HTML.
        account: where the text of elements that are never text is noted; None: nowhere.
    """
    visible = _without_dropped(content, account)
    in_lines = _BREAKING.sub("\n\n", visible)
    return _text_between_tags(in_lines)


def _text_between_tags(content: str) -> str:
    return html.unescape(_ANY_TAG.sub("", content))


def _without_dropped(content: str, account: AccountBuilder | None = None) -> str:
    """Take out elements and comments from their start to their end; one without an end stays."""
    kept: list[str] = []
    endless: set[str] = set()
    kept_until = at = 0
    while (start := _DROPPED.search(content, at)) is not None:
        at = start.end()
        kind = (start.group(1) or _COMMENT).lower()
        if kind in endless:
            continue
        end = _end_of(kind, content, at)
        if end is None:
            endless.add(kind)
            continue
        if account is not None and kind != _COMMENT:
            element = content[start.start() : end]
            account.drop(_RULES[kind], _text_between_tags(element))
        kept.append(content[kept_until : start.start()])
        kept_until = at = end
    kept.append(content[kept_until:])
    return "".join(kept)


def _end_of(kind: str, content: str, at: int) -> int | None:
    end_tag = rf"</{kind}\s*>"
    pattern = re.compile("-->" if kind == _COMMENT else end_tag, re.IGNORECASE)
    end = pattern.search(content, at)
    return end.end() if end else None
