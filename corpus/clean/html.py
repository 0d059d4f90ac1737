"""HTML → text and blocks, by a fast parser (lexbor) and rules of our own. Nothing is ever fetched.

By hand, since the extractors of others were up to fifty times slower and none dropped hidden text (see README.md).
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from selectolax.lexbor import LexborHTMLParser, LexborNode

from corpus.clean.blocks import Block, BlockKind, CleanedDocument
from corpus.clean.html_depth import names, nests_deeper, strip_tags, without_noscript
from corpus.clean.normalise import normalise, whole_code_points
from corpus.clean.plain import plain_blocks

# Selectors. "i" ignores the case of a value.
_NEVER_TEXT = (
    "script, style, template, noscript, noframes, noembed, iframe, frame, object, embed, applet, "
    "video, audio, canvas, svg, map, head, [hidden], [aria-hidden='true' i], "
    "input, select, textarea, datalist, dialog:not([open]), annotation, rp"
)
_BOILERPLATE = (
    "nav, footer, aside, menu, button, body > header, body > div > header, "
    "[role='navigation' i], [role='banner' i], [role='contentinfo' i], [role='search' i], "
    "[role='complementary' i], [role='menu' i], [role='menubar' i], [role='dialog' i], "
    "[role='alertdialog' i], "
    "#footer, #header, #nav, #navigation, #navbar, #sidebar, #menu, #toc, #comments, "
    "#disqus_thread, #breadcrumb, #breadcrumbs, "
    "#page-header, #page-footer, #site-header, #site-footer, "
    ".footer, .site-footer, .page-footer, .navbar, .navigation, .nav, .sidebar, .breadcrumb, "
    ".breadcrumbs, .toc, .menu, .toplang, .bottomlang, .language-switcher, .lang-switcher, "
    ".skip-link, .share, .social, .social-share, .related-posts, .pagination, .pager, "
    ".comments-area, .cookie-banner, .cookie-consent, .cookie-notice, "
    "#cookie-banner, #cookie-consent, #cookie-notice, .newsletter, .advertisement, .ads"
)
# In this order; the first that holds a fair share of the page's words is its main part.
_MAIN = (
    "main, [role='main' i]",
    "[itemprop='articleBody' i], .article-body, .post-content, .entry-content, .markdown-body",
    "article",
    "#page-content, #main-content, #maincontent, #content, #main, .main-content, #bodyContent, "
    ".document, .body",
)
# A table with one of these in a cell arranges parts of a page.
_IN_LAYOUT = "table, h1, h2, h3, h4, h5, h6, pre, ul, ol, dl, blockquote, p + p"

# Of the words that are left without boilerplate; an element with less is a teaser, or one article of many.
_FAIR_SHARE = 0.4
# Of all visible words; if the rules for boilerplate leave less, they took the text, and everything is kept.
_MIN_SHARE = 0.05

_HIDING_STYLE = re.compile(
    r"display\s*:\s*none"
    r"|visibility\s*:\s*(?:hidden|collapse)"
    r"|font-size\s*:\s*0+(?:\.0+)?\s*(?:px|pt|em|rem|%)?\s*(?:;|!|$)"
    r"|opacity\s*:\s*0+(?:\.0+)?\s*(?:;|!|$)"
    r"|(?:left|top|text-indent)\s*:\s*-\d{4,}",
    re.IGNORECASE,
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCKS = names(
    "address article aside blockquote body caption center dd details dialog dir div dl dt fieldset "
    "figcaption figure footer form frameset header hgroup hr html legend li main menu nav ol "
    "optgroup option p pre section summary table tbody td tfoot th thead tr ul h1 h2 h3 h4 h5 h6"
)
_SPACE = re.compile(r"[ \t\n\r\f]+")
_ANCHOR_MARKS = frozenset(("¶", "#", "§", "🔗", "link", "permalink"))
_XHTML = re.compile(r"\s*(?:<\?xml|<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML)")
_SELF_CLOSED = re.compile(
    r"<(script|style|title|iframe|textarea|a|div|span|p|td|th|li|i|b|em)((?:\s[^<>]*)?)/>",
    re.IGNORECASE,
)
# Represents <br>; no text holds it, since the parser has replaced it.
_BREAK = "\x00"


class _Piece(NamedTuple):
    """A block that is not yet placed in a text."""

    kind: BlockKind
    level: int
    text: str


def clean_html(content: str, *, main: bool, max_nesting: int) -> CleanedDocument:
    """Return the visible text of a page, or of its main part.

    1. too deep for a tree: the text between the tags
    2. parse; take out what is never text, and what is hidden
    3. `main`: take out boilerplate, find the main part
    4. walk: each block element becomes a block, each row of a table one line

    Args:
        content: HTML or XHTML.
        main: only the main text; else every visible text.
        max_nesting: depth of elements; see step 1.
    """
    content = without_noscript(whole_code_points(content).replace("\x00", ""))
    # 1.
    if nests_deeper(content, max_nesting):
        text = normalise(strip_tags(content))
        return CleanedDocument(text, plain_blocks(text))
    # 2.
    if _XHTML.match(content):
        content = _SELF_CLOSED.sub(r"<\1\2></\1>", content)
    body = LexborHTMLParser(content).body
    if body is None:
        return CleanedDocument("")
    _remove(body.css(_NEVER_TEXT))
    _remove(filter(_is_hidden, body.css("[style]")))
    # 3.
    root = _main_part(body) if main else body
    # 4.
    return _assembled(_Walker().read(root))


def _remove(nodes: Iterable[LexborNode]) -> None:
    # Detached, not freed: a later node of the list may lie inside an earlier one.
    for node in nodes:
        if node.tag not in ("body", "html"):
            node.remove()


def _is_hidden(node: LexborNode) -> bool:
    style = node.attributes.get("style") or ""
    return _HIDING_STYLE.search(style) is not None


def _main_part(body: LexborNode) -> LexborNode:
    """Take out boilerplate; return the element that holds the main text."""
    all_words = _words(body)
    whole = body.clone() if all_words else body
    _remove(body.css(_BOILERPLATE))
    _remove(_language_bars(body))
    _remove(filter(_is_anchor_mark, body.css("a[href^='#']")))
    words_left = _words(body)
    if words_left < all_words * _MIN_SHARE:
        return whole
    for selector in _MAIN:
        element = body.css_first(selector)
        if element is not None and _words(element) >= words_left * _FAIR_SHARE:
            return element
    return body


def _words(node: LexborNode) -> int:
    return len(node.text(deep=True).split())


def _is_anchor_mark(anchor: LexborNode) -> bool:
    return anchor.text().strip().lower() in _ANCHOR_MARKS


def _language_bars(body: LexborNode) -> Iterator[LexborNode]:
    """Yield blocks that hold little more than links to translations."""
    seen: set[int] = set()
    for anchor in body.css("a[hreflang]"):
        block = anchor.parent
        while block is not None and block.tag in ("li", "span", "b", "strong"):
            block = block.parent
        if block is None or block.mem_id in seen or block.tag == "body":
            continue
        seen.add(block.mem_id)
        if _is_language_bar(block):
            yield block


def _is_language_bar(block: LexborNode) -> bool:
    links = block.css("a[hreflang]")
    if len(links) < 2:
        return False
    linked = sum(len(link.text()) for link in links)
    return linked * 2 >= len(block.text().strip())


class _Walker:
    """Reads a tree in document order, without recursion: its depth is the author's choice."""

    def __init__(self) -> None:
        self._pieces: list[_Piece] = []
        # Of the open block.
        self._parts: list[str] = []
        self._kind = BlockKind.PARAGRAPH
        self._level = 0
        # A heading, code or a table that is open: nothing inside it opens a block of its own.
        self._whole: BlockKind | None = None
        self._row_has_cells = False

    def read(self, root: LexborNode) -> list[_Piece]:
        """Return the blocks below an element."""
        stack: list[tuple[LexborNode, bool]] = [(root, False)]
        while stack:
            node, leaving = stack.pop()
            tag = node.tag
            if leaving:
                self._leave(tag)
            elif tag == "-text":
                self._add(node.text_content or "")
            elif tag and tag[0] not in "-!":
                if self._enter(node, tag):
                    stack.append((node, True))
                _push_children(stack, node)
        self._close()
        return self._pieces

    def _enter(self, node: LexborNode, tag: str) -> bool:
        """Return whether leaving the node matters."""
        if self._whole is not None:
            self._parts.append(self._separator(tag))
            return False
        if tag == "br":
            self._parts.append(_BREAK)
        if tag not in _BLOCKS:
            return False
        if tag in _HEADINGS:
            self._open_whole(BlockKind.HEADING, _HEADINGS[tag])
        elif tag == "pre":
            self._open_whole(BlockKind.CODE)
        elif tag == "table" and not _lays_out(node):
            self._open_whole(BlockKind.TABLE)
        elif tag == "li":
            self._open(BlockKind.LIST_ITEM)
        else:
            self._open(BlockKind.PARAGRAPH)
        return True

    def _leave(self, tag: str | None) -> None:
        self._whole = None
        self._open(BlockKind.PARAGRAPH)
        if tag == "li":
            self._kind = BlockKind.PARAGRAPH  # also of an empty one

    def _separator(self, tag: str) -> str:
        """Return what represents a tag inside a heading, code or a table."""
        if self._whole is BlockKind.TABLE and tag in ("tr", "caption"):
            self._row_has_cells = False
            return _BREAK
        if self._whole is BlockKind.TABLE and tag in ("td", "th"):
            is_first = not self._row_has_cells
            self._row_has_cells = True
            return "" if is_first else " | "
        if tag != "br" and tag not in _BLOCKS:
            return ""
        return _BREAK if self._whole is BlockKind.CODE else " "

    def _add(self, text: str) -> None:
        """Add inline text; white space at a block's start is none, except in code."""
        if self._parts or self._kind is BlockKind.CODE or not text.isspace():
            self._parts.append(text)

    def _open_whole(self, kind: BlockKind, level: int = 0) -> None:
        self._open(kind, level)
        self._whole = kind

    def _open(self, kind: BlockKind, level: int = 0) -> None:
        """Close the open block; what follows is of `kind`."""
        was_empty = not self._close()
        if (
            was_empty
            and self._kind is BlockKind.LIST_ITEM
            and kind is BlockKind.PARAGRAPH
        ):
            return  # <li><p>: the paragraph is the item
        self._kind = kind
        self._level = level

    def _close(self) -> bool:
        """Put the open block behind the others; return whether it had text."""
        if not self._parts:
            return False
        raw = "".join(self._parts)
        self._parts.clear()
        lines = (
            raw.replace(_BREAK, "\n") if self._kind is BlockKind.CODE else _folded(raw)
        )
        text = normalise(lines)
        if not text:
            return False
        if self._kind is BlockKind.LIST_ITEM:
            text = f"- {text}"
        self._pieces.append(_Piece(self._kind, self._level, text))
        return True


def _push_children(stack: list[tuple[LexborNode, bool]], node: LexborNode) -> None:
    child = node.last_child  # last first, so that the first is on top
    while child is not None:
        stack.append((child, False))
        child = child.prev


def _lays_out(table: LexborNode) -> bool:
    """Does a table arrange parts of a page, rather than data?"""
    return any(inner.mem_id != table.mem_id for inner in table.css(_IN_LAYOUT))


def _folded(raw: str) -> str:
    """Return the text with white space folded; the breaks that were asked for stay."""
    lines = [_SPACE.sub(" ", part).strip() for part in raw.split(_BREAK)]
    return "\n".join(filter(None, lines))


def _assembled(pieces: list[_Piece]) -> CleanedDocument:
    """Join blocks by an empty line, list items by a line's end."""
    parts: list[str] = []
    blocks: list[Block] = []
    offset = 0
    before: BlockKind | None = None
    for kind, level, text in pieces:
        if before is not None:
            separator = "\n" if kind is before is BlockKind.LIST_ITEM else "\n\n"
            parts.append(separator)
            offset += len(separator)
        end = offset + len(text)
        parts.append(text)
        blocks.append(Block(offset, end, kind, level))
        offset = end
        before = kind
    return CleanedDocument("".join(parts), tuple(blocks))
