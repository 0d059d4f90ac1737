"""Which part of a page is the document: by prose and links, counted in characters, never by a name alone."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from operator import add, itemgetter, sub

from selectolax.lexbor import LexborNode

from corpus.clean.account import DropRule
from corpus.clean.page.rules import (
    ANCHOR_MARKS,
    ANYWHERE,
    BELONGS_TO,
    EXPLICIT_MAIN,
    FAIR_SHARE,
    FAIR_SHARE_WITH_TITLE,
    IN_MAIN,
    LIKELY_MAIN,
    LINK_DENSITY,
    MIN_MAIN_CHARACTERS,
    MIN_PROSE_OUTSIDE,
    MIN_SENTENCE,
    MIN_SHARE,
    NOTES,
    TITLE_OF_BUTTON,
    NotDocument,
)
from corpus.clean.page.tree import (
    Inventory,
    Selectors,
    Size,
    ancestors,
    characters,
    ids,
    is_inside,
    outermost,
    prose,
    text_of,
)

_TEXT_BLOCKS = "p, li, pre, td, dd, blockquote"
_DIGITS = re.compile(r"\d+")
# Of the name of a language in a language bar; titles of works have more.
_MAX_WORDS = 2


@dataclass(slots=True)
class Parts:
    """What of a page is the document."""

    roots: list[LexborNode]
    """Elements that hold it, in order; none lies in another."""
    dropped: dict[int, DropRule] = field(default_factory=dict[int, DropRule])
    """Elements inside the roots that are no part of it, by the number that names them."""


def document_parts(body: LexborNode, page: Inventory, title: str) -> Parts:
    """Return the parts of a page that are the document.

    1. an explicit main element with text is believed
    2. else boilerplate is judged everywhere; if that leaves next to nothing, the whole page is the document
    3. else the first likely element with a fair share of the prose that is left, with its siblings of the same kind

    Args:
        body: the page without what is hidden.
        page: its elements by name.
        title: the page's title.
    """
    # 1.
    explicit = _explicit_main(body, page)
    if explicit:
        explicit = _article_in(explicit, page) or explicit
        dropped = _not_document(explicit, _IN_MAIN, page)
        roots = _with_outside(explicit, body, page, title)
        return Parts(roots, dropped.rules)
    # 2.
    dropped = _not_document([body], _ANYWHERE, page)
    left, held = dropped.split(body)
    if left.prose < (left.prose + held.prose) * MIN_SHARE or not left.prose:
        return Parts([body])
    # 3.
    has_one_title = len(body.css("h1")) == 1
    for elements in _likely_main(body, page):
        roots = _fair(elements, dropped, left, has_one_title)
        if roots:
            roots = _with_outside(roots, body, page, title)
            return Parts(roots, dropped.rules)
    return Parts([body], dropped.rules)


def _likely_main(body: LexborNode, page: Inventory) -> Iterator[list[LexborNode]]:
    """Yield the elements of each selector, in the selectors' order."""
    within = {body.mem_id}
    matches = (
        (s, node) for s, node in _LIKELY.matches(page) if is_inside(node, within)
    )
    for _, group in groupby(matches, key=itemgetter(0)):
        yield [node for _, node in group]


def _explicit_main(body: LexborNode, page: Inventory) -> list[LexborNode]:
    within = {body.mem_id}
    found = (node for node in _EXPLICIT.matching(page) if is_inside(node, within))
    mains = outermost(list(found))
    held = sum(page.size_of(main).characters for main in mains)
    if held >= MIN_MAIN_CHARACTERS or not held:
        return mains if held else []
    outside = _prose_outside(body, ids(mains))
    is_believed = outside < max(MIN_PROSE_OUTSIDE, 10 * held)
    return mains if is_believed else []


def _article_in(mains: list[LexborNode], page: Inventory) -> list[LexborNode]:
    """Return the one article of a main element where the rest of it is only labels and links."""
    articles = outermost([article for main in mains for article in main.css("article")])
    if len(mains) != 1 or len(articles) != 1:
        return []
    article = articles[0]
    if not page.size_of(article).prose or _says_more(mains[0], article):
        return []
    return articles


def _says_more(main: LexborNode, article: LexborNode) -> bool:
    """Does a main element hold a heading or a sentence that its article does not?"""
    headings = set(map(_folded, article.css("h1, h2")))
    others = set(map(_folded, main.css("h1, h2")))
    if not others <= headings:
        return True
    inside = ids(article.css(_TEXT_BLOCKS))
    blocks = main.css(_TEXT_BLOCKS)
    outside = [block for block in blocks if block.mem_id not in inside]
    return any(prose(block) >= MIN_SENTENCE for block in outside)


def _folded(node: LexborNode) -> str:
    """Return a text to compare: without white space and the marks of anchors."""
    return "".join(text_of(node).split()).rstrip("#¶")


def _prose_outside(body: LexborNode, mains: set[int]) -> int:
    """Return the characters of paragraphs outside the main elements that are in no link."""
    paragraphs = outermost(body.css("p"))
    return sum(
        prose(paragraph)
        for paragraph in paragraphs
        if not any(parent.mem_id in mains for parent in ancestors(paragraph))
    )


def _with_outside(
    roots: list[LexborNode], body: LexborNode, page: Inventory, title: str
) -> list[LexborNode]:
    """Return the main part with the heading in front of it and the notes behind it."""
    headings = _title_outside(body, roots, title)
    return [*headings, *roots, *_notes_outside(body, roots, page)]


def _notes_outside(
    body: LexborNode, roots: list[LexborNode], page: Inventory
) -> Iterator[LexborNode]:
    within, inside = {body.mem_id}, ids(roots)
    around = {parent.mem_id for root in roots for parent in ancestors(root)}
    for notes in outermost(_NOTES.matching(page)):
        is_apart = notes.mem_id not in around and not is_inside(notes, inside)
        if is_apart and is_inside(notes, within):
            yield notes


def _title_outside(
    body: LexborNode, roots: list[LexborNode], title: str
) -> Iterator[LexborNode]:
    """Yield the page's own heading where it is in front of the main part, such as in a page's header."""
    if any(root.css_first("h1") for root in roots):
        return
    headings = body.css("h1")
    if len(headings) != 1 or headings[0].css_first("a"):
        return
    heading = " ".join(text_of(headings[0]).split())
    in_article = any(parent.tag == "article" for parent in ancestors(headings[0]))
    if heading and (in_article or not title or title.startswith(heading)):
        yield headings[0]


def _fair(
    elements: list[LexborNode], dropped: "_Dropped", left: Size, has_one_title: bool
) -> list[LexborNode]:
    """Return the largest element, and its siblings of the same kind, if they hold a fair share of the page.

    Args:
        elements: those that a selector matches.
        dropped: what is no part of the document.
        left: what is left of the page without that.
        has_one_title: does the page hold one h1?
    """
    outer = [one for one in outermost(elements) if not dropped.around(one)]
    if not outer:
        return []
    largest = max(outer, key=lambda element: dropped.page.size_of(element).characters)
    kin = [element for element in outer if _is_kin(element, largest)]
    has_title = has_one_title and largest.css_first("h1") is not None
    fair_share = FAIR_SHARE_WITH_TITLE if has_title else FAIR_SHARE
    rests = [dropped.split(element)[0] for element in kin]
    return kin if _is_share(rests, left, fair_share) else []


def _is_share(parts: list[Size], whole: Size, share: float) -> bool:
    """Do parts hold a share of the prose, or of the characters, of a whole?"""
    prose_held = sum(part.prose for part in parts)
    characters_held = sum(part.characters for part in parts)
    return prose_held >= max(1, whole.prose * share) or characters_held >= max(
        1, whole.characters * share
    )


def _is_kin(element: LexborNode, other: LexborNode) -> bool:
    """Are they of one kind, such as the posts of a thread, in one parent or in parents of one kind?"""
    if element.mem_id == other.mem_id:
        return True
    parent, other_parent = element.parent, other.parent
    if element.tag != other.tag or parent is None or other_parent is None:
        return False
    if parent.mem_id == other_parent.mem_id:
        is_post = element.tag == "article" and prose(element) * 2 > characters(element)
        return is_post or _are_alike(element, other)
    if not _are_alike(element, other) or not _are_alike(parent, other_parent):
        return False
    return ids(filter(None, [parent.parent])) == ids(
        filter(None, [other_parent.parent])
    )


def _are_alike(element: LexborNode, other: LexborNode) -> bool:
    """Have they the same name, and a class in common if they have any?"""
    classes, others = _classes(element), _classes(other)
    return element.tag == other.tag and (classes == others or bool(classes & others))


def _classes(element: LexborNode) -> set[str]:
    """Return the classes, without numbers that tell one element from the next."""
    value = element.attributes.get("class") or ""
    return set(_DIGITS.sub("", value).split())


# What is no part of the document


class _Rules:
    """Rules about elements, applied to the trees of pages."""

    def __init__(self, rules: tuple[NotDocument, ...]) -> None:
        self._by_selector = {rule.selector: rule for rule in rules}
        self._selectors = Selectors(self._by_selector)

    def judge(
        self, roots: list[LexborNode], page: Inventory
    ) -> Iterator[tuple[LexborNode, DropRule]]:
        """Yield the elements below the roots that are no part of the document."""
        within = ids(roots)
        for selector, element in self._selectors.matches(page):
            if element.mem_id in within or not is_inside(element, within):
                continue
            rule = self._by_selector[selector]
            if _is_no_part(element, rule, page.size_of(element)):
                yield element, rule.rule


_IN_MAIN = _Rules(IN_MAIN)
_ANYWHERE = _Rules(ANYWHERE)
_LIKELY = Selectors(LIKELY_MAIN)
_EXPLICIT = Selectors(EXPLICIT_MAIN)
_NOTES = Selectors(NOTES)


class _Dropped:
    """Elements that are no part of the document."""

    def __init__(
        self, elements: dict[int, tuple[LexborNode, DropRule]], page: Inventory
    ) -> None:
        self.page = page
        self.rules = {mem_id: rule for mem_id, (_, rule) in elements.items()}
        # A link holds no prose.
        blocks = [node for node, _ in elements.values() if node.tag != "a"]
        self._blocks = outermost(blocks)

    def around(self, node: LexborNode) -> bool:
        """Is a node in one of them?"""
        return any(parent.mem_id in self.rules for parent in ancestors(node))

    def split(self, root: LexborNode) -> tuple[Size, Size]:
        """Return how much of `root` is left, and how much is dropped."""
        size = self.page.size_of(root)
        held = Size(0, 0, 0)
        for block in self._blocks:
            if any(parent.mem_id == root.mem_id for parent in ancestors(block)):
                held = Size(*map(add, held, self.page.size_of(block)))
        return Size(*map(sub, size, held)), held


def _not_document(roots: list[LexborNode], rules: _Rules, page: Inventory) -> _Dropped:
    dropped = {node.mem_id: (node, rule) for node, rule in rules.judge(roots, page)}
    for root in roots:
        for node in _language_bars(root):
            dropped.setdefault(node.mem_id, (node, DropRule.NAVIGATION))
        for node in filter(_is_anchor_mark, root.css("a[href*='#']")):
            dropped.setdefault(node.mem_id, (node, DropRule.NAVIGATION))
        for node in filter(_is_part_of_form, root.css("button")):
            dropped.setdefault(node.mem_id, (node, DropRule.FORM))
    return _Dropped(dropped, page)


def _is_no_part(element: LexborNode, rule: NotDocument, size: Size) -> bool:
    if not size.characters:
        return True
    if rule.needs_link and not size.links:
        return False
    is_dense = size.linked >= size.characters * LINK_DENSITY
    if is_dense and size.links > 1:
        return True
    limit = rule.max_prose
    if _belongs_to_parent(element, rule):
        limit = 0
    if size.prose > limit:
        return False
    return not _holds_title(element, rule)


def _belongs_to_parent(element: LexborNode, rule: NotDocument) -> bool:
    """Is it the foot of a part of the document, such as a quotation, and not that of the page?"""
    parent = element.parent
    if parent is None:
        return False
    if not rule.may_belong:
        return False
    return parent.tag in BELONGS_TO


def _holds_title(element: LexborNode, rule: NotDocument) -> bool:
    """Does a header hold the heading of the document?"""
    heading = element.css_first("h1")
    if heading is None or rule.rule is not DropRule.BOILERPLATE:
        return False
    return prose(heading) > 0


def _is_anchor_mark(anchor: LexborNode) -> bool:
    return text_of(anchor).strip().lower() in ANCHOR_MARKS


def _is_part_of_form(button: LexborNode) -> bool:
    """Is it a label to press, and not the title of what it opens?"""
    if any(parent.tag in TITLE_OF_BUTTON for parent in ancestors(button)):
        return False
    if _is_in_sentence(button):
        return False
    attributes = button.attributes
    if "aria-expanded" in attributes:
        return False
    if attributes.get("role") == "tab":
        return False
    return characters(button) < MIN_SENTENCE


def _is_in_sentence(button: LexborNode) -> bool:
    """Is there text in front of a button and behind it?"""
    beside = (button.prev, button.next)
    return all(
        node is not None and node.is_text_node and text_of(node).strip()
        for node in beside
    )


def _language_bars(root: LexborNode) -> Iterable[LexborNode]:
    """Return blocks that hold little more than links to translations, one per language."""
    bars: dict[int, LexborNode] = {}
    for anchor in root.css("a[hreflang]"):
        block = anchor.parent
        while block is not None and block.tag in ("li", "span", "b", "strong"):
            block = block.parent
        if block is None or block.tag in ("body", "html"):
            continue
        bars.setdefault(block.mem_id, block)
    return filter(_is_language_bar, bars.values())


def _is_language_bar(block: LexborNode) -> bool:
    links = block.css("a[hreflang]")
    languages = {link.attributes.get("hreflang") for link in links}
    if len(links) < 2 or len(languages) < len(links):
        return False
    names = [len(text_of(link).split()) <= _MAX_WORDS for link in links]
    if sum(names) * 2 < len(links):
        return False
    linked = [characters(link) for link in links]
    return max(linked) <= 20 and sum(linked) * 2 >= characters(block) - 20
