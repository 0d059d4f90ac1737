"""What a browser does not show because of a style attribute: decided by a CSS parser, per property and value."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from re import IGNORECASE
from re import compile as pattern
from typing import Any

import tinycss2

from corpus.clean.page.rules import MOVING_PROPERTIES, names

# Only a style that matches can hide; most do not, and need no parser. A backslash may spell anything.
_MAY_HIDE = pattern(
    r"none|hidden|collapse|visible|opacity|font|clip|scale|-\s*\d{3}|-\d*\.?\d+e|\\",
    IGNORECASE,
)
_MAX_CACHED_CHARACTERS = 300
# Further out than any screen, in pixels.
_FAR = -999
_PIXELS = {"px": 1.0, "pt": 4 / 3, "em": 16.0, "rem": 16.0, "vw": 10.0, "vh": 10.0}
_SIDES = ("left", "top", "right", "bottom")
_SCALES = frozenset(("scale", "scalex", "scaley", "scale3d"))
_LENGTHS = frozenset(("number", "dimension", "percentage"))
# These give a box of no height some room.
_ROOM = ("min-height", "padding", "padding-top", "padding-bottom")
_MOVABLE = frozenset(("absolute", "fixed", "relative", "sticky"))
_RELATIVE_UNITS = frozenset(("em", "ex", "ch", "%"))
_SIZE_WORDS = names(
    "xx-small x-small small medium large x-large xx-large xxx-large initial"
)
_DISPLAYS = names(
    "none block inline inline-block flex inline-flex grid inline-grid "
    "flow-root contents list-item table inline-table table-row table-cell "
    "table-row-group table-header-group table-footer-group table-column "
    "table-column-group table-caption ruby run-in initial inherit unset "
    "revert -webkit-box"
)


@dataclass(frozen=True, slots=True)
class Style:
    """What a style attribute says about being seen. None: nothing; a child inherits."""

    gone: bool = False
    """The element and all in it cannot be seen, whatever a child says."""
    visible: bool | None = None
    """`visibility`; a child may undo it."""
    sized: bool | None = None
    """`font-size`: False for none; a child may undo it with a size of its own."""

    @property
    def hides(self) -> bool:
        """Does it hide the element's own text?"""
        return self.gone or self.visible is False or self.sized is False


NO_STYLE = Style()


def style_of(attribute: str | None) -> Style:
    """Return what a style attribute says about being seen."""
    if not attribute:
        return NO_STYLE
    may_hide = _MAY_HIDE.search(attribute)
    if may_hide is None:
        return NO_STYLE
    if len(attribute) <= _MAX_CACHED_CHARACTERS:
        return _cached(attribute)
    return _read(attribute)


@lru_cache(maxsize=4_096)
def _cached(attribute: str) -> Style:
    return _read(attribute)


def _read(attribute: str) -> Style:
    values = _declared(attribute)
    return Style(
        gone=_is_gone(values),
        visible=_visibility(values.get("visibility", ())),
        sized=_has_size(values),
    )


def _declared(attribute: str) -> dict[str, Sequence[Any]]:
    """Return the tokens of each property's valid-looking value: the last one, or the last important one."""
    values: dict[str, Sequence[Any]] = {}
    important: set[str] = set()
    declarations = tinycss2.parse_blocks_contents(
        attribute, skip_comments=True, skip_whitespace=True
    )
    for declaration in declarations:
        if declaration.type != "declaration":
            continue
        name = declaration.lower_name
        value = [
            token
            for token in declaration.value
            if token.type not in ("whitespace", "comment")
        ]
        if not value or (name in important and not declaration.important):
            continue
        if not _is_value_of(name, value):
            continue
        if declaration.important:
            important.add(name)
        values.pop(name, None)  # so that the order is that of the last
        values[name] = value
    return values


def _is_value_of(name: str, value: Sequence[Any]) -> bool:
    """Would a browser take the value? Only asked where a wrong answer would hide or show."""
    if any(token == "!" for token in value):
        return False
    if name == "visibility":
        return _word(value) in ("visible", "hidden", "collapse", "inherit", "initial")
    if name == "display":
        return len(value) > 1 or _word(value) in _DISPLAYS
    if name == "opacity":
        return len(value) == 1 and value[0].type in ("number", "percentage", "function")
    return True


def _word(value: Sequence[Any]) -> str:
    """Return a value that is one word; else an empty text."""
    if len(value) == 1 and value[0].type == "ident":
        return value[0].lower_value
    return ""


def _is_gone(values: dict[str, Sequence[Any]]) -> bool:
    if _word(values.get("display", ())) == "none":
        return True
    if _word(values.get("content-visibility", ())) == "hidden":
        return True
    moving = MOVING_PROPERTIES & values.keys()
    if _is_transparent(values.get("opacity", ())):
        return not moving
    if _is_shrunk(values):
        return moving <= {"transform"}
    return _is_cut_off(values) or _is_far_out(values)


def _is_far_out(values: dict[str, Sequence[Any]]) -> bool:
    if _pixels(values.get("text-indent", ())) <= _FAR:
        return True
    if _word(values.get("position", ())) not in _MOVABLE:
        return False
    return any(_pixels(values.get(side, ())) <= _FAR for side in _SIDES)


def _is_shrunk(values: dict[str, Sequence[Any]]) -> bool:
    """Is the box of no size, and hides what flows over?"""
    transform = values.get("transform", ())
    if any(_is_scale_of_nothing(token) for token in transform):
        return True
    if not any(_clips(values.get(name, ())) for name in ("overflow", "overflow-y")):
        return False
    room = [values[name] for name in _ROOM if name in values]
    if not all(map(_is_nothing, room)):
        return False
    return any(_is_nothing(values.get(name, ())) for name in ("height", "max-height"))


def _clips(value: Sequence[Any]) -> bool:
    return any(
        token.type == "ident" and token.lower_value in ("hidden", "clip")
        for token in value
    )


def _is_nothing(value: Sequence[Any]) -> bool:
    return bool(value) and all(
        token.type in ("number", "dimension") and token.value == 0 for token in value
    )


def _is_scale_of_nothing(token: Any) -> bool:
    if token.type != "function" or token.lower_name not in _SCALES:
        return False
    sizes = [each.value for each in token.arguments if each.type == "number"]
    return 0 in sizes


def _is_cut_off(values: dict[str, Sequence[Any]]) -> bool:
    """Is nothing left of the box by `clip-path: inset(50%)`, or by `clip: rect(1px, 1px, 1px, 1px)`?"""
    insets = _arguments(values.get("clip-path", ()), "inset")
    if insets and all(
        each.type == "percentage" and each.value >= 50 for each in insets
    ):
        return True
    if _word(values.get("position", ())) not in ("absolute", "fixed"):
        return False
    edges = _arguments(values.get("clip", ()), "rect")
    return len(edges) == 4 and len({each.value for each in edges}) == 1


def _arguments(value: Sequence[Any], function: str) -> list[Any]:
    """Return the lengths in the arguments of a function that is the value."""
    if not value or value[0].type != "function":
        return []
    if value[0].lower_name != function:
        return []
    return [each for each in value[0].arguments if each.type in _LENGTHS]


def _is_transparent(value: Sequence[Any]) -> bool:
    if not value or value[0].type not in ("number", "percentage"):
        return False
    return value[0].value <= 0


def _pixels(value: Sequence[Any]) -> float:
    if not value or value[0].type != "dimension":
        return 0
    return value[0].value * _PIXELS.get(value[0].lower_unit, 0)


def _visibility(value: Sequence[Any]) -> bool | None:
    word = _word(value)
    if word in ("hidden", "collapse"):
        return False
    if word in ("visible", "initial"):
        return True
    return None


def _has_size(values: dict[str, Sequence[Any]]) -> bool | None:
    """Return whether the later of `font-size` and `font` gives letters a size."""
    sized: bool | None = None
    for name, value in values.items():
        if name == "font-size":
            sized = _size(value[0], sized)
        elif name == "font":
            sized = _size_in_shorthand(value, sized)
    return sized


def _size(token: Any, before: bool | None) -> bool | None:
    if token.type == "ident":
        return True if token.lower_value in _SIZE_WORDS else before
    if token.type == "percentage":
        return False if token.value == 0 else before
    if token.type == "number":
        return False if token.value == 0 else before  # without a unit: no value
    if token.type == "dimension":
        if token.value == 0:
            return False
        return before if token.lower_unit in _RELATIVE_UNITS else True
    return before


def _size_in_shorthand(value: Sequence[Any], before: bool | None) -> bool | None:
    """Return the size in `font`: the first length; a number is a weight unless it is 0."""
    for token in value:
        if token.type in ("dimension", "percentage"):
            return _size(token, before)
        if token.type == "number" and token.value == 0:
            return False
        if token.type == "ident" and token.lower_value in _SIZE_WORDS - {"initial"}:
            return True
    return before
