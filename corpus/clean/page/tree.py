"""What the steps of HTML ask of a tree."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from typing import Any, ClassVar, Literal, NamedTuple

from selectolax.lexbor import LexborNode

from corpus.clean.account import visible_length

# Parts of a selector.
_CONDITIONS = re.compile(r":not\(.*\)|\[[^\]]*\]")
_TAG = re.compile(r"(?:.*[ >])?([a-z][\w\\:-]*)")
_NAME = re.compile(
    r"([.#])([\w-]+)|\[([\w:-]+)(?:[*^~]?=['\"]([^'\"]+)['\"](?: i)?)?\]"
)
# Attributes whose value names their element.
_NAMING = frozenset(("class", "id", "role"))
# Of an attribute that names its element; no name that matters is behind this.
_MAX_NAMES_CHARACTERS = 1_000


def text_of(node: LexborNode) -> str:
    """Return all text in a node, also its own if it is text."""
    if node.is_text_node:
        return node.text_content or ""
    return node.text(deep=True)


def parts_of(node: LexborNode) -> list[LexborNode]:
    """Return the elements and texts directly in a node, without white space."""
    return [
        child
        for child in node.iter(include_text=True)
        if child.is_element_node or (child.is_text_node and text_of(child).strip())
    ]


def characters(node: LexborNode) -> int:
    """Return how many visible characters a node holds."""
    return visible_length(text_of(node))


class Size(NamedTuple):
    """How much text a node holds, in visible characters."""

    characters: int
    linked: int
    """Those in links."""
    links: int
    """How many links it holds."""

    @property
    def prose(self) -> int:
        """Characters outside links."""
        return self.characters - self.linked


def size_of(node: LexborNode) -> Size:
    """Return how much text a node holds."""
    links = link_texts(node)
    linked_text = " ".join(links)
    linked = visible_length(linked_text)
    held = characters(node)
    return Size(held, linked, len(links))


def link_texts(node: LexborNode) -> list[str]:
    """Return the texts of the links in a node, or of itself."""
    if node.tag == "a":
        return [text_of(node)]
    return [anchor.text(deep=True) for anchor in node.css("a")]


def prose(node: LexborNode) -> int:
    """Return how many of a node's visible characters are outside links."""
    return size_of(node).prose


def matching(root: LexborNode, selectors: Iterable[str]) -> list[LexborNode]:
    """Return the elements below `root` that match any selector, in the document's order, each once."""
    nodes = {node.mem_id: node for node in root.css(", ".join(selectors))}
    return list(nodes.values())


class Name(NamedTuple):
    """What each element that a selector matches has."""

    kind: Literal["tag", "class", "id", "role", "attribute"]
    word: str
    """In lower case."""


class Selectors:
    """Selectors that are looked up by a name instead of asked for: asking costs as much as the page is long."""

    wanted: ClassVar[set[Name]] = set()
    """Names of all selectors there are."""

    def __init__(self, selectors: Iterable[str]) -> None:
        self._named = [(selector, *name_in(selector)) for selector in selectors]
        self.wanted.update(name for _, name, _ in self._named)

    def matching(self, page: "Inventory") -> list[LexborNode]:
        """Return the elements that match, each once, selector by selector."""
        return list({node.mem_id: node for _, node in self.matches(page)}.values())

    def matches(self, page: "Inventory") -> Iterator[tuple[str, LexborNode]]:
        """Yield each selector with each element that matches it, in the document's order."""
        for selector, name, says_all in self._named:
            for node in page.named.get(name, ()):
                if says_all or node.css_matches(selector):
                    yield selector, node


class Inventory:
    """The elements of a page that have a name which a selector needs."""

    def __init__(self, root: LexborNode) -> None:
        self.named: defaultdict[Name, list[LexborNode]] = defaultdict(list)
        """By name, in the document's order."""
        self._sizes: dict[int, Size] = {}
        tags = _wanted("tag")
        attributes = _NAMING | _wanted("attribute").keys()
        for node in root.traverse():
            tag = node.tag
            if tag in tags:
                self.named[tags[tag]].append(node)
            for attribute, value in node.attributes.items():
                if attribute in attributes:
                    stated = (value or "")[:_MAX_NAMES_CHARACTERS]
                    for name in _wanted_names(attribute, stated):
                        self.named[name].append(node)

    def size_of(self, node: LexborNode) -> Size:
        """Return how much text a node holds, measured once: when nothing more is taken out of the tree."""
        name = node.mem_id
        if name not in self._sizes:
            size = size_of(node)
            self._sizes[name] = size
        return self._sizes[name]


@cache
def _wanted(kind: str) -> dict[str, Name]:
    """Return the names of one kind that selectors need, by word; asked for when all selectors are there."""
    return {name.word: name for name in Selectors.wanted if name.kind == kind}


@lru_cache(maxsize=8_192)
def _wanted_names(attribute: str, value: str) -> list[Name]:
    """Return the names that selectors need of those an attribute gives; most values come again and again."""
    of_value = _wanted(attribute) if attribute in _NAMING else {}
    names = [of_value[word] for word in set(value.lower().split()) if word in of_value]
    if attribute in _wanted("attribute"):
        names.append(Name("attribute", attribute))
    return names


def name_in(selector: str) -> tuple[Name, bool]:
    """Return a name that each match of a selector has, and whether each element with it matches."""
    simple = selector.split(":not")[0]
    found = None if ">" in simple else _NAME.search(simple)
    if found is None:
        tag = _TAG.match(_CONDITIONS.sub("", selector))
        if tag is None:
            raise ValueError(f"selector {selector!r} names nothing")
        word = tag[1].replace("\\", "").lower()
        return Name("tag", word), selector == tag[1]
    is_alone = found[0] == selector
    if found[1]:
        kind: Any = "class" if found[1] == "." else "id"
        return Name(kind, found[2].lower()), is_alone and found[2].islower()
    if found[3] == "role" and found[4]:
        return Name("role", found[4].lower()), is_alone
    return Name("attribute", found[3].lower()), is_alone and not found[4]


def is_inside(node: LexborNode, roots: set[int]) -> bool:
    """Is a node one of the roots, or in one of them?"""
    return node.mem_id in roots or any(
        parent.mem_id in roots for parent in ancestors(node)
    )


def ids(nodes: Iterable[LexborNode]) -> set[int]:
    """Return what names the nodes within a tree."""
    return {node.mem_id for node in nodes}


def ancestors(node: LexborNode) -> Iterator[LexborNode]:
    """Yield the elements around a node, the nearest first."""
    parent = node.parent
    while parent is not None:
        if not parent.is_element_node:
            return
        yield parent
        parent = parent.parent


def outermost(nodes: list[LexborNode]) -> list[LexborNode]:
    """Return the nodes that lie in none of the others."""
    inside = ids(nodes)
    return [
        node
        for node in nodes
        if not any(parent.mem_id in inside for parent in ancestors(node))
    ]


def element_before(node: LexborNode) -> LexborNode | None:
    """Return the sibling in front of a node, if it is an element and only white space is between them."""
    before = node.prev
    while before is not None:
        if before.is_element_node:
            return before
        text = before.text_content or " "
        is_blank = text.isspace()
        if before.is_text_node and not is_blank:
            return None
        before = before.prev
    return None
