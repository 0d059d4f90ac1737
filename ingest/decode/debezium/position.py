"""The version of a row out of what Debezium says of its source: a position in the log of the database, or a time."""

from collections.abc import Callable, Mapping
from typing import Any

from ingest.decode.fields import digits_as_number

_DIGITS = "0123456789"
_POSITION_BITS = 32  # of a place in a binary log file
_MAX_POSITION = 2**_POSITION_BITS
_ORDINAL_BITS = 32  # of an operation in a second of MongoDB's log
_MAX_VERSION = 2**63

Source = Mapping[str, Any]


def version_of(choice: str, source: Source) -> int | None:
    """The version of a change; None where the source does not say it, and the record's counts.

    Args:
        choice: "auto", or a name of `DebeziumSpec.version`.
        source: of the change.
    """
    read = _VERSIONS.get(choice)
    if read is None:
        return None
    version = read(source)
    if version is None:
        return None
    if 0 <= version < _MAX_VERSION:
        return version
    return None


def _auto(source: Source) -> int | None:
    """By what the connector writes. Where it writes a position, a change without one has no version."""
    for name, read in _POSITIONS:
        if name in source:
            return read(source)
    return _microseconds(source)


def _lsn(source: Source) -> int | None:
    return _number(source.get("lsn"))


def _microseconds(source: Source) -> int | None:
    microseconds = _number(source.get("ts_us"))
    if microseconds is not None:
        return microseconds
    milliseconds = _milliseconds(source)
    if milliseconds is None:
        return None
    return milliseconds * 1_000


def _milliseconds(source: Source) -> int | None:
    return _number(source.get("ts_ms"))


def _binlog(source: Source) -> int | None:
    """The number of the file, then the position in it."""
    file_number = _file_number(source.get("file"))
    if file_number is None:
        return None
    position = _number(source.get("pos"))
    if position is None:
        return None
    if position >= _MAX_POSITION:
        return None
    return (file_number << _POSITION_BITS) + position


def _file_number(file_name: Any) -> int | None:
    """The digits at the end of a name, which may be of any length: no regular expression looks for them."""
    if not isinstance(file_name, str):
        return None
    before = file_name.rstrip(_DIGITS)
    return digits_as_number(file_name[len(before) :])


def _oplog(source: Source) -> int | None:
    """The second, then the place among its operations."""
    milliseconds = _milliseconds(source)
    if milliseconds is None:
        return None
    ordinal = _number(source.get("ord"))
    if ordinal is None:
        return None
    seconds = milliseconds // 1_000
    return (seconds << _ORDINAL_BITS) + ordinal


def _number(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if not isinstance(value, str):
        return None
    return digits_as_number(value)


# What only one kind of connector writes.
_POSITIONS: tuple[tuple[str, Callable[[Source], int | None]], ...] = (
    ("lsn", _lsn),
    ("file", _binlog),
    ("ord", _oplog),
)
_VERSIONS: dict[str, Callable[[Source], int | None]] = {
    "auto": _auto,
    "lsn": _lsn,
    "ts_us": _microseconds,
    "ts_ms": _milliseconds,
    "binlog": _binlog,
}
