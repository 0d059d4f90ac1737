"""JSON by Python's parser, for what the fast parser refuses: bad bytes, repeated names, a message that says where."""

import json
import re
from collections import Counter
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any, cast

from corpus.dead_letter import DeadLetterReason, Quoting
from ingest.decode.fields import FieldError, shown

_Pairs = list[tuple[str, Any]]
# A field's name may be written with escapes; serialisers do not escape letters and digits, so this is rare in a text.
_ESCAPE = b"\\u00"
_ESCAPED_NAME = re.compile(
    rb"\\u00(?:2d|3[0-9]|4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9a])",
    re.IGNORECASE,
)
# Names that are found by these two; any other may be written in several ways.
_PLAIN_NAME = re.compile(r"[\w-]*", re.ASCII)


def may_repeat(value: bytes, names: tuple[str, ...]) -> bool:
    """Whether an object may have one of these names twice; `load_object` knows, and takes longer."""
    if not names:
        return False
    pattern = _any_of(names)
    if pattern is None:
        return True
    found = pattern.findall(value)
    if len(set(found)) < len(found):
        return True
    return _ESCAPE in value and bool(_ESCAPED_NAME.search(value))


@lru_cache(maxsize=1_024)
def _any_of(names: tuple[str, ...]) -> re.Pattern[bytes] | None:
    """The names as nearly every serialiser writes them, in one look; None: one of them may be written otherwise.

    Two names never share a quotation mark in JSON, so that no name hides another.
    """
    if not all(map(_PLAIN_NAME.fullmatch, names)):
        return None
    return re.compile(f'"(?:{"|".join(names)})"'.encode())


def load_json(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        FieldError: it is not JSON; the message names the character and its surroundings.
        RecursionError: it is nested too deeply.
    """
    return _load(text, None)


def load_object(
    text: str,
    unrepeated: Collection[str],
) -> dict[str, Any]:
    """The object of a JSON text. Of a repeated name the last value counts, as in most parsers.

    Args:
        text: the JSON.
        unrepeated: names that no object in it may have twice, however deep it is.

    Raises:
        FieldError: it is not a JSON object, or an object has one of these names twice.
        RecursionError: it is nested too deeply.
    """

    def once(pairs: _Pairs) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) < len(pairs):
            _refuse_repeated(pairs, unrepeated)
        return fields

    value = _load(text, once)
    if not isinstance(value, dict):
        raise _not_decodable(Quoting.NO_OBJECT.detail(value=shown(value)))
    return cast("dict[str, Any]", value)


def _refuse_repeated(pairs: _Pairs, unrepeated: Collection[str]) -> None:
    counts = Counter(name for name, _ in pairs)
    for name in unrepeated:
        if counts[name] > 1:
            raise _not_decodable(
                f"the field {name} appears {counts[name]} times in the event; "
                "which one counts is not guessed"
            )


def json_bytes_of_text(value: bytes) -> bytes:
    """The JSON inside a JSON text; the value as it is where it is none."""
    try:
        inner = json.loads(value)
    except (ValueError, RecursionError):
        return value
    if not isinstance(inner, str):
        return value
    return inner.encode("utf-8", "surrogatepass")


def _load(
    text: str,
    hook: Callable[[_Pairs], Any] | None,
) -> Any:
    try:
        return json.loads(text, object_pairs_hook=hook, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        around = text[max(error.pos - 10, 0) : error.pos + 20]
        detail = Quoting.NO_JSON.detail(
            words=error.msg, number=str(error.pos), value=shown(around)
        )
        raise _not_decodable(detail) from None
    except ValueError:
        raise _not_decodable(
            "the JSON cannot be read: a number has too many digits"
        ) from None


def _refuse_constant(name: str) -> None:
    raise _not_decodable(f"not JSON: {name} is not a JSON number")


def _not_decodable(detail: str) -> FieldError:
    return FieldError(DeadLetterReason.NOT_DECODABLE, detail)
