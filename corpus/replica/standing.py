"""What two servers say of themselves, and whether one is a replica of the other."""

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row, scalar_row

from corpus.database import Connection, fetch_one


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a primary's log is (query `primary_position`)."""

    system_identifier: int
    timeline: int  # rises with each failover
    position: int  # bytes since the log began; what is committed lies before it


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a server is as a replica (query `replica_standing`)."""

    is_standby: bool
    system_identifier: int
    timeline: int
    position: int  # up to which it has replayed the log
    newest_commit_at: datetime | None  # of what it shows; None: nothing since it runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """How far a replica is behind its primary, as one look at both shows it."""

    bytes_behind: int  # that it has not replayed
    seconds: float | None  # it shows all of so long ago, at the latest; None: unknown

    def describe(self) -> str:
        """Words for a person."""
        if self.bytes_behind == 0:
            return "0 bytes behind"
        age = "an unknown time"
        if self.seconds is not None:
            age = f"{self.seconds:.1f} s"
        return f"{self.bytes_behind:,} bytes behind, its newest commit is {age} old"


def position_of(primary: Connection) -> Position:
    """Where the log of a primary is now."""
    position = fetch_one(primary, class_row(Position), "primary_position")
    assert position is not None
    return position


def standing_of(replica: Connection) -> Standing:
    """What a server is now, as a replica."""
    standing = fetch_one(replica, class_row(Standing), "replica_standing")
    assert standing is not None
    return standing


def mismatch(standing: Standing, of_primary: Position) -> str | None:
    """Why a server is no replica of this primary, whose state may be a second old; None: it is one."""
    if not standing.is_standby:
        return "it is no standby: it was promoted, or is another server"
    if standing.system_identifier != of_primary.system_identifier:
        return (
            f"it is a standby of another server (system identifier {standing.system_identifier}, the primary's "
            f"is {of_primary.system_identifier})"
        )
    if standing.timeline != of_primary.timeline:
        return (
            f"it is on timeline {standing.timeline} and the primary on {of_primary.timeline}: there was a failover, "
            "and it does not show yet that it follows the new primary"
        )
    return None


def lag_of(primary: Connection, standing: Standing, of_primary: Position) -> Lag:
    """How far a replica is behind a position of the primary that was read before its standing."""
    behind = max(0, of_primary.position - standing.position)
    if behind == 0:
        return Lag(bytes_behind=0, seconds=0.0)
    if standing.newest_commit_at is None:
        return Lag(bytes_behind=behind, seconds=None)
    values = {"commit_at": standing.newest_commit_at}
    seconds = fetch_one(primary, scalar_row, "primary_seconds_since", values)
    return Lag(bytes_behind=behind, seconds=seconds)
