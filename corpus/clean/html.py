"""HTML → text and blocks, by a fast parser (lexbor) and rules of our own. Nothing is ever fetched.

By hand, since the extractors of others were up to fifty times slower and none dropped hidden text (see README.md).
"""

from collections.abc import Iterator

from selectolax.lexbor import LexborHTMLParser, LexborNode

from corpus.clean.account import AccountBuilder, DropRule, visible_length
from corpus.clean.blocks import CleanedDocument
from corpus.clean.html_depth import nests_deeper, strip_tags
from corpus.clean.normalise import normalise, whole_code_points
from corpus.clean.page.main_part import Parts, document_parts
from corpus.clean.page.piece import assembled
from corpus.clean.page.rules import (
    FORMULA_SOURCE,
    HOLDS_MARKUP,
    NEVER_TEXT,
    RENDERED_FORMULAS,
    WHOLE_PAGE,
)
from corpus.clean.page.source import readable_source
from corpus.clean.page.tree import (
    Inventory,
    Selectors,
    ancestors,
    ids,
    is_inside,
    link_texts,
    matching,
    text_of,
)
from corpus.clean.page.visible import remove_hidden
from corpus.clean.page.walk import Walker
from corpus.clean.plain import plain_blocks

_NEVER_TEXT = Selectors(selector for selector, _ in NEVER_TEXT)
_RULES = dict(NEVER_TEXT)


def clean_html(content: str, *, main: bool, max_nesting: int) -> CleanedDocument:
    """Return the visible text of a page, or of its main part, with the account of the rest.

    1. too deep for a tree: the text between the tags
    2. parse; take out what is never text, and what is hidden
    3. `main`: find the part that is the document, and what in it is none of it
    4. walk: each block element becomes a block, each row of a table one line

    Args:
        content: HTML or XHTML.
        main: only the main text; else every visible text.
        max_nesting: depth of elements; see step 1.
    """
    content = readable_source(whole_code_points(content))
    account = AccountBuilder()
    # 1.
    if nests_deeper(content, max_nesting):
        return _without_structure(content, account)
    # 2.
    tree = LexborHTMLParser(content)
    root = tree.root
    if root is None:
        return CleanedDocument("")
    page = Inventory(root)
    title = tree.css_first("title")
    title_text = " ".join(text_of(title).split()) if title is not None else ""
    _remove_never_text(root, page, account)
    body = tree.body
    if body is None:
        return CleanedDocument("", account=account.finish(kept=0))
    remove_hidden(body, page, account)
    # 3.
    parts = document_parts(body, page, title_text) if main else Parts([body])
    # 4.
    walker = Walker(parts.dropped, account)
    for node, is_document in _in_order(body, parts.roots):
        if is_document:
            walker.read(node, page.size_of(node).characters)
        else:
            _drop_outside(node, parts, account)
    return assembled(walker.pieces, account, walker.kept)


def _without_structure(content: str, account: AccountBuilder) -> CleanedDocument:
    text = strip_tags(content, account)
    kept = visible_length(text)
    text = normalise(text)
    return CleanedDocument(text, plain_blocks(text), account.finish(kept))


def _remove_never_text(
    root: LexborNode, page: Inventory, account: AccountBuilder
) -> None:
    """Take out what is never text; the last first, so that what lies in another is counted once."""
    removed: list[tuple[DropRule, str]] = []
    done: set[int] = set()
    within = {root.mem_id}
    for selector, node in reversed(list(_NEVER_TEXT.matches(page))):
        if node.mem_id in done or not is_inside(node, within):
            continue
        if node.tag in WHOLE_PAGE or _is_formula(node):
            continue
        done.add(node.mem_id)
        text = text_of(node)
        if node.tag in HOLDS_MARKUP:
            text = strip_tags(text)
        removed.append((_RULES[selector], text))
        node.remove()
    if root.css_first("script") is not None:  # the source of a formula
        removed += _taken(matching(root, RENDERED_FORMULAS), DropRule.REPEATED)
    for rule, text in reversed(removed):
        account.drop(rule, text)


def _is_formula(node: LexborNode) -> bool:
    if node.tag != "script":
        return False
    stated = node.attributes.get("type") or ""
    lower = stated.lower()
    return lower.startswith(FORMULA_SOURCE)


def _taken(nodes: list[LexborNode], rule: DropRule) -> Iterator[tuple[DropRule, str]]:
    for node in reversed(nodes):
        if node.tag not in WHOLE_PAGE:
            yield rule, text_of(node)
            node.remove()


def _in_order(
    body: LexborNode, roots: list[LexborNode]
) -> Iterator[tuple[LexborNode, bool]]:
    """Yield the roots (True), and between them the largest parts of the body that hold none of them (False)."""
    root_ids = ids(roots)
    around: set[int] = set()
    for root in roots:
        around |= ids(ancestors(root))
    stack = [body]
    while stack:
        node = stack.pop()
        if node.mem_id in root_ids:
            yield node, True
        elif node.mem_id in around:
            children = list(node.iter(include_text=True))
            children.reverse()
            stack += children
        else:
            yield node, False


def _drop_outside(node: LexborNode, parts: Parts, account: AccountBuilder) -> None:
    """Note what is outside the main part: mostly links, or not."""
    text = text_of(node)
    held = visible_length(text)
    if not held:
        return
    rule = parts.dropped.get(node.mem_id, DropRule.BOILERPLATE)
    if rule is DropRule.BOILERPLATE and node.is_element_node:
        linked = visible_length(" ".join(link_texts(node)))
        if linked * 2 >= held:
            rule = DropRule.NAVIGATION
    account.count(rule, held, text)
