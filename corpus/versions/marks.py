"""Marks: bounds of the records of a document, per log. What a fold compares, and what a head keeps of it."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple


class Mark(NamedTuple):
    """A bound of some records of one log."""

    offset: int
    record_version: int


# By log: "topic/partition/topic id". Without the id, the records are redriven and have no order among themselves.
Marks = Mapping[str, Mark]

# As `freshet.document` has them: {log: [offset, record version]}.
StoredMarks = Mapping[str, Sequence[int]]


def marks(stored: StoredMarks | None) -> Marks:
    """Marks of what the database has of them."""
    return {log: Mark(*mark) for log, mark in (stored or {}).items()}


def earliest(one: Marks, other: Marks) -> Marks:
    """The least of both, per log (`freshet.earliest`)."""
    return _merged(one, other, min)


def latest(one: Marks, other: Marks) -> Marks:
    """The greatest of both, per log (`freshet.latest`)."""
    return _merged(one, other, max)


def is_after(deletes: Marks, written: Marks) -> bool:
    """Whether a delete was written after a record of the version (`freshet.deleting`)."""
    return any(
        _is_later(delete, deletes[delete], first, written[first])
        for delete in deletes
        for first in written
    )


def _is_later(log: str, mark: Mark, other_log: str, other: Mark) -> bool:
    if log == other_log and not log.endswith("/"):
        return mark.offset > other.offset
    return mark.record_version >= other.record_version


def _merged(one: Marks, other: Marks, choose: Callable[[int, int], int]) -> Marks:
    merged = dict(one)
    for log, mark in other.items():
        known = merged.get(log, mark)
        merged[log] = Mark(
            choose(known.offset, mark.offset),
            choose(known.record_version, mark.record_version),
        )
    return merged
