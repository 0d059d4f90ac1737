"""Marks inside a line that mean something: superscript and subscript, formulas, pictures, numbers of lists."""

import re
from collections.abc import Callable, Mapping

from selectolax.lexbor import LexborNode

from corpus.clean.account import visible_length
from corpus.clean.page.marks import (
    BREAK,
    ELEMENTS,
    END,
    FORMULA_PICTURES,
    MIN_ALT_CHARACTERS,
    MIN_ALT_WORDS,
    NO_CONTENT_ALT,
    ORDER_OF_CLASS,
    ORDINALS,
    RAISED,
)
from corpus.clean.page.tree import text_of

# RAISED, LOWERED and END stand for marks until a block is complete; no text holds them (see source).
_SCRIPT = re.compile("([\x01\x03])([^\x01-\x03]*)\x02")
_NEXT_TO_WORD = re.compile(r"\w")
_ELEMENT_BEFORE = re.compile(r"(?:^|[^A-Za-z])((?:[A-Z][a-z]?\d*|[()\[\]])+)$")
_LAST_ELEMENT = re.compile(r"([A-Z][a-z]?)$|[)\]]$")
_SIMPLE = re.compile(r"[-+−–]?(?:\d+(?:[.,]\d+)?|\w)")
_MAX_LOOK_BEHIND = 24
_MAX_FORMULA = 1_000
_FILE_NAME = re.compile(r"\S+\.(?:png|jpe?g|gif|svg|webp|bmp|ico)", re.IGNORECASE)
# A picture's text that is a formula: a command of TeX, a power, or an equation of short names.
_FORMULA = re.compile(r"\\[a-zA-Z]{2,}|[\w)}\]]\^[\w{(\\]|^\s*\w{1,3}\s*=\s*\S")
_LIST_STYLE = re.compile(
    r"list-style(?:-type)?\s{0,9}:[^;]{0,40}\b(lower|upper)-(alpha|latin|roman)",
    re.IGNORECASE,
)
_SPACE = re.compile(r"[ \t\n\r\f]+")
_DISPLAY_STYLE = re.compile(r"\{\\(?:display|text)style\s*(.*)\}", re.DOTALL)
# Ideographs, kana, hangul, Thai: words without spaces, a character says as much as three letters.
_DENSE = re.compile("[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def with_scripts(raw: str) -> str:
    """Write what is raised as `^x` and what is lowered as `_x`; ordinals and chemical formulas stay as one word."""
    if END not in raw:
        return raw
    for _ in range(4):  # one in another; the innermost first
        raw, written = _SCRIPT.subn(_written, raw)
        if not written:
            break
    return raw.translate({1: None, 2: None, 3: None})


def _written(script: re.Match[str]) -> str:
    """Return how a raised or lowered text is written within its line."""
    text = script[2].strip()
    if not text or _needs_no_mark(script, text):
        return script[2]
    mark = "^" if script[1] == RAISED else "_"
    after = script.string[script.end() : script.end() + 1]
    is_apart = _NEXT_TO_WORD.match(after) is None
    if is_apart and _SIMPLE.fullmatch(text):
        return f"{mark}{text}"
    return f"{mark}({text})"


def _needs_no_mark(script: re.Match[str], text: str) -> bool:
    """Is it an ordinal, the number of a note, or the digits of a chemical formula?"""
    if script[1] == RAISED:
        is_ordinal = text.lower() in ORDINALS
        return is_ordinal or text.startswith(("[", "("))
    start, end = script.span()
    if not text.isdigit() or script.string[end : end + 1].isdigit():
        return False
    before = script.string[max(0, start - _MAX_LOOK_BEHIND) : start]
    return _ends_in_element(before)


def _ends_in_element(before: str) -> bool:
    """Does a text end as a chemical formula?"""
    formula = _ELEMENT_BEFORE.search(before)
    if formula is None:
        return False
    last = _LAST_ELEMENT.search(formula[1])
    return last is not None and (last[1] is None or last[1] in ELEMENTS)


def folded(raw: str) -> str:
    """Return the text with white space folded; the breaks that were asked for stay."""
    if BREAK not in raw:
        return _folded_line(raw)
    lines = map(_folded_line, raw.split(BREAK))
    return "\n".join(filter(None, lines))


def _folded_line(raw: str) -> str:
    """Return a line with the white space of HTML folded; other spaces, such as the one that does not break, stay."""
    if raw.isascii():
        return " ".join(raw.split())
    line = raw.replace("\n", " ").replace("\t", " ")
    if line.isprintable():  # no other white space
        return " ".join(line.split())
    return _SPACE.sub(" ", raw).strip()


# Formulas and pictures


def plain_tex(tex: str) -> str:
    """Return TeX without what only sets its size."""
    tex = tex.strip()
    styled = _DISPLAY_STYLE.fullmatch(tex)
    return styled[1].strip() if styled else tex


def alternative_text(picture: LexborNode) -> str:
    """Return a picture's text where the picture is content, ready to be put into a line; else nothing."""
    attributes = picture.attributes
    stated = attributes.get("alt") or ""
    alt = " ".join(stated.split())
    if not alt:
        return ""
    classes = attributes.get("class") or ""
    if _shows_formula(classes) or _FORMULA.search(alt[:_MAX_FORMULA]):
        if _has_source(picture):
            return ""
        return plain_tex(alt)
    if attributes.get("aria-hidden") == "true":
        return ""
    if not _says_something(alt):
        return ""
    if _is_caption(picture, alt):
        return ""
    return f"[{alt}]"


def _shows_formula(classes: str) -> bool:
    lower = classes.lower()
    return any(name in lower for name in FORMULA_PICTURES)


def _has_source(picture: LexborNode) -> bool:
    """Is the formula of a picture beside it as well?"""
    around = picture.parent
    return around is not None and around.css_first("math") is not None


def _says_something(alt: str) -> bool:
    if alt.lower() in NO_CONTENT_ALT or _FILE_NAME.fullmatch(alt):
        return False
    dense = len(_DENSE.findall(alt))
    characters = visible_length(alt) + 2 * dense
    words = alt.count(" ") + 1 + dense // 2
    return characters >= MIN_ALT_CHARACTERS and words >= MIN_ALT_WORDS


def _is_caption(picture: LexborNode, alt: str) -> bool:
    """Does the figure's caption say the same?"""
    around = picture.parent
    while around is not None and around.tag in ("a", "picture", "p", "div"):
        around = around.parent
    if around is None or around.tag != "figure":
        return False
    caption = around.css_first("figcaption")
    return caption is not None and alt in " ".join(text_of(caption).split())


# Numbers of lists


class Numbering:
    """The numbers of one list's items."""

    def __init__(self, items: LexborNode) -> None:
        attributes = items.attributes
        self._is_ordered = items.tag == "ol"
        self._spell = _SPELLINGS.get(_order_of(attributes), str)
        self._step = -1 if "reversed" in attributes else 1
        self._next = _integer(attributes.get("start"))
        if self._next is None:
            self._next = 1
            if self._step < 0:
                self._next = sum(child.tag == "li" for child in items.iter())

    def mark_of(self, item: LexborNode) -> str:
        """Return the mark of the next item."""
        if not self._is_ordered:
            return "-"
        stated = item.attributes.get("value")
        value = _integer(stated)
        if value is None:
            value = self._next or 0
        self._next = value + self._step
        number = self._spell(value)
        return f"{number}."


def _order_of(attributes: Mapping[str, str | None]) -> str:
    """Return the type of a list: of its style, its attribute or its class."""
    classes = (attributes.get("class") or "").split()
    named = [ORDER_OF_CLASS[name] for name in classes if name in ORDER_OF_CLASS]
    styled = _order_of_style(attributes.get("style") or "")
    stated = attributes.get("type") or (named[0] if named else "1")
    return styled or stated


def _order_of_style(style: str) -> str:
    """Return the type of a list, as the attribute has it, that a style asks for."""
    stated = _LIST_STYLE.search(style)
    if stated is None:
        return ""
    case, kind = stated[1].lower(), stated[2].lower()
    letter = "i" if kind == "roman" else "a"
    return letter.upper() if case == "upper" else letter


def _integer(text: str | None) -> int | None:
    try:
        return int((text or "").strip()[:10])
    except ValueError:
        return None


def _letters(value: int) -> str:
    if value < 1:
        return str(value)
    letters = ""
    while value:
        value, letter = divmod(value - 1, 26)
        letters = chr(ord("a") + letter) + letters
    return letters


_ROMAN = (
    *((1_000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc")),
    *((50, "l"), (40, "xl"), (10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i")),
)


def _roman(value: int) -> str:
    if not 0 < value < 4_000:
        return str(value)
    numeral = ""
    for worth, letters in _ROMAN:
        count, value = divmod(value, worth)
        numeral += letters * count
    return numeral


_SPELLINGS: dict[str, Callable[[int], str]] = {
    "a": _letters,
    "A": lambda value: _letters(value).upper(),
    "i": _roman,
    "I": lambda value: _roman(value).upper(),
}
