"""Markdown → text without what a reader does not see.

What a comment, script or style sheet is follows CommonMark: it begins outside of code, and it ends where its block ends
at the latest; what does not end is text.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline, html_inline
from markdown_it.token import Token

from corpus.clean.account import AccountBuilder, DropRule
from corpus.clean.cuts import Cut, apart, without
from corpus.clean.markdown.front_matter import front_matter_end
from corpus.clean.markdown.structure import Lines, parse
from corpus.clean.normalise import tidy_lines
from corpus.clean.payload import MIN_IN_CODE, payloads

_CODE = ("fence", "code_block")
_WITH_INLINE = ("paragraph_open", "heading_open")


def without_noise(text: str, account: AccountBuilder) -> tuple[str, int]:
    """Take out front matter, comments, scripts, style sheets, imports of MDX; put placeholders for payloads.

    Code keeps all of it, since there it is text; only a payload that no person reads is replaced in it as well.

    Returns:
        The text, and how many characters of it are placeholders.
    """
    begin = front_matter_end(text)
    account.drop(DropRule.FRONT_MATTER, text[:begin])
    text = text[begin:].strip("\n")
    found = payloads(text)
    if not found and not _MAY_BE_NOISE.search(text):
        return text, 0
    tokens = parse(text)
    cuts = apart((*_noise(text, tokens), *_outside_code(found, text, tokens)))
    text, added = without(text, cuts, account)
    return tidy_lines(text), added


def _outside_code(found: list[Cut], text: str, tokens: list[Token]) -> Iterator[Cut]:
    """Yield the payloads, without the short ones in code."""
    ends, starts = _code_spans(text, tokens)
    for cut in found:
        number = bisect_right(ends, cut.start)
        is_in_code = number < len(starts) and starts[number] <= cut.start
        is_long = cut.end - cut.start >= MIN_IN_CODE
        if is_long or not is_in_code:
            yield cut


def _code_spans(text: str, tokens: list[Token]) -> tuple[list[int], list[int]]:
    """Return where each block of code ends, and where it starts."""
    lines = Lines(text)
    ends: list[int] = []
    starts: list[int] = []
    for token in tokens:
        if token.type in _CODE and token.map is not None:
            first, end = token.map
            starts.append(lines.start(first))
            ends.append(lines.end(end))
    return ends, starts


_NOISE = re.compile(r"<!--|<(script|style)(?=[\s>/])", re.IGNORECASE)
_ENDS = {
    "comment": re.compile("-->"),
    "script": re.compile(r"</script\s*>", re.IGNORECASE),
    "style": re.compile(r"</style\s*>", re.IGNORECASE),
}
# As JSX writes a component without children; HTML knows no such script, and no one loses text by it.
_SELF_CLOSED = re.compile(r"<(?:script|style)(?=[\s/])[^<>]*/>", re.IGNORECASE)
_RULES = {"comment": DropRule.HIDDEN}
# Statements of a module that MDX takes out: imports, and an export up to the end of its paragraph.
_NAMED = r"""(?:\{[^{}"']*\}|\*\s+as\s+[\w$]+)"""
_IMPORT = re.compile(
    rf"import\s+(?:(?:type\s+)?(?:[\w$]+(?:\s*,\s*{_NAMED})?|{_NAMED})\s*from\s*)?"
    r"""(?:"[^"\n]*"|'[^'\n]*')[ \t]*;?[ \t]*(?:\n|$)"""
)
_EXPORT = re.compile(
    r"export\s+(?:(?:const|let|var)\s+[\w$]+\s*=|(?:default\s+)?(?:async\s+)?function\b[^\n(]{0,100}\("
    r"|(?:default\s+)?class\s+[\w$]+[^\n]*\{|default\s+[({]|\{[^}]*\}\s*(?:from\s|;|$)|\*\s+from\s)"
)
_MAY_BE_NOISE = re.compile(
    r"<!--|<(?:script|style)(?=[\s>/])|^(?:import|export)\s",
    re.IGNORECASE | re.MULTILINE,
)
_CELL = re.compile(r"(?:[^|\\]+|\\.)+")


def _noise(text: str, tokens: list[Token]) -> Iterator[Cut]:
    """Yield what is no text, in order."""
    lines = Lines(text)
    for token in tokens:
        if token.map is None:
            continue
        first, end = token.map
        span = (lines.start(first), lines.end(end))
        if token.type == "html_block":
            yield from _noise_between(*span, text, _marks_in_block)
        elif token.type in _WITH_INLINE:
            if token.level == 0 and _is_module_code(text[slice(*span)]):
                yield Cut(*span, DropRule.MACHINE)
            else:
                yield from _noise_between(*span, text, _marks_in_lines)
        elif token.type == "tr_open":
            for cell in _CELL.finditer(text, *span):
                yield from _noise_between(*cell.span(), text, _marks_in_lines)


def _is_module_code(paragraph: str) -> bool:
    """Is the paragraph imports of MDX, and perhaps an export behind them?"""
    end = 0
    while found := _IMPORT.match(paragraph, end):
        end = found.end()
    return end == len(paragraph) or _EXPORT.match(paragraph, end) is not None


_FindMarks = Callable[[str, int, int], Iterable[int]]


def _noise_between(
    start: int, end: int, text: str, find_marks: _FindMarks
) -> Iterator[Cut]:
    """Yield the ranges between two offsets, of those that begin at a mark."""
    if _NOISE.search(text, start, end) is None:
        return
    endless: set[str] = set()
    noise_end = start
    for place in find_marks(text, start, end):
        mark = _NOISE.match(text, place)
        if mark is None or place < noise_end:
            continue
        kind = (mark[1] or "comment").lower()
        closing = _SELF_CLOSED.match(text, place, end)
        if closing is None and kind not in endless:
            closing = _ENDS[kind].search(text, place + 2, end)
        if closing is None:
            endless.add(kind)  # nor does a later one end: it is not searched for again
            continue
        noise_end = closing.end()
        yield Cut(place, noise_end, _RULES.get(kind, DropRule.MACHINE))


def _marks_in_block(text: str, start: int, end: int) -> Iterator[int]:
    for mark in _NOISE.finditer(text, start, end):
        yield mark.start()


def _marks_in_lines(text: str, start: int, end: int) -> list[int]:
    """Return where HTML begins, outside of code spans and not after a backslash."""
    places: list[int] = []
    state = StateInline(text[start:end], _INLINE_PARSER, {_PLACES: places}, [])
    _INLINE_PARSER.inline.tokenize(state)
    return [place + start for place in places]


_PLACES = "places"


def _note_place(state: StateInline, silent: bool) -> bool:
    """The rule for inline HTML, which also notes where it begins: tokens inside a line have no offsets."""
    place = state.pos
    matches = html_inline(state, silent)
    if matches:
        places = state.env[_PLACES]
        places.append(place)
    return matches


_INLINE_PARSER = MarkdownIt("commonmark")
_INLINE_PARSER.inline.ruler.enableOnly(["text", "escape", "backticks", "html_inline"])
_INLINE_PARSER.inline.ruler.at("html_inline", _note_place)
