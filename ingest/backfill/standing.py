"""How far the newest backfill of each source is: for `freshet status`, `sources`, `top`, and for metrics."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row

from corpus.database import Connection, fetch_all
from ingest.backfill.order import PART_RECORDS, BackfillStatus

# A part may take so long to embed; one that takes longer is told.
_LONG_SECONDS = 60.0
_SHOWN = frozenset(
    {BackfillStatus.RUNNING, BackfillStatus.PAUSED, BackfillStatus.FAILED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillStanding:
    """The newest backfill of a source (query `backfill_standing`)."""

    source: str
    backfill: int
    state: str
    wanted: int  # offsets in its ranges, or records that are named
    passed: int  # of them
    gone: int  # of these, that Kafka no longer had
    by_record: bool
    rate: int  # records per second at most; 0: no limit
    records_per_second: float  # that were published in the last minute
    waits_for: str
    error: str
    created_at: datetime
    moved_at: datetime  # when it last advanced, or was paused or resumed
    ended_at: datetime | None
    standing_seconds: (
        float  # since then, beyond what its rate explains; 0: it does not run
    )

    @property
    def is_shown(self) -> bool:
        """Whether a person wants to know of it: it has not ended, or has failed."""
        return self.state in _SHOWN

    def __str__(self) -> str:
        return f"backfill {self.backfill} of {self.source} {self._how_it_stands()}"

    def _how_it_stands(self) -> str:
        read = f"{self.passed:,} of {self.wanted:,} {self._unit} are read"
        match BackfillStatus(self.state):
            case BackfillStatus.FAILED:
                command = f"freshet backfill cancel {self.source}"
                return f"has failed: {self.error}; {read}; another one, or `{command}`, ends this message"
            case BackfillStatus.PAUSED:
                since = _time(self.moved_at)
                command = f"freshet backfill resume {self.source}"
                return f"is paused since {since}: {read}; `{command}` continues it"
            case BackfillStatus.RUNNING:
                return f"runs since {_time(self.created_at)}: {read}{self._speed()}"
            case BackfillStatus.DONE | BackfillStatus.CANCELLED:
                return f"is {self.state}: {read}"

    @property
    def _unit(self) -> str:
        return "records" if self.by_record else "offsets"

    def _speed(self) -> str:
        speed = f", {self.records_per_second:,.1f} records/s"
        if self.rate:
            speed += f" of at most {self.rate:,}"
        if self.standing_seconds > _LONG_SECONDS:
            waits_for = (
                self.waits_for or "`freshet backfill status` looks for the reason"
            )
            speed += f"; it has not advanced since {_time(self.moved_at)}: {waits_for}"
        elif self.waits_for:
            speed += f"; its next part waits: {self.waits_for}"
        return speed


def shown_backfills(connection: Connection) -> list[dict[str, Any]]:
    """Those that a person wants to know of, as `--json` writes them, each with its sentence."""
    return [
        {**asdict(standing), "sentence": str(standing)}
        for standing in backfill_standings(connection)
        if standing.is_shown
    ]


def backfill_standings(connection: Connection) -> list[BackfillStanding]:
    """The newest backfill of each source that ever had one."""
    values = {"part_records": PART_RECORDS}
    factory = class_row(BackfillStanding)
    return fetch_all(connection, factory, "backfill_standing", values)


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
