"""Times of an event: RFC 3339 text or a number since 1970, as epoch milliseconds UTC."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from ingest.decode.fields import digits_as_number, invalid

# Milliseconds of 0001-01-02 and 9999-12-31: both Python and PostgreSQL can store these in any time zone.
_MIN_MS, _MAX_MS = -62_135_510_400_000, 253_402_214_400_000
# A record's time may be this far ahead of the consumer's clock; one that is further ahead is no version.
RECORD_TIME_TOLERANCE_MS = 86_400_000
_FIRST_SECOND = 1_000_000_000  # 2001-09-09
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_MICROSECOND = timedelta(microseconds=1)
_MAX_TIME_CHARACTERS = 80
_MAX_EPOCH_DIGITS = 20  # nanoseconds until the year 5138
_LONGEST_DATE = len("2024-05-01")
_SEPARATORS = frozenset(
    "Tt _"
)  # after 2024-05-01, 20240501, 2024-W18-3, 2024W183, 2024W18

# `datetime.fromisoformat` reads the text; these two expressions mend what it refuses.
# PostgreSQL and most libraries have no leap second either, so it becomes the second before it.
_LEAP_SECOND = re.compile(r"([T _]\d\d:?\d\d:?)60", re.ASCII)
_SPACED_ZONE = re.compile(r"\s+(?=(?:Z|UTC|[+-][0-9:.]+)$)")


def time_ms(value: Any) -> int | None:
    """A time as epoch milliseconds UTC.

    Args:
        value: ISO 8601 text as RFC 3339 has it, with a fraction of any length; or a number of seconds, milliseconds,
            microseconds or nanoseconds since 1970, whose size says which. A text without an offset is in UTC.

    Returns:
        None where the time is absent, malformed or outside what can be stored. Fractions of a millisecond are cut off.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return _epoch_ms(value)
    if isinstance(value, str):
        return _text_ms(value)
    return None


def record_time_ms(value: int | None) -> int | None:
    """A Kafka record's time in milliseconds; some producers write seconds, microseconds or nanoseconds.

    Args:
        value: since 1970; its size says in which unit, as in `time_ms`. Milliseconds from 1973 on stay as they are, and
            so do those of the first days of 1970 (below 10^9), which are no seconds of this century.

    Returns:
        None where the record has no time, or one before 1970.
    """
    if value is None or value < 0:
        return None
    if value < _FIRST_SECOND:
        return value
    return _epoch_ms(value)


def is_ahead(record_ms: int | None, now_ms: int) -> bool:
    """Whether a record's time lies so far in the future that it is no version, and orders nothing."""
    return record_ms is not None and record_ms > now_ms + RECORD_TIME_TOLERANCE_MS


def time_us(text: str) -> int | None:
    """A text that `time_ms` reads, as epoch microseconds UTC; None: it is no time, or one before 1970."""
    since_epoch = _since_epoch(text)
    if since_epoch is None or since_epoch < timedelta():
        return None
    return since_epoch // _MICROSECOND


def _text_ms(text: str) -> int | None:
    since_epoch = _since_epoch(text)
    if since_epoch is None:
        return None
    # Whole numbers all the way: `timestamp() * 1000` is off by one for some milliseconds.
    return _storable(since_epoch // _MILLISECOND)


def _since_epoch(text: str) -> timedelta | None:
    moment = _parse(text)
    if moment is None:
        normalised = _normalised(text)
        moment = _parse(normalised)
    if moment is None:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment - _EPOCH


def _parse(text: str) -> datetime | None:
    # `fromisoformat` takes any character between date and time: it reads the epoch milliseconds
    # "1700010112345" as 23:45 of a day in 1700.
    if len(text) > _LONGEST_DATE and _SEPARATORS.isdisjoint(text[7:11]):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _normalised(text: str) -> str:
    """What `fromisoformat` refuses and senders write: leap seconds, spaces before the zone, `UTC`, a small `z`."""
    text = text.strip().upper()
    if len(text) > _MAX_TIME_CHARACTERS:
        return ""  # the zone is at the end: without it, it would be another time
    text = _LEAP_SECOND.sub(r"\g<1>59", text)
    text = _SPACED_ZONE.sub("", text)
    if text.endswith("UTC"):
        return text.removesuffix("UTC") + "Z"
    return text


def _epoch_ms(value: float) -> int | None:
    # Seconds reach the year 5138 below 1e11, where milliseconds are in 1973; likewise for the finer units.
    size = abs(value)
    if size < 1e11:
        return _storable(int(value * 1000))
    if size < 1e14:
        return _storable(int(value))
    if size < 1e17:
        return _storable(int(value // 1_000))
    if size < 1e20:
        return _storable(int(value // 1_000_000))
    return None  # also for NaN, which is not smaller than anything


def _storable(milliseconds: int) -> int | None:
    if _MIN_MS <= milliseconds <= _MAX_MS:
        return milliseconds
    return None


def number_or_text(value: str | None) -> Any:
    """A time of a header: since 1970 it is a number in JSON, and digits in a header."""
    if value is None:
        return None
    number = digits_as_number(value, _MAX_EPOCH_DIGITS)
    if number is None:
        return value
    return number


def expiry_ms(value: Any) -> int | None:
    """Like `time_ms`, but a time that cannot be read is an error: without it the document would never expire.

    Raises:
        FieldError: the value is present and cannot be read.
    """
    if value is None or value == "":
        return None
    moment = time_ms(value)
    if moment is None:
        raise invalid(
            "expires_at",
            value,
            "a time such as 2026-01-31T12:00:00Z, or epoch milliseconds",
        )
    return moment
