"""What an operator is shown about sources: the condition of each, and why."""

from dataclasses import dataclass

import pytest

from ingest import condition
from ingest.overview import overview
from tests.support.fix_temporal import TemporalEnv
from tests.support.fleet import Fleet
from workers.conditions import explain
from workers.config.settings import load


@dataclass(frozen=True, slots=True)
class Named:
    """A source as `freshet sources` shows it."""

    condition: str
    why: str


def named(live: Fleet, source: str) -> Named:
    """The condition of one source; `servers_named` comes first."""
    rows = overview(live.connection, live.cluster)
    explain(load(), rows)
    [row] = [row for row in rows if row["source"] == source]
    return Named(row["condition"], row["why"])


def servers_named(
    monkeypatch: pytest.MonkeyPatch,
    temporal: TemporalEnv,
    *,
    database_url: str,
    bootstrap: str,
    namespace: str,
    standstill_seconds: float = 2.0,
) -> None:
    """Let commands find the servers of a test, and take seconds instead of a minute for a standstill."""
    monkeypatch.setenv("FRESHET_DATABASE_URL", database_url)
    monkeypatch.setenv("FRESHET_KAFKA_BOOTSTRAP", bootstrap)
    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal.address)
    monkeypatch.setenv("TEMPORAL_NAMESPACE", namespace)
    monkeypatch.setattr(condition, "STANDSTILL_SECONDS", standstill_seconds)
