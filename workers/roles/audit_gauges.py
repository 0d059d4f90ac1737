"""Metrics of audits and purges: what differs from the source's records, what was removed, and which is overdue."""

from collections.abc import Iterable

from temporalio.common import MetricMeter

from corpus.audit.standing import Standing
from corpus.purge.store import Standing as PurgeStanding
from workers.roles.keyed_gauge import KeyedGauge


class AuditGauges:
    """What the newest audit of each source says."""

    def __init__(self, meter: MetricMeter) -> None:
        findings = meter.create_gauge(
            "freshet_audit_findings",
            "differences from the records that the newest audit found and nobody has repaired, by kind",
        )
        self._findings = KeyedGauge(findings, "source", "kind")
        self._finished = meter.create_gauge_float(
            "freshet_audit_finished_timestamp_seconds",
            "when the newest audit ended, epoch; 0: never",
            "seconds",
        )
        self._overdue = meter.create_gauge(
            "freshet_audit_overdue",
            "1 where an audit is later than two of its intervals",
        )

    def show(self, standings: Iterable[Standing]) -> None:
        """Show these sources."""
        found: dict[tuple[str, ...], int] = {}
        for standing in standings:
            source = {"source": standing.source}
            self._finished.set(standing.finished_at, source)
            self._overdue.set(int(standing.is_overdue), source)
            for kind, number in standing.findings.items():
                found[standing.source, kind] = number
        self._findings.show(found)


class PurgeGauges:
    """What the purges of each source say."""

    def __init__(self, meter: MetricMeter) -> None:
        removed = meter.create_gauge(
            "freshet_purged_rows", "rows that all purges of the source removed, by kind"
        )
        self._removed = KeyedGauge(removed, "source", "kind")
        self._history = meter.create_gauge_float(
            "freshet_history_from_timestamp_seconds",
            "a search as of an instant before it is refused, epoch; 0: all history is kept",
            "seconds",
        )
        self._finished = meter.create_gauge_float(
            "freshet_purge_finished_timestamp_seconds",
            "when the newest purge ended, epoch; 0: never",
            "seconds",
        )
        self._overdue = meter.create_gauge(
            "freshet_purge_overdue",
            "1 where a purge is later than two of its intervals",
        )

    def show(self, standings: Iterable[PurgeStanding]) -> None:
        """Show these sources."""
        removed: dict[tuple[str, ...], int] = {}
        for standing in standings:
            source = {"source": standing.source}
            self._history.set(standing.history_from_epoch, source)
            self._finished.set(standing.finished_at, source)
            self._overdue.set(int(standing.is_overdue), source)
            for kind, number in standing.removed.items():
                removed[standing.source, kind] = number
        self._removed.show(removed)
