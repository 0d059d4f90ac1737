"""Field by field: what an event's id, version, time, text and metadata may be, and how far they are repaired.

Repairs never touch an id (two ids could become one) and never guess an access list or an expiry; they may touch titles,
contents and metadata, where one bad byte should cost a character and not the document.
"""

import math
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from corpus.dead_letter import DeadLetterReason
from corpus.source import VersionRule
from ingest.event import KafkaRecord

MAX_ID_BYTES = 1_000  # fits a btree row and a Temporal id
MAX_TITLE = 1_000  # characters; a longer title is cut
MAX_URI = 8_192  # characters; a longer uri is left out, since half an address is none
MAX_METADATA_DEPTH = 256
MAX_ACL = 1_000  # entries
_BIGINT = 2**63
# Milliseconds of 0001-01-02 and 9999-12-31: what both Python and PostgreSQL can store in any time zone.
_MIN_MS, _MAX_MS = -62_135_510_400_000, 253_402_214_400_000

_SURROGATE = re.compile("[\ud800-\udfff]")
_NOT_IN_ID = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_INVISIBLE = re.compile(
    "[\\s\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff]+"
)
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[Tt _](\d\d):?(\d\d)(?::?(\d\d)(?:[.,](\d{1,12}))?)?\s*(Z|z|UTC|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)


class FieldError(Exception):
    """A field cannot be used; becomes the dead letter's reason and detail."""

    def __init__(self, reason: DeadLetterReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def invalid(name: str, value: Any, wanted: str) -> FieldError:
    """A FieldError that names field, value and what is allowed."""
    return FieldError(
        DeadLetterReason.INVALID_FIELD, f"{name} is {shown(value)}; it must be {wanted}"
    )


def shown(value: Any, limit: int = 60) -> str:
    """A value on one line, cut short, safe to log and to store."""
    # repr escapes control characters and lone surrogates
    text = (
        repr(value[: limit * 4])
        if isinstance(value, (str, bytes))
        else f"{value!r:.200}"
        if isinstance(value, (int, float))
        else repr(value)[:200]
    )
    return text if len(text) <= limit else text[: limit - 2] + "…" + text[-1]


def repair(text: str) -> str:
    """Join surrogate pairs, put U+FFFD for lone halves and undecodable bytes, drop NUL (PostgreSQL has none)."""
    if "\x00" in text:
        text = text.replace("\x00", "")
    if _SURROGATE.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def document_id(value: Any) -> str:
    """An id as it is: opaque, case- and space-sensitive.

    Raises:
        FieldError: it is no text, blank, too long, or has control characters or broken Unicode.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise FieldError(DeadLetterReason.INVALID_ID, f"id is {shown(value)}; it must be text")
    if bad := _NOT_IN_ID.search(value):
        raise FieldError(
            DeadLetterReason.INVALID_ID,
            f"id {shown(value)} has the character U+{ord(bad[0]):04X}, a control character or half of one",
        )
    if not _INVISIBLE.sub("", value):
        raise FieldError(DeadLetterReason.INVALID_ID, f"id {shown(value)} is blank")
    if len(value) > MAX_ID_BYTES // 4 and len(value.encode()) > MAX_ID_BYTES:
        raise FieldError(
            DeadLetterReason.INVALID_ID,
            f"id {shown(value)} has {len(value.encode()):,} bytes; at most {MAX_ID_BYTES:,} are allowed",
        )
    return value


def key_as_id(key: bytes | None) -> str:
    """The Kafka key as a document id.

    Raises:
        FieldError: there is no key, or it is no id.
    """
    if key is None:
        raise FieldError(
            DeadLetterReason.INVALID_ID, "no id, and the record has no key to take its place"
        )
    try:
        return document_id(key.decode("utf-8"))
    except UnicodeDecodeError:
        raise FieldError(
            DeadLetterReason.INVALID_ID, f"the key {shown(key)} stands for the id and is not UTF-8"
        ) from None


def version(value: Any) -> int | None:
    """An event's own version; None where it has none.

    Raises:
        FieldError: it is no whole number from 0 to 2^63-1.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str) and len(value) <= 19 and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _BIGINT:
        raise invalid("version", value, "a whole number from 0 to 2^63-1")
    return value


def record_version(record: KafkaRecord) -> int:
    """A version from the record: `timestamp_ms * 2^20 + offset % 2^20`, in a bigint until the year 2248.

    Time first, since a document may move to another partition (more partitions, another key) where offsets start anew; the
    offset orders what one millisecond holds. Two records of one document in one millisecond compare wrongly only where the
    offset passes a multiple of 1,048,576 between them. A record without a timestamp counts as older than all that have one.
    """
    if record.timestamp_ms is None or record.timestamp_ms < 0:
        return record.offset
    return min(record.timestamp_ms * 2**20 + record.offset % 2**20, _BIGINT - 1)


def effective_version(
    own: int | None, record: KafkaRecord, rule: VersionRule, *, relative: bool
) -> int | None:
    """The version by the source's rule. `relative`: a delete that names none acts on what is there (None)."""
    if rule is VersionRule.OFFSET:
        return record.offset
    if rule is VersionRule.RECORD:
        return record_version(record)
    if own is not None:
        return own
    return None if relative else record_version(record)


def time_ms(value: Any) -> int | None:
    """A time as epoch milliseconds UTC: RFC 3339 with any fraction, or epoch seconds, milliseconds, micro- or nanoseconds.

    None where it is absent, malformed or outside what can be stored. A time without an offset is UTC.
    """
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, (int, float)):
        return _epoch_ms(value)
    if not isinstance(value, str):
        return None
    if len(value) == 20 and value[10] == "T" and value[19] == "Z":  # nearly all of them
        try:
            return int(datetime.fromisoformat(value).timestamp() * 1000)
        except (ValueError, OverflowError):
            pass
    found = _TIME.fullmatch(value.strip()[:80])
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    try:
        moment = datetime(
            int(year),
            int(month),
            int(day),
            int(hour or 0),
            int(minute or 0),
            min(int(second or 0), 59),
            tzinfo=UTC,
        )
        milliseconds = int(
            (moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1)
        ) - _offset_ms(zone)
    except (ValueError, OverflowError):
        return None
    return _storable(milliseconds + int(f"{fraction or 0:0<3}"[:3]))


def _offset_ms(zone: str | None) -> int:
    if zone is None or zone[0] not in "+-":
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    offset = timezone(timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))).utcoffset(None)
    return int(offset.total_seconds()) * 1000 * (1 if zone[0] == "+" else -1)


def _epoch_ms(value: int | float) -> int | None:
    # Seconds reach the year 5138 below 1e11; milliseconds start in 1973 there; likewise for the finer units.
    size = abs(value)
    if not size < 1e20:
        return None
    if size < 1e11:
        return _storable(int(value * 1000))
    if size < 1e14:
        return _storable(int(value))
    return _storable(int(value // 1_000 if size < 1e17 else value // 1_000_000))


def _storable(milliseconds: int) -> int | None:
    return milliseconds if _MIN_MS <= milliseconds <= _MAX_MS else None


def expiry_ms(value: Any) -> int | None:
    """Like `time_ms`, but a time that cannot be read is an error: without it the document would never expire.

    Raises:
        FieldError: it is there and cannot be read.
    """
    if value is None or value == "":
        return None
    moment = time_ms(value)
    if moment is None:
        raise invalid(
            "expires_at", value, "a time such as 2026-01-31T12:00:00Z, or epoch milliseconds"
        )
    return moment


def optional_text(name: str, value: Any) -> str | None:
    """An optional text field.

    Raises:
        FieldError: it is there and no text.
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
    text = repair(
        _CONTROLS.sub(" ", text[: MAX_TITLE * 4])
        if len(text) > MAX_TITLE or not text.isprintable()
        else text
    ).strip()
    return (text if len(text) <= MAX_TITLE else text[: MAX_TITLE - 1] + "…") or None


def uri(value: Any) -> str | None:
    """A uri for citation: kept as text, never parsed, fetched or opened."""
    text = optional_text("uri", value)
    if text is None or len(text) > MAX_URI:
        return None
    return repair(text if text.isprintable() else _CONTROLS.sub("", text)).strip() or None


def content_type(value: Any) -> str | None:
    """A media type in lower case without parameters."""
    text = optional_text("content_type", value)
    if text is None:
        return None
    return repair(_CONTROLS.sub("", text.partition(";")[0])).strip().lower()[:200] or None


def acl(value: Any) -> tuple[str, ...] | None:
    """Who may read; refused when malformed, since guessing would show a document to the wrong people.

    Raises:
        FieldError: it is there and no list of texts.
    """
    if value is None:
        return None
    if (
        not isinstance(value, list)
        or len(value) > MAX_ACL
        or not all(isinstance(name, str) and name and not _NOT_IN_ID.search(name) for name in value)
    ):
        raise invalid("acl", value, f"a list of at most {MAX_ACL} names")
    return tuple(value)


def metadata(value: Any) -> dict[str, Any]:
    """Metadata that PostgreSQL can store as jsonb: repaired keys and texts, no endless nesting, no endless numbers.

    Raises:
        FieldError: it is there and no object, or nested too deeply.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid("metadata", value, "an object")
    return _storable_json(value, 0)


def _storable_json(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return repair(value)
    if depth > MAX_METADATA_DEPTH:
        raise FieldError(
            DeadLetterReason.INVALID_FIELD,
            f"metadata is nested more than {MAX_METADATA_DEPTH} levels deep",
        )
    if isinstance(value, dict):
        return {repair(key): _storable_json(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_storable_json(item, depth + 1) for item in value]
    # Beyond 64 bits readers disagree about numbers (JavaScript, Polars, Go); as text they survive.
    if isinstance(value, int) and not -_BIGINT <= value < _BIGINT:
        return hex(value) if value.bit_length() > 4_000 else str(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise invalid("a number in metadata", value, "finite")
    return value
