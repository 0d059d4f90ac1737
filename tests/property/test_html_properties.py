"""Of HTML: every character of the page is kept or dropped by a rule; what is kept comes out once and in order."""

import re
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser, LexborNode

from corpus.clean.account import visible_length
from corpus.clean.html import clean_html

_TAGS = [
    *("p", "div", "section", "article", "main", "nav", "aside", "footer", "header", "h1", "h2"),
    *("ul", "ol", "li", "dl", "dt", "dd", "table", "tr", "td", "th", "caption", "pre", "span", "b"),
    *("a", "sup", "sub", "button", "details", "summary", "figure", "figcaption", "blockquote", "q"),
    *("script", "style", "title", "svg", "template", "select", "option", "textarea", "math", "mi"),
    *("msup", "dialog", "ruby", "rt", "rp", "form", "label", "video", "br", "img", "hr"),
]
_ATTRIBUTES = [
    *("", "", "", "", " hidden", " aria-hidden=true", " style='display:none'", " href='#x'"),
    *(" style='visibility:hidden'", " style='visibility:visible'", " style='font-size:0'"),
    *(" style='font-size:9px'", " class=nav", " class=toc", " id=content", " id=footer"),
    *(" role=main", " role=navigation", " href='/a' hreflang=de", " role=tabpanel", " alt=''"),
]


@st.composite
def pages(draw: st.DrawFn) -> str:
    """Markup, well formed or not, in which the n-th text is `wn`."""
    parts: list[str] = []
    for number in range(draw(st.integers(1, 30))):
        tag = draw(st.sampled_from(_TAGS))
        attribute = draw(st.sampled_from(_ATTRIBUTES))
        is_end = draw(st.integers(0, 3)) == 0
        parts.append(f"</{tag}>" if is_end else f"<{tag}{attribute}>")
        if draw(st.booleans()):
            parts.append(f" w{number} ")
        if draw(st.booleans()):
            parts.append(f"</{draw(st.sampled_from(_TAGS))}>")
    return "".join(parts)


def characters(content: str) -> int:
    root = LexborHTMLParser(content).root
    assert root is not None
    nodes = root.traverse(include_text=True)
    return sum(visible_length(node.text_content or "") for node in nodes if node.is_text_node)


@given(pages(), st.booleans())
@settings(max_examples=100)
def test_every_character_is_kept_or_dropped_by_a_rule(content: str, main: bool) -> None:
    account = clean_html(content, main=main, max_nesting=512).account
    assert account.kept >= 0
    assert account.received == characters(content)


@given(pages(), st.booleans())
@settings(max_examples=100)
def test_what_is_kept_comes_out_once_and_in_order(content: str, main: bool) -> None:
    document = clean_html(content, main=main, max_nesting=512)
    source = [node for node in re.findall(r"w\d+", "".join(_texts(content)))]
    words = re.findall(r"w\d+", document.text)
    remaining = iter(source)
    assert all(word in remaining for word in words)
    assert visible_length("".join(words)) == document.account.kept


def _texts(content: str) -> list[str]:
    """Return the texts of a page in the tree's order, which is not always the source's; captions above their rows."""
    root = LexborHTMLParser(content).root
    assert root is not None
    return list(_texts_below(root))


def _texts_below(node: LexborNode) -> Iterator[str]:
    if node.is_text_node:
        yield f" {node.text_content} "
    children = list(node.iter(include_text=True))
    if node.tag == "table":
        children.sort(key=lambda child: child.tag != "caption")
    for child in children:
        yield from _texts_below(child)


@given(pages())
def test_the_page_without_rules_keeps_what_the_main_part_keeps(content: str) -> None:
    everything = clean_html(content, main=False, max_nesting=512)
    main = clean_html(content, main=True, max_nesting=512)
    assert set(re.findall(r"w\d+", main.text)) <= set(re.findall(r"w\d+", everything.text))
    assert main.account.kept <= everything.account.kept
