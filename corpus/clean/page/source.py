"""HTML as it was sent → HTML that a parser reads as a browser with scripts does, and XML dialects as what they are."""

import html
import re

from corpus.clean.page.marks import CDATA_OF_MARKUP
from corpus.clean.page.xml import as_html, is_other_xml

_NOSCRIPT = re.compile(r"<(/?)noscript(?=[\s>/])", re.IGNORECASE)
# Characters that stand for something in the walker. No text holds them, written as such or as a reference.
_RESERVED = "\x00\x01\x02\x03\x04\x05\x06"
_WITHOUT_RESERVED = str.maketrans("", "", _RESERVED)
_RESERVED_REFERENCE = re.compile("&#(?:0*[1-6]|[xX]0*[1-6])(?:;|(?![0-9a-fA-F]))")
_XHTML = re.compile(
    r"\s*(?:<\?xml|<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML"
    r"|(?:<!DOCTYPE[^<>]{0,200}>\s*)?<html\s[^<>]{0,500}xmlns=.http://www.w3.org/1999/xhtml)"
)
# How office programs write what others write as <sup>, <sub>.
_RAISED = re.compile(
    r"<span(\s[^<>]{0,500}vertical-align:\s{0,9}(super|sub)\b[^<>]{0,500})>([^<>]{0,60})</span>"
)
_CONFLUENCE = ("<ac:", "<ri:")
# A tag without its end, such as `<p id="x"`; not of an element that has no end.
_UNENDED = re.compile(
    r"<(?!(?:area|base|br|col|embed|hr|img|input|link|meta|param|source|track|wbr)(?:\s|\Z))"
    r"([a-zA-Z][\w:-]*)(?:\s[^<>]*)?"
)
_TEMPLATE = re.compile(r"<(/?)template(?=[\s>/])([^<>]*)>", re.IGNORECASE)
_CDATA = "<![CDATA["
_CDATA_END = "]]>"
# What a CDATA section is not one in.
_OPAQUE = re.compile(r"<(script|style)(?=[\s>/])|<!--|<!\[CDATA\[", re.IGNORECASE)
_END_OF_OPAQUE = {
    "script": re.compile(r"</script\s*>", re.IGNORECASE),
    "style": re.compile(r"</style\s*>", re.IGNORECASE),
    "<!--": re.compile("-->"),
    _CDATA: re.compile(re.escape(_CDATA_END)),
}
_TAG_BEFORE = re.compile(r"<([^\s<>/]{1,64})[^<>]{0,200}>\s{0,64}\Z")


def readable_source(content: str) -> str:
    """Return the source with the same text.

    1. reserved characters go
    2. `noscript` holds raw text, as where scripts run; in a page's head a parser would make body text of it
    3. what a template attaches to its element is shown there
    4. sections of CDATA become text
    5. XML's self-closed elements are closed; what is no page gets the elements of HTML
    6. text that a style raises or lowers becomes <sup>, <sub>
    """
    content = _raw_noscript(_without_reserved(content))
    if "shadowrootmode" in content:
        content = _with_shadow_trees(content)
    if _CDATA in content:
        content = _without_cdata(content)
    is_confluence = any(tag in content for tag in _CONFLUENCE)
    if is_confluence or _XHTML.match(content):
        content = _with_ends(content)
    if is_other_xml(content):
        content = as_html(content)
    if "vertical-align" in content:
        content = _RAISED.sub(_script, content)
    return content


def _without_reserved(content: str) -> str:
    holds_reserved = any(character in content for character in _RESERVED)
    if holds_reserved:
        content = content.translate(_WITHOUT_RESERVED)
    holds_references = "&#" in content
    if holds_references:
        content = _RESERVED_REFERENCE.sub("", content)
    return content


def _script(span: re.Match[str]) -> str:
    name = "sup" if span[2] == "super" else "sub"
    return f"<{name}{span[1]}>{span[3]}</{name}>"


def _with_ends(content: str) -> str:
    """Close elements that close themselves."""
    *parts, rest = content.split("/>")
    for number, part in enumerate(parts):
        start = max(part.rfind("<"), 0)
        tag = _UNENDED.fullmatch(part, start)
        parts[number] = f"{part}/>" if tag is None else f"{part}></{tag[1]}>"
    return "".join((*parts, rest))


def _raw_noscript(content: str) -> str:
    """Rename what has an end; a browser reads `noframes` as it reads `noscript`."""
    tags = list(_NOSCRIPT.finditer(content))
    ends = [tag.start() for tag in tags if tag[1]]
    if not ends:
        return content
    last_end = ends[-1]
    parts: list[str] = []
    kept_until = 0
    for tag in tags:
        if tag.start() <= last_end:
            parts += (content[kept_until : tag.start()], f"<{tag[1]}noframes")
            kept_until = tag.end()
    parts.append(content[kept_until:])
    return "".join(parts)


def _with_shadow_trees(content: str) -> str:
    parts: list[str] = []
    kept_until = 0
    open_templates: list[bool] = []
    for tag in _TEMPLATE.finditer(content):
        if tag[1]:
            is_shown = bool(open_templates) and open_templates.pop()
        else:
            is_shown = "shadowrootmode" in tag[2]
            open_templates.append(is_shown)
        if is_shown:
            parts += (content[kept_until : tag.start()], f"<{tag[1]}div>")
            kept_until = tag.end()
    parts.append(content[kept_until:])
    return "".join(parts)


def _without_cdata(content: str) -> str:
    parts: list[str] = []
    kept_until = at = 0
    endless: set[str] = set()
    while (start := _OPAQUE.search(content, at)) is not None:
        at = start.end()
        kind = (start[1] or start[0]).lower()
        kind = _CDATA if kind == _CDATA.lower() else kind
        if kind in endless:
            continue
        end = _END_OF_OPAQUE[kind].search(content, at)
        if end is None:
            endless.add(kind)
            continue
        if kind == _CDATA:
            section = content[at : end.start()]
            before = content[kept_until : start.start()]
            parts += (before, _text_of_cdata(section, before))
            kept_until = end.end()
        at = end.end()
    parts.append(content[kept_until:])
    return "".join(parts)


def _text_of_cdata(section: str, before: str) -> str:
    """Return a section as markup or, where its element holds text, with its markup escaped."""
    element = _TAG_BEFORE.search(before[-300:])
    if element is not None and element[1].lower() in CDATA_OF_MARKUP:
        return section
    return html.escape(section, quote=False)
