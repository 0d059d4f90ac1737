"""What `freshet top` shows: every source with its rates, from one look at the services to the next."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Self

from ingest.condition import NEEDS_ATTENTION, Condition
from workers.stages import SourceStages

# A batch is published as a whole, so a rate over less than this would jump between 0 and the size of a batch.
WINDOW_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Sums of a source that only grow."""

    records: int
    texts_embedded: int
    dead_lettered: int

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """Those of a row of `ingest.overview`."""
        return cls(
            records=row["records"],
            texts_embedded=row["texts_embedded"],
            dead_lettered=row["dead_lettered"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One source at one moment."""

    source: str
    condition: str
    why: str
    lag: int | None  # records; None: not known
    records_per_second: float | None  # None: it was seen once only
    texts_per_second: float | None  # embedded
    new_dead_letters: int  # since the first look
    open_dead_letters: int
    documents: int
    last_published_at: datetime | None
    doing: str  # stages of its batches
    backfill: str  # one that has not ended, or has failed; empty: there is none

    def to_json(self) -> dict[str, Any]:
        """As `--json` writes it."""
        return asdict(self)


class Rates:
    """Remembers the sums of the last looks."""

    def __init__(self) -> None:
        self._first: dict[str, Counts] = {}
        self._looks: deque[tuple[float, dict[str, Counts]]] = deque()

    def lines(
        self,
        rows: Sequence[Mapping[str, Any]],
        stages: Mapping[str, SourceStages],
        at: float,
    ) -> list[Line]:
        """The sources, those first that need a person, then those that work.

        Args:
            rows: of `ingest.overview`.
            stages: what their batches do, by source.
            at: monotonic seconds.
        """
        counts = {row["source"]: Counts.of(row) for row in rows}
        self._remember(counts, at)
        lines: list[Line] = []
        for row in rows:
            doing = stages.get(row["source"])
            line = self._line(row, doing)
            lines.append(line)
        lines.sort(key=_order)
        return lines

    def _remember(self, counts: dict[str, Counts], at: float) -> None:
        for source, count in counts.items():
            self._first.setdefault(source, count)
        looks = self._looks
        looks.append((at, counts))
        oldest_wanted = at - WINDOW_SECONDS
        # Two looks are kept in any case: one every minute has a rate, too.
        while len(looks) > 2 and looks[0][0] < oldest_wanted:
            looks.popleft()

    def _line(self, row: Mapping[str, Any], stages: SourceStages | None) -> Line:
        source = row["source"]
        now = Counts.of(row)
        began = self._first[source].dead_lettered
        backfill: Mapping[str, str] = row["backfill"] or {}
        return Line(
            source=source,
            condition=row["condition"],
            why=row["why"],
            lag=row["lag"],
            records_per_second=self._rate(source, "records"),
            texts_per_second=self._rate(source, "texts_embedded"),
            new_dead_letters=max(0, now.dead_lettered - began),
            open_dead_letters=row["dead_letters"],
            documents=row["documents"],
            last_published_at=row["last_published_at"],
            doing=str(stages or ""),
            backfill=backfill.get("sentence", ""),
        )

    def _rate(self, source: str, name: str) -> float | None:
        """Growth per second since the oldest look in the window; never negative, since a database may be restored."""
        seen: list[tuple[float, int]] = []
        for at, counts in self._looks:
            if source in counts:
                value = getattr(counts[source], name)
                seen.append((at, value))
        began, oldest = seen[0]
        ended, newest = seen[-1]
        if ended == began:
            return None
        rate = (newest - oldest) / (ended - began)
        return max(0.0, rate)


def _order(line: Line) -> tuple[bool, bool, float, str]:
    is_behind = line.condition == Condition.BEHIND
    rate = line.records_per_second or 0.0
    return line.condition not in NEEDS_ATTENTION, not is_behind, -rate, line.source
