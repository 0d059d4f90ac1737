"""What the values of a field look like: a time, an address, a file; whether they may be what a document's field is."""

import re
from typing import Any, cast

from ingest.decode.fields import digits_as_number
from ingest.decode.times import time_ms
from ingest.trial.facts import Facts, holds_file

_MEDIA_TYPE = re.compile(r"[a-z]+/[a-z0-9.+-]+(\s*;.*)?", re.I)
_LANGUAGE = re.compile(r"[a-z]{2,3}([-_][A-Za-z0-9]{2,8})*")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.I)
_PLACEHOLDER = "__debezium_unavailable_value"
_MAX_VERSION = 2**63
_MAX_METADATA_CHARACTERS = 100
_SECOND_OF_2001 = 978_307_200_000  # epoch milliseconds
_SECOND_OF_2100 = 4_102_444_800_000


def is_version(facts: Facts) -> bool:
    """Whether it may be a version: a whole number in each record."""
    if facts.nulls or not facts.values:
        return False
    return all(_is_count(value) for value in facts.values)


def _is_count(value: Any) -> bool:
    if isinstance(value, str):
        value = digits_as_number(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return False
    return 0 <= value < _MAX_VERSION


def is_time(facts: Facts) -> bool:
    """Whether its values are times of this century."""
    if not facts.values:
        return False
    return all(_is_moment(value) for value in facts.values)


def _is_moment(
    value: Any,
) -> bool:
    if isinstance(value, str) and value.isdecimal():
        return False
    moment = time_ms(value)
    return moment is not None and _SECOND_OF_2001 <= moment <= _SECOND_OF_2100


def is_media_type(facts: Facts) -> bool:
    """Whether its values are media types."""
    return facts.is_text and all(map(_MEDIA_TYPE.fullmatch, facts.texts))


def is_title(facts: Facts) -> bool:
    """Whether it may be a title."""
    return facts.is_text and not is_time(facts)


def is_address(facts: Facts) -> bool:
    """Whether its values are addresses."""
    return facts.is_text and all(map(_ADDRESS.fullmatch, facts.texts))


def is_language(facts: Facts) -> bool:
    """Whether its values are languages."""
    return facts.is_text and all(map(_LANGUAGE.fullmatch, facts.texts))


def is_groups(facts: Facts) -> bool:
    """Whether its values are lists of texts."""
    if set(facts.kinds) != {"list"}:
        return False
    for value in facts.values:
        members = cast("list[Any]", value)
        if not all(isinstance(member, str) for member in members):
            return False
    return True


def holds_files(facts: Facts) -> bool:
    """Whether its values are files in Base64."""
    texts = [text for text in facts.texts if text != _PLACEHOLDER]
    return bool(texts) and facts.is_text and all(map(holds_file, texts))


def is_short(
    facts: Facts,
) -> bool:
    """Whether it may be metadata: one short value, at the top of the record."""
    if facts.depth > 1 or not facts.values:
        return False
    if not set(facts.kinds) <= {"str", "int", "float", "bool"}:
        return False
    return facts.length <= _MAX_METADATA_CHARACTERS
