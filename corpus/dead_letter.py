"""Why an event cannot be used; the dead letter keeps this reason with the event's original bytes.

A dead letter's detail may quote what the event holds. The quote stays in the database: `without_quote` is what a header
of the dead-letter topic, and an answer to another team, says.
"""

import re
from collections.abc import Mapping
from enum import StrEnum


class DeadLetterReason(StrEnum):
    """Why an event cannot be used. Values are stored and shown; they do not change."""

    NOT_DECODABLE = "not_decodable"  # the value does not match the topic's format
    INVALID_FIELD = "invalid_field"  # a field is missing or has a wrong type or value
    INVALID_ID = "invalid_id"  # no usable document id
    # The version would be the record's time or offset, and that is no version: a time in the future, or an offset of
    # an earlier log of the topic.
    NO_VERSION = "no_version"
    VERSION_BEYOND_SCALE = (
        "version_beyond_scale"  # far beyond, or far below, the others of its source
    )
    TWO_SCALES = "two_scales"  # a version of an event meets one made of a record
    # Larger than `max_document_bytes`; or larger than a record that is kept, then without its bytes.
    TOO_LARGE = "too_large"
    NOT_READ = "not_read"  # passed by an operator, without its bytes; see `freshet source skip`
    # A change leaves a large column out since it did not change, and no earlier version is there to take it from.
    UNAVAILABLE_COLUMN = "unavailable_column"
    # The same, and what it is to be taken from is in a partition that is behind; it is tried again by itself.
    COLUMN_WAITS = "column_waits"
    FETCH_FAILED = "fetch_failed"  # what the event points to cannot be fetched
    FETCH_REFUSED = "fetch_refused"  # it points to what its source does not allow
    FETCH_WAITS = "fetch_waits"  # it cannot be fetched now; it is tried again by itself
    TOO_MANY_CHUNKS = "too_many_chunks"  # more than `max_chunks`
    UNSUPPORTED_CONTENT = "unsupported_content"  # no text: unknown media type, binary
    SCANNED = "scanned"  # pictures whose text is not recognised, or cannot be
    ENCRYPTED = "encrypted"  # a file that needs a password
    DAMAGED_FILE = "damaged_file"  # no library can read the file
    CLEANING_FAILED = "cleaning_failed"  # the cleaner failed
    NO_TEXT_LEFT = "no_text_left"  # cleaning dropped all of its readable text
    CLEANING_TIMEOUT = (
        "cleaning_timeout"  # the cleaner took longer than `clean_timeout`
    )
    NOT_EMBEDDABLE = (
        "not_embeddable"  # the model makes no usable vector of a text of it
    )
    NOT_STORABLE = "not_storable"  # PostgreSQL refuses a value of it, or its size


class Quoting(StrEnum):
    """Details that quote, with `{value}` for the quote; the one that any other could be taken for is the last."""

    NO_OBJECT = "the value is {value}, not a JSON object"
    NO_JSON = "not JSON: {words} at character {number}: {value}"
    OTHER_FORMAT = "the value is {words}, not {wanted}; it starts with {value}"
    CHARSET = "the charset {value} is refused, as browsers refuse it; send UTF-8"
    CONTENT_TYPE = 'content type {value} is not text; send text, or set unknown_content_type = "text"'
    ID_CHARACTER = "id {value} has the character U+{hex}, a control character or half of a surrogate pair"
    ID_BLANK = "id {value} is blank"
    ID_SIZE = "id {value} has {number} bytes; at most {limit} are allowed"
    KEY = "the key {value} is used as the id and is not UTF-8"
    LEFT_OUT = (
        "Debezium left out what did not change in {value}, and only format debezium completes whole columns from the "
        "version before; have the connector send the whole row (REPLICA IDENTITY FULL)"
    )
    FIELD = "{name} is {value}; it must be {wanted}"

    def detail(self, **parts: str) -> str:
        """The detail in words."""
        return self.value.format(**parts)


_ANY = {"value": ".*", "number": "[0-9,]+", "limit": "[0-9,]+", "hex": "[0-9A-F]+"}
_WORDS = ".*?"


def _pattern(template: str) -> re.Pattern[str]:
    """What details of a template match: the quote takes as much as it can, the other parts as little."""
    pieces = re.split(r"\{(\w+)\}", template)
    pattern = ""
    for number, piece in enumerate(pieces):
        is_name = number % 2 == 1
        if is_name:
            pattern += f"(?P<{piece}>{_ANY.get(piece, _WORDS)})"
        else:
            pattern += re.escape(piece)
    return re.compile(pattern, re.DOTALL)


_PATTERNS: Mapping[Quoting, re.Pattern[str]] = {
    quoting: _pattern(quoting.value) for quoting in Quoting
}


# Before the detail of a key or a value that cannot be read by its schema.
_BY_SCHEMA = re.compile(r"the (?:key|value) cannot be read by schema [0-9a-f-]+: ")


def by_schema(
    part: str,
    schema: int | str,
    detail: str,
) -> str:
    """A detail with the schema by which a key or a value cannot be read.

    Args:
        part: "key" or "value".
        schema: its number or its GUID.
        detail: why not, in words of `Quoting` where it quotes.
    """
    return f"the {part} cannot be read by schema {schema}: {detail}"


def without_quote(detail: str) -> str:
    """A dead letter's detail for readers outside the database: what it quotes of the event is left out."""
    behind = _BY_SCHEMA.sub("", detail, count=1)
    before = detail.removesuffix(behind)
    return before + _unquoted(behind)


def _unquoted(detail: str) -> str:
    for quoting, pattern in _PATTERNS.items():
        match = pattern.fullmatch(detail)
        if match is not None:
            parts = match.groupdict() | {"value": "(a value)"}
            return quoting.detail(**parts)
    return detail
