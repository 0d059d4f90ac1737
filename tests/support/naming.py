"""What an operator is shown about sources: the condition of each, and why."""

from dataclasses import dataclass

from ingest.overview import overview
from tests.support.fleet import Fleet
from workers.conditions import explain
from workers.config.settings import load


@dataclass(frozen=True, slots=True)
class Named:
    """A source as `freshet sources` shows it."""

    condition: str
    why: str


def named(live: Fleet, source: str) -> Named:
    """The condition of one source; the fixture `commands_find_it` comes first."""
    rows = overview(live.connection, live.cluster)
    explain(load(), rows)
    [row] = [row for row in rows if row["source"] == source]
    return Named(row["condition"], row["why"])
