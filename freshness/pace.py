"""Whether the checks keep up with what is due.

Each check is a workflow: thousands of sources with a short interval can be more than the workers or Temporal do, and
then each source is checked late, which no single report shows before `STALE_INTERVALS` are over.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from psycopg.rows import class_row

from corpus.database import Connection
from corpus.errors import UnreadableSpecError
from corpus.source import read_spec
from corpus.sql import query

_LATE_INTERVALS = 1.5
_SPARE_SECONDS = 60.0  # for the jitter of a schedule, and for a check itself
_MAX_LATE = 0.1  # of the sources
# Fewer are not too many for anybody; one of them that is late has a cause of its own, which its report tells.
_LEAST_SOURCES = 50
# Where no check was made for so long, none runs, or none is due: after an outage, those with a long interval are late.
_RUNNING_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A configured source, and for how long it has not been checked."""

    source: str
    spec: dict[str, Any]
    seconds: float  # since its newest check; before the first one, since it was made


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckPace:
    """What is due, and how much of it is late."""

    sources: int
    late: int
    due_per_second: float
    newest_seconds: float = math.inf  # since the newest check of all
    # Sources whose specification cannot be read; `freshet sources` names them.
    unreadable: int = 0

    @property
    def is_slow(self) -> bool:
        """Whether checks run, and more than a tenth of many sources were not checked in time."""
        return (
            self.sources >= _LEAST_SOURCES
            and self.newest_seconds < _RUNNING_SECONDS
            and self.late > _MAX_LATE * self.sources
        )

    def describe(self) -> str:
        """One line."""
        if not self.sources:
            return f"no source that can be read ({self.unreadable} cannot)"
        late = f"{self.late:,} of {self.sources:,} sources were not"
        if not self.late:
            late = f"all sources ({self.sources:,}) were"
        return (
            f"{late} checked within {_LATE_INTERVALS} times their interval and a minute; "
            f"{self.due_per_second:.2g} checks per second are due"
        )


def check_pace(connection: Connection) -> CheckPace:
    """How the checks of all sources that are not retired keep up."""
    with connection.cursor(row_factory=class_row(Waiting)) as cursor:
        return pace_of(cursor.execute(query("freshness_waiting")).fetchall())


def pace_of(waiting: Iterable[Waiting]) -> CheckPace:
    """Count."""
    sources = late = unreadable = 0
    due = 0.0
    newest = math.inf
    for one in waiting:
        try:
            spec = read_spec(one.source, one.spec).freshness
        except UnreadableSpecError:
            unreadable += 1
            continue
        every = spec.check_every_seconds
        sources += 1
        due += 1 / every
        newest = min(newest, one.seconds)
        late += one.seconds > _LATE_INTERVALS * every + _SPARE_SECONDS
    return CheckPace(
        sources=sources,
        late=late,
        due_per_second=due,
        newest_seconds=newest,
        unreadable=unreadable,
    )
