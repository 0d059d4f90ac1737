"""Takes out of a tree what a browser does not show; what a reader can open or a script shows stays."""

from collections.abc import Iterable

from selectolax.lexbor import LexborNode

from corpus.clean.account import AccountBuilder, DropRule
from corpus.clean.page.rules import (
    CONTROLS,
    HIDDEN,
    HIDDEN_SHARE_OF_A_SCRIPT,
    LINKS_WITHIN_PAGE,
    MAX_SILENT_CHARACTERS,
    NAMES_WHAT_IT_OPENS,
    OPENED_BY_READER,
    SHOWN_BY_SCRIPT,
    SILENT,
    TITLE_OF_BUTTON,
    WHOLE_PAGE,
)
from corpus.clean.page.style import Style, style_of
from corpus.clean.page.tree import (
    Inventory,
    Selectors,
    characters,
    element_before,
    ids,
    is_inside,
    matching,
    outermost,
    prose,
    text_of,
)

_SHOWN = Style(visible=True, sized=True)

_SILENT = Selectors([SILENT])
_HIDDEN = Selectors(HIDDEN)
_STYLED = Selectors(["[style]"])
_BROUGHT_INTO_VIEW = Selectors((*OPENED_BY_READER, *SHOWN_BY_SCRIPT))


def remove_hidden(body: LexborNode, page: Inventory, account: AccountBuilder) -> None:
    """Take out hidden text.

    1. ornaments that are silent to screen readers
    2. what an attribute or a style hides, but not what a reader can open
    3. if that is most of the page, a script shows it: it stays
    4. what nothing can show again goes whole; inside the rest a child may undo it
    """
    # 1.
    ornaments = filter(_is_ornament, _SILENT.matching(page))
    _remove(ornaments, body, account)
    # 2.
    hidden = _hidden(body, page)
    if not hidden:
        return
    _forget_what_opens(body, page, hidden)
    # 3.
    nodes = [node for node, _ in hidden.values()]
    if _is_shown_by_script(body, nodes):
        return
    # 4.
    gone = [node for node, style in hidden.values() if style.gone]
    _remove(gone, body, account)
    inherited = [node for node, style in hidden.values() if not style.gone]
    _remove_own_text(inherited, body, account)


def _is_ornament(node: LexborNode) -> bool:
    return node.tag not in WHOLE_PAGE and 0 < characters(node) <= MAX_SILENT_CHARACTERS


def _hidden(body: LexborNode, page: Inventory) -> dict[int, tuple[LexborNode, Style]]:
    """Return each hidden element in the body, and what hides it."""
    hidden = {node.mem_id: (node, Style(gone=True)) for node in _HIDDEN.matching(page)}
    for node in _STYLED.matching(page):
        style = _style(node)
        if style.hides:
            hidden.setdefault(node.mem_id, (node, style))
    within = {body.mem_id}
    return {
        mem_id: (node, style)
        for mem_id, (node, style) in hidden.items()
        if mem_id != body.mem_id and is_inside(node, within)
    }


def _style(node: LexborNode) -> Style:
    return style_of(node.attributes.get("style"))


def _forget_what_opens(
    body: LexborNode, page: Inventory, hidden: dict[int, tuple[LexborNode, Style]]
) -> None:
    """Leave out what a reader can open, or a script brings into view."""
    for node in _BROUGHT_INTO_VIEW.matching(page):
        hidden.pop(node.mem_id, None)
    opened = _opened_names(body)
    controls = _controls(body)
    for mem_id, (node, _) in list(hidden.items()):
        before = element_before(node)
        follows_control = before is not None and before.mem_id in controls
        if follows_control or node.attributes.get("id") in opened:
            del hidden[mem_id]


def _opened_names(body: LexborNode) -> set[str]:
    """Return the ids that controls name."""
    names = {
        (link.attributes.get("href") or "").lstrip("#")
        for link in body.css(LINKS_WITHIN_PAGE)
    }
    for control in matching(body, (f"[{name}]" for name in NAMES_WHAT_IT_OPENS)):
        for name in NAMES_WHAT_IT_OPENS:
            value = control.attributes.get(name) or ""
            names.update(word.lstrip("#") for word in value.split())
    return names


def _controls(body: LexborNode) -> set[int]:
    """Return the controls, and the headings that hold one."""
    controls = matching(body, CONTROLS)
    names = ids(controls)
    for control in controls:
        parent = control.parent
        if parent is None:
            continue
        if parent.tag in TITLE_OF_BUTTON:
            names.add(parent.mem_id)
    return names


def _is_shown_by_script(body: LexborNode, hidden: list[LexborNode]) -> bool:
    most = sum(map(characters, hidden))
    least = HIDDEN_SHARE_OF_A_SCRIPT * prose(body)
    if not most or most < least:
        return False
    return sum(map(prose, outermost(hidden))) >= least


def _remove(
    nodes: Iterable[LexborNode], body: LexborNode, account: AccountBuilder
) -> None:
    """Take out elements; what lies in another that is taken out is counted once."""
    within = {body.mem_id}
    for node in list(nodes):
        if is_inside(node, within):
            account.drop(DropRule.HIDDEN, text_of(node))
            node.remove()


def _remove_own_text(
    nodes: list[LexborNode], body: LexborNode, account: AccountBuilder
) -> None:
    """Take out the text of elements that a child may show again."""
    within = {body.mem_id}
    done: set[int] = set()
    for node in nodes:
        if node.mem_id not in done and is_inside(node, within):
            account.drop(DropRule.HIDDEN, _without_own_text(node, done))


def _without_own_text(hidden: LexborNode, done: set[int]) -> str:
    """Take out the text and pictures that no child shows again; return the text."""
    removed: list[str] = []
    stack = [(hidden, _SHOWN)]
    while stack:
        node, around = stack.pop()
        if node.is_element_node and node.tag != "img":
            done.add(node.mem_id)
            style = _inherited(node, around)
            children = list(node.iter(include_text=True))
            stack += [(child, style) for child in reversed(children)]
        elif around.hides:
            removed.append(text_of(node))
            node.remove()
    return "".join(removed)


def _inherited(node: LexborNode, around: Style) -> Style:
    """Return what holds in an element: its own style, else that of the element around it."""
    if "style" not in node.attributes:
        return around
    own = _style(node)
    visible = own.visible
    if visible is None:
        visible = around.visible
    sized = own.sized
    if sized is None:
        sized = around.sized
    return Style(visible=visible, sized=sized)
