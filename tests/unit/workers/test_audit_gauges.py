"""Metrics of audits, purges, backfills and upkeep: what is repaired, clean or has ended goes back to 0."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from corpus.audit.standing import Standing
from corpus.embed.history_index import ClosedChunksWaiting
from corpus.purge.store import Standing as PurgeStanding
from corpus.upkeep.standing import ServerUpkeep
from ingest.backfill.standing import BackfillStanding
from tests.support import upkeep
from workers.roles.audit_gauges import (
    AuditGauges,
    BackfillGauges,
    PurgeGauges,
    UpkeepGauges,
)


class Meter:
    """Remembers what its gauges show."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, ...], float] = {}

    def create_gauge(self, name: str, *_: Any) -> Any:
        meter = self

        class Gauge:
            def set(self, value: float, attributes: dict[str, str] | None = None) -> None:
                meter.values[(name, *(attributes or {}).values())] = value

        return Gauge()

    create_gauge_float = create_gauge


def standing(**values: Any) -> Standing:
    row: dict[str, Any] = {
        "source": "s", "audit": 3, "finished_at": 7.0, "findings": {}, "is_repaired": False, "is_overdue": False,
        **values,
    }  # fmt: skip
    return Standing(**row)


def test_what_was_found_is_shown_until_it_is_not_there() -> None:
    meter = Meter()
    gauges = AuditGauges(meter)  # type: ignore[arg-type]
    gauges.show([standing(findings={"missing": 2, "stale": 1}, is_overdue=True)])
    assert meter.values["freshet_audit_findings", "s", "missing"] == 2
    assert meter.values["freshet_audit_overdue", "s"] == 1
    gauges.show([standing(findings={"stale": 1})])
    assert meter.values["freshet_audit_findings", "s", "missing"] == 0
    assert meter.values["freshet_audit_findings", "s", "stale"] == 1
    assert meter.values["freshet_audit_finished_timestamp_seconds", "s"] == 7.0
    gauges.show([])
    assert meter.values["freshet_audit_findings", "s", "stale"] == 0


def test_a_source_says_how_it_stands() -> None:
    assert str(standing(audit=None)) == "never"
    assert str(standing()) == "audit 3: clean"
    assert str(standing(is_repaired=True)) == "audit 3: repaired"
    found = standing(findings={"stale": 1_000, "extra": 1})
    assert found.problem == "audit 3 of s found 1 extra, 1,000 stale"
    assert standing(is_overdue=True).problem == "the audit of s is overdue"
    assert standing().problem == ""


def test_purges_show_the_horizon_and_what_was_removed() -> None:
    meter: Any = Meter()
    gauges = PurgeGauges(meter)
    shown: Any = {
        "source": "s", "history_from": None, "removed": {"chunks": 3}, "purge": 1, "finished_at": 7.0,
        "history_from_epoch": 5.0, "is_overdue": True,
    }  # fmt: skip
    gauges.show([PurgeStanding(**shown)])
    assert meter.values == {
        ("freshet_history_from_timestamp_seconds", "s"): 5.0,
        ("freshet_purge_finished_timestamp_seconds", "s"): 7.0,
        ("freshet_purge_overdue", "s"): 1,
        ("freshet_purged_rows", "s", "chunks"): 3,
    }


NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


def backfill(**values: Any) -> BackfillStanding:
    row: dict[str, Any] = {
        "source": "s", "backfill": 3, "state": "running", "wanted": 4_000, "passed": 1_000, "gone": 0,
        "by_record": False, "rate": 0, "records_per_second": 12.34, "waits_for": "", "error": "",
        "created_at": NOON, "moved_at": NOON + timedelta(minutes=5), "ended_at": None,
        "standing_seconds": 0.0, **values,
    }  # fmt: skip
    return BackfillStanding(**row)


def test_a_backfill_shows_how_far_it_is_until_it_has_ended() -> None:
    meter: Any = Meter()
    gauges = BackfillGauges(meter)
    gauges.show([backfill(standing_seconds=950.4)])
    names = ("wanted_records", "passed_records", "standing_seconds", "failed")

    def values() -> list[float]:
        return [meter.values[f"freshet_backfill_{name}", "s"] for name in names]

    assert values() == [4_000, 1_000, 950, 0]
    gauges.show([backfill(state="failed", error="the topic is gone")])
    assert values() == [0, 0, 0, 1]
    gauges.show([backfill(state="done")])
    assert values() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"rate": 500},
            "runs since 2026-11-26T12:00:00+00:00: 1,000 of 4,000 offsets are read, 12.3 records/s of at most 500",
        ),
        (
            {"waits_for": "its batch is worked on", "by_record": True},
            "runs since 2026-11-26T12:00:00+00:00: 1,000 of 4,000 records are read, 12.3 records/s; its next part "
            "waits: its batch is worked on",
        ),
        (
            {"standing_seconds": 61.0, "records_per_second": 0.0},
            "runs since 2026-11-26T12:00:00+00:00: 1,000 of 4,000 offsets are read, 0.0 records/s; it has not advanced "
            "since 2026-11-26T12:05:00+00:00: `freshet backfill status` looks for the reason",
        ),
        (
            {"state": "paused"},
            "is paused since 2026-11-26T12:05:00+00:00: 1,000 of 4,000 offsets are read; `freshet backfill resume s` "
            "continues it",
        ),
        (
            {"state": "failed", "error": "the topic is gone"},
            "has failed: the topic is gone; 1,000 of 4,000 offsets are read; another one, or `freshet backfill cancel "
            "s`, ends this message",
        ),
    ],
    ids=["with a rate", "waits", "stands still", "paused", "failed"],
)  # fmt: skip
def test_a_backfill_says_how_it_stands(values: dict[str, Any], sentence: str) -> None:
    standing = backfill(**values)
    assert str(standing) == f"backfill 3 of s {sentence}"
    assert standing.is_shown


def test_a_backfill_that_has_ended_well_is_not_shown() -> None:
    assert not backfill(state="done").is_shown
    assert not backfill(state="cancelled").is_shown


def test_upkeep_is_due_until_it_was_done() -> None:
    meter: Any = Meter()
    gauges = UpkeepGauges(meter)
    changed = upkeep.table(rows=60_000, dead=40_000)
    gauges.show(upkeep.standing(changed))
    assert meter.values == {
        ("freshet_dead_percent", "chunk"): 40,
        ("freshet_upkeep_due", "chunk"): 1,
        ("freshet_closed_chunks_waiting",): 0,
        ("freshet_closed_chunks_waiting_seconds",): 0,
    }
    gauges.show(upkeep.standing(upkeep.table()))
    assert {*meter.values.values()} == {0}
    gauges.show(upkeep.standing(upkeep.table(), server=ServerUpkeep(is_on=False, counts=True)))
    assert meter.values["freshet_upkeep_due", "autovacuum"] == 1


def test_closed_chunks_wait_for_their_index() -> None:
    meter: Any = Meter()
    since = datetime.now(UTC) - timedelta(hours=2)
    waiting = ClosedChunksWaiting(chunks=7, since=since)
    UpkeepGauges(meter).show(upkeep.standing(upkeep.table(), closed=waiting))
    assert meter.values["freshet_closed_chunks_waiting",] == 7
    assert meter.values["freshet_closed_chunks_waiting_seconds",] == pytest.approx(7200, abs=60)
