"""Metrics of audits, purges, backfills and upkeep: what differs, what was removed, what is late, what is due."""

from collections.abc import Iterable
from datetime import UTC, datetime

from temporalio.common import MetricMeter

from corpus.audit.standing import Standing
from corpus.purge.store import Standing as PurgeStanding
from corpus.upkeep.rule import LEAST_DEAD, decide
from corpus.upkeep.standing import Standing as UpkeepStanding
from ingest.backfill.order import ENDED, BackfillStatus
from ingest.backfill.standing import BackfillStanding
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


class BackfillGauges:
    """What the newest backfill of each source says."""

    def __init__(self, meter: MetricMeter) -> None:
        wanted = meter.create_gauge(
            "freshet_backfill_wanted_records",
            "offsets, or named records, of a backfill that has not ended",
        )
        passed = meter.create_gauge(
            "freshet_backfill_passed_records", "of them, that are behind it"
        )
        standing = meter.create_gauge_float(
            "freshet_backfill_standing_seconds",
            "for how long a backfill that runs has not advanced, beyond what its rate explains",
            "seconds",
        )
        failed = meter.create_gauge(
            "freshet_backfill_failed", "1 where the newest backfill has failed"
        )
        self._wanted = KeyedGauge(wanted, "source")
        self._passed = KeyedGauge(passed, "source")
        self._standing = KeyedGauge(standing, "source")
        self._failed = KeyedGauge(failed, "source")

    def show(self, standings: Iterable[BackfillStanding]) -> None:
        """Show the newest backfill of each source; of one that has ended, only whether it failed."""
        newest = {(standing.source,): standing for standing in standings}
        going = {
            key: standing
            for key, standing in newest.items()
            if standing.state not in ENDED
        }
        self._wanted.show({key: one.wanted for key, one in going.items()})
        self._passed.show({key: one.passed for key, one in going.items()})
        seconds = {key: round(one.standing_seconds) for key, one in going.items()}
        self._standing.show(seconds)
        failed = {
            key: int(one.state == BackfillStatus.FAILED) for key, one in newest.items()
        }
        self._failed.show(failed)


class UpkeepGauges:
    """What `freshet maintain` would do."""

    def __init__(self, meter: MetricMeter) -> None:
        dead = meter.create_gauge(
            "freshet_dead_percent",
            "of a table's rows or an index's entries, those that are dead or withdrawn, where they are many",
        )
        due = meter.create_gauge(
            "freshet_upkeep_due",
            "1 where `freshet maintain` has something to do, or the server looks after no table",
        )
        self._dead = KeyedGauge(dead, "name")
        self._due = KeyedGauge(due, "name")
        self._waiting = meter.create_gauge(
            "freshet_closed_chunks_waiting",
            "closed chunks that are not in their vector index yet; no more than 10,000 are counted",
        )
        self._waiting_seconds = meter.create_gauge_float(
            "freshet_closed_chunks_waiting_seconds",
            "since the first of them was closed; searches of the past compare with each",
            "seconds",
        )

    def show(self, standing: UpkeepStanding) -> None:
        """Show every table and index with many dead rows, and those that need something."""
        decisions = decide(standing)
        many = [one for one in decisions if one.dead >= LEAST_DEAD]
        self._dead.show({(one.name,): round(100 * one.share) for one in many})
        due = {(one.name,): 1 for one in decisions if one.is_due}
        if standing.server.problem is not None:
            due["autovacuum",] = 1
        self._due.show(due)
        self._waiting.set(standing.closed.chunks)
        self._waiting_seconds.set(standing.closed.seconds(datetime.now(UTC)))
