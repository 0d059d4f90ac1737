"""XML that is no HTML → the elements of HTML that mean the same: feeds, DocBook, DITA.

An HTML parser takes their titles for that of the page, and runs their paragraphs together.
"""

import html
import re

_XML = re.compile(r"\s*(?:<\?xml\b|<rss\b|<feed\b)")
_HTML = re.compile(r"<html\b|<!DOCTYPE html\b", re.IGNORECASE)
_FEED = re.compile(r"<(?:rss|feed|rdf:RDF)\b")
# What a document is, stands within so many characters.
_BEGINNING = 2_000

ELEMENTS = {
    "title": "h2",
    **dict.fromkeys(("para", "simpara", "cmd"), "p"),
    **dict.fromkeys(
        ("programlisting", "screen", "literallayout", "synopsis", "codeblock"), "pre"
    ),
    **{"itemizedlist": "ul", "orderedlist": "ol", "steps": "ol"},
    **{"listitem": "li", "step": "li"},
    **{"informaltable": "table", "row": "tr", "entry": "td"},
}
ELEMENTS_OF_FEEDS = {
    **dict.fromkeys(("item", "entry", "channel"), "section"),
    **{"title": "h2", "subtitle": "p", "description": "div"},
    **{"content": "div", "content:encoded": "div", "summary": "div"},
    **dict.fromkeys(("link", "pubDate", "published", "updated", "guid", "id"), "p"),
}
# Of a feed, these hold markup with its marks escaped.
_ESCAPED = re.compile(
    r"(<(?:description|content:encoded|content|summary)(?:\s[^<>]*)?>)([^<]*&lt;[^<]*)"
)


def is_other_xml(content: str) -> bool:
    """Is it XML that is no page?"""
    if _XML.match(content) is None:
        return False
    return _HTML.search(content, 0, _BEGINNING) is None


def as_html(content: str) -> str:
    """Return XML with elements of HTML; those that no list names stay."""
    names = ELEMENTS
    if _FEED.search(content, 0, _BEGINNING):
        names = ELEMENTS_OF_FEEDS
        content = _ESCAPED.sub(lambda part: part[1] + html.unescape(part[2]), content)
    words = "|".join(map(re.escape, names))
    tag = re.compile(rf"<(/?)({words})(?=[\s>/])")
    return tag.sub(lambda found: f"<{found[1]}{names[found[2]]}", content)
