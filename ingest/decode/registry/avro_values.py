"""Avro's logical types as plain JSON values, of which none loses a digit.

- `decimal` is a text in plain notation, with all digits of its scale: "12.50".
- `timestamp-*` is a text in UTC ("2026-11-26T12:00:00.123Z"), `local-timestamp-*` the same without a zone.
- `date`, `time-*`: "2026-11-26", "12:00:00.123".
- A time outside the years 1 to 9999 stays the number that it is.
- `uuid` is a text; `duration` is one as ISO 8601 has it: "P1M2DT3.004S".
"""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from fastavro import _read_py, read

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - the zone is written by hand
_FIRST_DAY = date(1970, 1, 1)
# Digits behind the second, by the last word of a logical type.
_DIGITS = {"millis": 3, "micros": 6, "nanos": 9}
_DAY_SECONDS = 86_400
_MAX_SCALE = 1_000

LogicalReader = Callable[..., Any]


def install() -> None:
    """Have fastavro read logical types so, in its C code and in its Python code."""
    modules: tuple[Any, ...] = (read, _read_py)
    for module in modules:
        module.LOGICAL_READERS.update(_readers())


def _readers() -> dict[str, LogicalReader]:
    readers: dict[str, LogicalReader] = {
        "bytes-decimal": _decimal,
        "fixed-decimal": _decimal,
        "string-uuid": _as_it_is,
        "fixed-uuid": _uuid,
        "fixed-duration": _duration,
        "int-date": _date,
    }
    for word, digits in _DIGITS.items():
        readers[f"long-timestamp-{word}"] = _moment_reader(digits, "Z")
        readers[f"long-local-timestamp-{word}"] = _moment_reader(digits, "")
        readers[f"long-time-{word}"] = _time_reader(digits)
    readers["int-time-millis"] = _time_reader(3)
    return readers


# fastavro gives each the value, the schema that wrote it, and that of the reader.


def _decimal(value: bytes, schema: Any, *_: Any) -> str:
    return decimal_text(value, int(schema.get("scale", 0)))


def decimal_text(
    value: bytes,
    scale: int,
) -> str:
    """A decimal number with all of its digits.

    Args:
        value: the number without its point, of two's complement, the highest byte first.
        scale: digits behind the point.

    Raises:
        ValueError: the scale is that of no number, or the digits are more than Python writes.
    """
    if not 0 <= scale <= _MAX_SCALE:
        raise ValueError("a scale that no number has")
    unscaled = int.from_bytes(value, "big", signed=True)
    digits = str(abs(unscaled)).zfill(scale + 1)
    sign = "-" if unscaled < 0 else ""
    if scale == 0:
        return sign + digits
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}"


def _as_it_is(value: Any, *_: Any) -> Any:
    return value


def _uuid(value: bytes, *_: Any) -> str:
    return str(UUID(bytes=value))


def _duration(value: bytes, *_: Any) -> str:
    months, days, milliseconds = (
        int.from_bytes(value[start : start + 4], "little") for start in (0, 4, 8)
    )
    seconds, thousandths = divmod(milliseconds, 1_000)
    return f"P{months}M{days}DT{seconds}.{thousandths:03d}S"


def _date(value: int, *_: Any) -> Any:
    try:
        return (_FIRST_DAY + timedelta(days=value)).isoformat()
    except OverflowError:
        return value


def _moment_reader(
    digits: int,
    zone: str,
) -> LogicalReader:
    unit = 10**digits

    def read(value: int, *_: Any) -> Any:
        seconds, fraction = divmod(value, unit)
        try:
            moment = _EPOCH + timedelta(seconds=seconds)
        except OverflowError:
            return value
        return f"{moment.isoformat()}.{fraction:0{digits}d}{zone}"

    return read


def _time_reader(digits: int) -> LogicalReader:
    unit = 10**digits

    def read(value: int, *_: Any) -> Any:
        seconds, fraction = divmod(value, unit)
        if not 0 <= seconds < _DAY_SECONDS:
            return value
        minutes, second = divmod(seconds, 60)
        hour, minute = divmod(minutes, 60)
        return f"{hour:02d}:{minute:02d}:{second:02d}.{fraction:0{digits}d}"

    return read
