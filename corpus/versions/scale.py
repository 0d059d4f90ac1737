"""The scale of a source's versions: which can be compared, and which are far beyond all others. Pure.

Versions are numbers that only their producer understands: counters, positions in a log of a database, times in any
unit. One that is far beyond the others (the greatest number there is, a time among counters, microseconds among
milliseconds) would outrank every later one of its document. So

1. a source whose versions are times (`version_scale` names the unit) takes none that lies in the future, or before 1973
2. any other source takes none that is far beyond the highest one that it has accepted (`reach`)

Rule 1 looks at the event alone, so the order of reading decides nothing. Rule 2 compares with what was accepted before,
and inside a batch step by step from there: the first batch of a source is judged from its middle. So only what comes
before anything is known can be accepted where another order would refuse it, and that is named when the document's next
version is far below (`incomparable`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median_low
from typing import Literal

VersionScale = Literal[
    "auto", "seconds", "milliseconds", "microseconds", "nanoseconds", "any"
]

# No producer counts this far: the greatest numbers are marks for "always", or mistakes.
MAX_ACCEPTED = 2**63 - 2**40
# A step between two versions may multiply the highest by this. A time in the next finer unit is 1,000 times the other,
# and the year 9999 is 142 times the present.
_FACTOR = 100
# Counters grow by less in one step; times in seconds, and the greatest number of 32 bits, are beyond.
_COUNTER_STEP = 1_000_000_000
# From here on a version may be a position in the log of a database, in bytes, and others may fill that log.
_FIRST_POSITION = 10_000_000
_POSITION_STEP = 100_000_000_000
# From here on a hundredfold is beyond the greatest number.
_HUGE = 2**57
_HUGE_FACTOR = 4

_RECORD_BITS = 20  # see `corpus.source.record_version`
# Numbers of records with a time of this century; below, an own version may look like one without a time.
_FIRST_TIMED = 2**40

_NANOSECONDS: Mapping[VersionScale, int] = {
    "seconds": 1_000_000_000,
    "milliseconds": 1_000_000,
    "microseconds": 1_000,
    "nanoseconds": 1,
}
_FIRST_NANOSECOND = 100_000_000 * 1_000_000_000  # 1973
_NANOSECONDS_PER_MS = 1_000_000
TIME_TOLERANCE_MS = 86_400_000
"""A time may be this far ahead of the clock that it is compared with."""


def reach(version: int) -> int:
    """The highest version that ordinary growth leads to from one."""
    if version >= _HUGE:
        return min(version * _HUGE_FACTOR, MAX_ACCEPTED)
    step = _COUNTER_STEP
    if version >= _FIRST_POSITION:
        step = _POSITION_STEP
    by_factor = version * _FACTOR
    by_step = version + step
    return max(by_factor, by_step)


def highest_on_scale(known: int, versions: Iterable[int]) -> int:
    """The highest of some versions that is on their source's scale.

    Args:
        known: highest version that the source has accepted; -1: none.
        versions: that came now, in any order.

    Returns:
        Every version up to it is accepted. -1: none is known, or came.
    """
    possible = (version for version in versions if version <= MAX_ACCEPTED)
    ascending = sorted(possible)
    highest = known
    if highest < 0 and ascending:
        highest = median_low(ascending)
    for version in ascending:
        if version > reach(highest):
            break
        highest = max(highest, version)
    return highest


def why_no_time(version: int, scale: VersionScale, now_ms: int) -> str:
    """Why a version is no time in the unit of its source; empty where it is one, or need not be.

    Args:
        version: of an event.
        scale: of its source.
        now_ms: by the consumer's clock, epoch milliseconds UTC.
    """
    unit = _NANOSECONDS.get(scale)
    if unit is None:
        return ""
    nanoseconds = version * unit
    latest_ms = now_ms + TIME_TOLERANCE_MS
    latest = latest_ms * _NANOSECONDS_PER_MS
    problem = ""
    if nanoseconds < _FIRST_NANOSECOND:
        problem = "is before 1973"
    if nanoseconds > latest:
        problem = "lies in the future"
    if not problem:
        return ""
    return f"version {version} {problem} in {scale} (version_scale)"


def is_of_record(version: int, record_versions: Iterable[int]) -> bool:
    """Whether a version was made of a record, since its event names none.

    Args:
        version: of an event or a document.
        record_versions: what such a version would be, of each record of it; a redriven one may differ in the offset.
    """
    return any(
        version == made
        or (made >= _FIRST_TIMED and version >> _RECORD_BITS == made >> _RECORD_BITS)
        for made in record_versions
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """A version as it is compared with others of its document."""

    version: int
    is_own: bool  # named by its event; else made of the record

    def is_below(self, other: "Ranked", *, own_first: bool) -> bool:
        """Whether the other one counts more.

        Args:
            other: of the same document.
            own_first: versions that events name count more than all that are made of records (`version_rule`).
        """
        if own_first and self.is_own != other.is_own:
            return other.is_own
        return self.version < other.version


def is_far_below(version: int, other: int) -> bool:
    """Whether no ordinary growth leads from one version to the other."""
    return other > reach(version)
