"""What an event's id, version, content and other fields may be, and how far each is repaired.

An id is never repaired, since two ids could become one, and an access list is never guessed. Titles, contents and
metadata are repaired: there, one bad byte should cost a character and not the document. Times are in `times.py`.
"""

import hashlib
import math
import re
from typing import Any, cast

from corpus import source
from corpus.dead_letter import DeadLetterReason, Quoting
from corpus.source import VersionRule
from ingest.event import KafkaRecord, Op

MAX_ID_BYTES = 1_000  # fits a btree row and a Temporal id
MAX_TITLE = 1_000  # characters; a longer title is cut
MAX_URI = 8_192  # characters; a longer uri is left out, since half an address is none
MAX_CONTENT_TYPE = 200  # characters; a longer media type is cut
MAX_METADATA_DEPTH = 256
MAX_ACL = 1_000  # entries
MAX_LANGUAGE = 60  # characters; more name no language, and are cut
_BIGINT = 2**63
_MAX_EXACT_FLOAT = 2**53  # above, neighbouring whole numbers are one float
MAX_BIGINT_DIGITS = 19
_MAX_DECIMAL_BITS = (
    4_000  # Python refuses to write longer integers in decimal (4,300 digits)
)

_SURROGATE = re.compile("[\ud800-\udfff]")
_NOT_IN_ID = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_INVISIBLE = re.compile(
    "[\\s\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f"
    "\u2028-\u202f\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff]+"
)
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class FieldError(Exception):
    """A field cannot be used; becomes the dead letter's reason and detail."""

    def __init__(self, reason: DeadLetterReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def invalid(name: str, value: Any, wanted: str) -> FieldError:
    """A FieldError that names the field, its value and what is allowed."""
    detail = Quoting.FIELD.detail(name=name, value=shown(value), wanted=wanted)
    return FieldError(DeadLetterReason.INVALID_FIELD, detail)


def _invalid_id(detail: str) -> FieldError:
    return FieldError(DeadLetterReason.INVALID_ID, detail)


def shown(value: Any, limit: int = 60) -> str:
    """A value on one line of at most `limit` characters, safe to log and to store."""
    if isinstance(value, (str, bytes)):
        value = value[
            : limit * 4
        ]  # the repr of a large content would be made only to be cut
    text = repr(value)  # escapes control characters and lone surrogates
    if len(text) <= limit:
        return text
    return text[: limit - 2] + "…" + text[-1]


def repair(text: str) -> str:
    """Join surrogate pairs, replace lone halves and undecodable bytes by U+FFFD, and drop NUL (PostgreSQL has none)."""
    if "\x00" in text:
        text = text.replace("\x00", "")
    if _SURROGATE.search(text):
        units = text.encode("utf-16-le", "surrogatepass")
        text = units.decode("utf-16-le", "replace")
    return text


# ── id, version, operation ──────────────────────────────────────────────────────────────────────────────────────────


def document_id(value: Any) -> str:
    """An id as it is: opaque, case-sensitive and space-sensitive. A whole number becomes its digits.

    Raises:
        FieldError: it is not text, blank, too long, or has control characters or broken Unicode.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        detail = Quoting.FIELD.detail(name="id", value=shown(value), wanted="text")
        raise _invalid_id(detail)
    if bad := _NOT_IN_ID.search(value):
        code = f"{ord(bad[0]):04X}"
        detail = Quoting.ID_CHARACTER.detail(value=shown(value), hex=code)
        raise _invalid_id(detail)
    if not _INVISIBLE.sub("", value):
        raise _invalid_id(Quoting.ID_BLANK.detail(value=shown(value)))
    # A character has at most four bytes: a short id need not be encoded to be measured.
    if len(value) > MAX_ID_BYTES // 4 and len(value.encode()) > MAX_ID_BYTES:
        size = f"{len(value.encode()):,}"
        limit = f"{MAX_ID_BYTES:,}"
        detail = Quoting.ID_SIZE.detail(value=shown(value), number=size, limit=limit)
        raise _invalid_id(detail)
    return value


def key_as_id(key: bytes | None) -> str:
    """The Kafka key as a document id.

    Raises:
        FieldError: there is no key, or it is not an id.
    """
    if key is None:
        raise _invalid_id(
            "the event has no id, and the record has no key to take its place"
        )
    try:
        return document_id(key.decode("utf-8"))
    except UnicodeDecodeError:
        raise _invalid_id(Quoting.KEY.detail(value=shown(key))) from None


def version(value: Any) -> int | None:
    """An event's own version; None where it has none.

    Raises:
        FieldError: it is not a whole number from 0 to 2^63-1.
    """
    if value is None or value == "":
        return None
    number = _whole_number(value)
    if number is None or not 0 <= number < _BIGINT:
        raise invalid("version", value, "a whole number from 0 to 2^63-1")
    return number


def _whole_number(value: Any) -> int | None:
    """Numbers of JSON, `3.0` included, and digits as text; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str):
        return digits_as_number(value)
    if (
        isinstance(value, float)
        and value.is_integer()
        and abs(value) < _MAX_EXACT_FLOAT
    ):
        return int(value)
    return None


def digits_as_number(text: str, max_digits: int = MAX_BIGINT_DIGITS) -> int | None:
    """A number of ASCII digits; None for any other text. `isdigit` alone takes a superscript.

    Args:
        text: of any length: senders write zeros in front, so that numbers are in order as texts are.
        max_digits: without these zeros; as many as a bigint may have. Where there are more, they are never cut.
    """
    if not (text.isascii() and text.isdigit()):
        return None
    if len(text) > max_digits:
        text = text.lstrip("0") or "0"
    if len(text) > max_digits:
        return None
    return int(text)


def record_version(record: KafkaRecord) -> int:
    """The version that a record gives an event that has none (`corpus.source.record_version`)."""
    return source.record_version(record.timestamp_ms, record.offset)


def effective_version(
    own: Any, record: KafkaRecord, rule: VersionRule, *, relative: bool
) -> int | None:
    """The version by the source's rule.

    Args:
        own: the event's own version as it came; it is read only where the rule says so.
        record: the record of the event.
        rule: the source's rule.
        relative: a delete that names no version has None; it deletes what was written before it.

    Raises:
        FieldError: `own` is read and is not a version.
    """
    if rule is VersionRule.OFFSET:
        return record.offset
    if rule is VersionRule.RECORD:
        return record_version(record)
    own_version = version(own)
    if own_version is None and not relative:
        return record_version(record)
    return own_version


def operation(value: Any) -> Op:
    """`upsert` (also where none is named) or `delete`, in upper or lower case.

    Raises:
        FieldError: it is neither.
    """
    if value is None:
        return Op.UPSERT
    if isinstance(value, str):
        name = value.strip().lower()
        if name in ("upsert", "delete"):
            return Op(name)
    raise invalid("op", value, "upsert or delete")


# ── content and what describes it ───────────────────────────────────────────────────────────────────────────────────


def content(value: Any) -> tuple[str | bytes, int, bytes]:
    """The text without NUL, and the size in bytes and the SHA-256 of its UTF-8 as received; a file as it is.

    Raises:
        FieldError: it is absent or not text.
    """
    if value is None:
        raise invalid(
            "content",
            value,
            "text for an upsert (it may be empty, but not absent)",
        )
    if isinstance(value, bytes):
        return value, len(value), hashlib.sha256(value).digest()
    if not isinstance(value, str):
        raise invalid("content", value, "text")
    try:
        received = value.encode()
    except UnicodeEncodeError:
        value = repair(value)
        received = value.encode()
    if "\x00" in value:
        value = value.replace("\x00", "")
    return value, len(received), hashlib.sha256(received).digest()


def optional_text(name: str, value: Any) -> str | None:
    """An optional text field.

    Raises:
        FieldError: it is present and not text.
    """
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise invalid(name, value, "text")
    return value


def title(value: Any) -> str | None:
    """A title on one line, cut to MAX_TITLE characters."""
    text = optional_text("title", value)
    if text is None:
        return None
    if len(text) > MAX_TITLE or not text.isprintable():
        text = repair(_CONTROLS.sub(" ", text[: MAX_TITLE * 4]))
    text = text.strip()
    if len(text) > MAX_TITLE:
        text = text[: MAX_TITLE - 1] + "…"
    return text or None


def uri(value: Any) -> str | None:
    """A uri for citation: kept as text, never parsed, fetched or opened."""
    text = optional_text("uri", value)
    if text is None or len(text) > MAX_URI:
        return None
    if not text.isprintable():
        text = repair(_CONTROLS.sub("", text))
    return text.strip() or None


def content_type(value: Any) -> str | None:
    """A media type in lower case without parameters."""
    text = optional_text("content_type", value)
    if text is None:
        return None
    media_type = repair(_CONTROLS.sub("", text.partition(";")[0]))
    return media_type.strip().lower()[:MAX_CONTENT_TYPE] or None


def language(value: Any) -> str | None:
    """The name of a language on one line, whatever came: the preparation says whether it is one, and counts it."""
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        return shown(value, MAX_LANGUAGE)
    text = repair(_CONTROLS.sub(" ", value[: MAX_LANGUAGE * 4]))
    return text.strip()[:MAX_LANGUAGE] or None


def acl(value: Any) -> tuple[str, ...] | None:
    """Who may read. A malformed list is refused, since a guess would show a document to the wrong people.

    Raises:
        FieldError: it is present and not a list of texts.
    """
    if value is None:
        return None
    wanted = f"a list of at most {MAX_ACL} names"
    if not isinstance(value, list):
        raise invalid("acl", value, wanted)
    names = cast("list[Any]", value)
    if len(names) > MAX_ACL or not all(map(_is_reader, names)):
        raise invalid("acl", names, wanted)
    return tuple(names)


def _is_reader(name: Any) -> bool:
    return isinstance(name, str) and name != "" and not _NOT_IN_ID.search(name)


def metadata(value: Any) -> dict[str, Any]:
    """Metadata that PostgreSQL can store as jsonb: keys and texts repaired, depth and numbers bounded.

    Raises:
        FieldError: it is present and not an object, is nested too deeply, or has a number that is not finite.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid("metadata", value, "an object")
    return _storable_object(cast("dict[str, Any]", value), 0)


def _storable_object(value: dict[str, Any], depth: int) -> dict[str, Any]:
    if depth >= MAX_METADATA_DEPTH:
        raise _too_deep()
    return {repair(key): _storable_json(item, depth + 1) for key, item in value.items()}


def _storable_json(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return repair(value)
    if isinstance(value, dict):
        return _storable_object(cast("dict[str, Any]", value), depth)
    if isinstance(value, list):
        if depth >= MAX_METADATA_DEPTH:
            raise _too_deep()
        return [_storable_json(item, depth + 1) for item in cast("list[Any]", value)]
    return _storable_number(value)


def _storable_number(value: Any) -> Any:
    # Readers disagree about numbers beyond 64 bits (JavaScript, Polars, Go); as text they survive.
    if isinstance(value, int) and value.bit_length() > _MAX_DECIMAL_BITS:
        return hex(value)
    if isinstance(value, int) and not -_BIGINT <= value < _BIGINT:
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise invalid("a number in metadata", value, "finite")
    return value


def _too_deep() -> FieldError:
    return FieldError(
        DeadLetterReason.INVALID_FIELD,
        f"metadata is nested more than {MAX_METADATA_DEPTH} levels deep",
    )
