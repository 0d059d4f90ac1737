"""Metrics of audits: what is repaired or clean goes back to 0."""

from typing import Any

from corpus.audit.standing import Standing
from corpus.purge.store import Standing as PurgeStanding
from workers.roles.audit_gauges import AuditGauges, PurgeGauges


class Meter:
    """Remembers what its gauges show."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, ...], float] = {}

    def create_gauge(self, name: str, *_: Any) -> Any:
        meter = self

        class Gauge:
            def set(self, value: float, attributes: dict[str, str]) -> None:
                meter.values[(name, *attributes.values())] = value

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
