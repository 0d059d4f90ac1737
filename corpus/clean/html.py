"""HTML → text and blocks, by a fast parser (lexbor) and rules of our own. Nothing is ever fetched."""

import re
from collections.abc import Iterable, Iterator

from selectolax.lexbor import LexborHTMLParser, LexborNode

from corpus.clean.blocks import Block, BlockKind, CleanedDocument
from corpus.clean.html_depth import names, nests_deeper, strip_tags, without_noscript
from corpus.clean.normalise import normalise, whole_code_points
from corpus.clean.plain import plain_blocks

_NEVER_TEXT = (
    "script, style, template, noscript, noframes, noembed, iframe, frame, object, embed, applet, video, audio, canvas, svg, map, head, "
    "[hidden], [aria-hidden='true' i], input, select, textarea, datalist, dialog:not([open]), annotation, rp"
)
_HIDING_STYLE = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|font-size\s*:\s*0+(?:\.0+)?\s*(?:px|pt|em|rem|%)?\s*(?:;|!|$)"
    r"|opacity\s*:\s*0+(?:\.0+)?\s*(?:;|!|$)|(?:left|top|text-indent)\s*:\s*-\d{4,}",
    re.IGNORECASE,
)
_BOILERPLATE = (
    "nav, footer, aside, menu, button, body > header, body > div > header, [role='navigation' i], [role='banner' i], [role='contentinfo' i], "
    "[role='search' i], [role='complementary' i], [role='menu' i], [role='menubar' i], [role='dialog' i], [role='alertdialog' i], "
    "#footer, #header, #nav, #navigation, #navbar, #sidebar, #menu, #toc, #comments, #disqus_thread, #breadcrumb, #breadcrumbs, "
    "#page-header, #page-footer, #site-header, #site-footer, "
    ".footer, .site-footer, .page-footer, .navbar, .navigation, .nav, .sidebar, .breadcrumb, .breadcrumbs, .toc, .menu, .toplang, .bottomlang, "
    ".language-switcher, .lang-switcher, .skip-link, .share, .social, .social-share, .related-posts, .pagination, .pager, .comments-area, "
    ".cookie-banner, .cookie-consent, .cookie-notice, #cookie-banner, #cookie-consent, #cookie-notice, .newsletter, .advertisement, .ads"
)
# In this order; the first that holds a fair share of the page's text is its main part.
_MAIN = (
    "main, [role='main' i]",
    "[itemprop='articleBody' i], .article-body, .post-content, .entry-content, .markdown-body",
    "article",
    "#page-content, #main-content, #maincontent, #content, #main, .main-content, #bodyContent, .document, .body",
)
_FAIR_SHARE = 0.4  # of the characters left after boilerplate is out; less: it is a teaser, or one article of many
_MIN_SHARE = 0.05  # of all visible characters; if boilerplate rules leave less, they took the text: keep everything

_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCKS = names(
    "address article aside blockquote body caption center dd details dialog dir div dl dt fieldset figcaption figure footer form frameset header "
    "hgroup hr html legend li main menu nav ol optgroup option p pre section summary table tbody td tfoot th thead tr ul h1 h2 h3 h4 h5 h6"
)
_IN_LAYOUT = "table, h1, h2, h3, h4, h5, h6, pre, ul, ol, dl, blockquote, p + p"  # a table with one of these in a cell lays out a page
_SPACE = re.compile(r"[ \t\n\r\f]+")
_ANCHOR_MARKS = frozenset(("¶", "#", "§", "🔗", "link", "permalink"))
_XHTML = re.compile(r"\s*(?:<\?xml|<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML)")
_SELF_CLOSED = re.compile(
    r"<(script|style|title|iframe|textarea|a|div|span|p|td|th|li|i|b|em)((?:\s[^<>]*)?)/>",
    re.IGNORECASE,
)
_BREAK = "\x00"  # stands for <br>; no text holds it, the parser has replaced it


def clean_html(content: str, *, main: bool, max_nesting: int) -> CleanedDocument:
    """Return the visible text of a page, or of its main part.

    1. too deep for a tree: the text between the tags
    2. parse; take out what is never text, and what is hidden
    3. `main`: take out boilerplate, find the main part
    4. walk: a block element becomes a block, a table row a line

    Args:
        content: HTML or XHTML.
        main: only the main text; else every visible text.
        max_nesting: elements inside each other; see step 1.
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
    _remove(
        node
        for node in body.css("[style]")
        if _HIDING_STYLE.search(node.attributes.get("style") or "")
    )
    # 3.
    root = _main_part(body) if main else body
    # 4.
    return _assembled(_Walker().read(root))


def _remove(nodes: Iterable[LexborNode]) -> None:
    # Detached, not freed: a later node of the list may lie inside an earlier one.
    for node in nodes:
        if node.tag not in ("body", "html"):
            node.remove()


def _main_part(body: LexborNode) -> LexborNode:
    everything = _characters(body)
    whole = body.clone() if everything else body
    _remove(body.css(_BOILERPLATE))
    _remove(_language_bars(body))
    _remove(
        anchor
        for anchor in body.css("a[href^='#']")
        if anchor.text().strip().lower() in _ANCHOR_MARKS
    )
    left = _characters(body)
    if left < everything * _MIN_SHARE:
        return whole
    for selector in _MAIN:
        found = body.css_first(selector)
        if found is not None and _characters(found) >= left * _FAIR_SHARE:
            return found
    return body


def _characters(node: LexborNode) -> int:
    return len(node.text(deep=True).split()) if node is not None else 0


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
        links = block.css("a[hreflang]")
        if len(links) >= 2 and sum(len(link.text()) for link in links) * 2 >= len(
            block.text().strip()
        ):
            yield block


class _Walker:
    """Reads a tree in document order, without recursion: its depth is the author's choice."""

    def __init__(self) -> None:
        self.pieces: list[tuple[BlockKind, int, str]] = []
        self._parts: list[str] = []  # of the open block
        self._kind = BlockKind.PARAGRAPH
        self._level = 0
        self._held: BlockKind | None = (
            None  # inside a heading, code or a table nothing opens a block of its own
        )
        self._row_has_cells = False

    def read(self, root: LexborNode) -> list[tuple[BlockKind, int, str]]:
        """Return kind, heading level and text of each block."""
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
                child = node.last_child  # last first, as a stack wants them
                while child is not None:
                    stack.append((child, False))
                    child = child.prev
        self._flush()
        return self.pieces

    def _enter(self, node: LexborNode, tag: str) -> bool:
        """Return whether leaving the node matters."""
        if self._held is not None:
            self._parts.append(self._separator(tag))
            return False
        if tag == "br":
            self._parts.append(_BREAK)
        if tag not in _BLOCKS:
            return False
        if tag in _HEADINGS:
            self._flush(BlockKind.HEADING, _HEADINGS[tag])
            self._held = BlockKind.HEADING
        elif tag == "pre" or (tag == "table" and not _lays_out(node)):
            self._flush(BlockKind.CODE if tag == "pre" else BlockKind.TABLE)
            self._held = self._kind
        else:
            self._flush(BlockKind.LIST_ITEM if tag == "li" else BlockKind.PARAGRAPH)
        return True

    def _leave(self, tag: str | None) -> None:
        self._held = None
        self._flush()
        if tag == "li":
            self._kind = BlockKind.PARAGRAPH  # also of an empty one

    def _separator(self, tag: str) -> str:
        """What stands for a tag inside a heading, code or a table."""
        if self._held is BlockKind.CODE:
            return _BREAK if tag == "br" or tag in _BLOCKS else ""
        if self._held is BlockKind.TABLE:
            if tag in ("tr", "caption"):
                self._row_has_cells = False
                return _BREAK
            if tag in ("td", "th"):
                between, self._row_has_cells = self._row_has_cells, True
                return " | " if between else ""
        return " " if tag == "br" or tag in _BLOCKS else ""

    def _add(self, text: str) -> None:
        """Add inline text; white space at a block's start is none, except in code."""
        if self._parts or self._kind is BlockKind.CODE or not text.isspace():
            self._parts.append(text)

    def _flush(self, kind: BlockKind = BlockKind.PARAGRAPH, level: int = 0) -> None:
        """Close the open block; what follows is of `kind`."""
        text = ""
        if self._parts:
            raw = "".join(self._parts)
            self._parts.clear()
            text = normalise(
                raw.replace(_BREAK, "\n") if self._kind is BlockKind.CODE else _folded(raw)
            )
        if text:
            self.pieces.append(
                (
                    self._kind,
                    self._level,
                    f"- {text}" if self._kind is BlockKind.LIST_ITEM else text,
                )
            )
        elif self._kind is BlockKind.LIST_ITEM and kind is BlockKind.PARAGRAPH:
            return  # <li><p>: the paragraph is the item
        self._kind, self._level = kind, level


def _lays_out(table: LexborNode) -> bool:
    """Does a table arrange parts of a page, rather than data?"""
    return any(inner.mem_id != table.mem_id for inner in table.css(_IN_LAYOUT))


def _folded(raw: str) -> str:
    """White space folded; the breaks that were asked for stay."""
    return "\n".join(line for part in raw.split(_BREAK) if (line := _SPACE.sub(" ", part).strip()))


def _assembled(pieces: list[tuple[BlockKind, int, str]]) -> CleanedDocument:
    """Join blocks by an empty line, list items by a line's end."""
    parts: list[str] = []
    blocks: list[Block] = []
    offset = 0
    before: BlockKind | None = None
    for kind, level, text in pieces:
        if before is not None:
            parts.append("\n" if kind is before is BlockKind.LIST_ITEM else "\n\n")
            offset += len(parts[-1])
        parts.append(text)
        blocks.append(Block(offset, offset + len(text), kind, level))
        offset += len(text)
        before = kind
    return CleanedDocument("".join(parts), tuple(blocks))
