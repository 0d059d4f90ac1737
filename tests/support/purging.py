"""Purges in one process: the steps one after the other, and rows that are as old as a test wants."""

from dataclasses import replace
from typing import Any

from corpus.purge import store
from corpus.purge.purge import Phase, PurgeCursor, PurgeOrder, PurgeResult
from corpus.purge.purger import Purger
from corpus.retention.spec import RetentionSpec
from tests.support.pipeline import Pipeline

KEEP_ALL = RetentionSpec(
    dead_letters_seconds=None,
    notices_seconds=None,
    reports_seconds=None,
    audits_seconds=None,
    embeddings_seconds=None,
)


class Purging:
    """One source that is purged."""

    def __init__(self, pipeline: Pipeline, **ages: Any) -> None:
        self.pipeline = pipeline
        self.purger = Purger(pipeline.pool)
        self.runs = 0
        self.keep(**ages)

    def keep(self, **ages: Any) -> None:
        """Set the ages, as `freshet apply` does; those that are left out keep everything."""
        spec = self.pipeline.spec
        self.pipeline.spec = replace(spec, retention=replace(KEEP_ALL, **ages))
        self.pipeline.configure()

    def begin(self) -> PurgeCursor:
        """The horizon is moved; no row has gone."""
        self.runs += 1
        order = PurgeOrder(source=self.pipeline.spec.source, rate=0)
        name = f"run-{self.runs}"
        return self.purger.step(PurgeCursor(order=order, run_id=name, workflow_id="purge:s"))

    def run(self) -> PurgeResult:
        """A whole purge."""
        cursor = self.begin()
        while cursor.phase is not Phase.DONE:
            cursor = self.purger.step(cursor)
        return self.purger.finish(cursor)

    def plan(self) -> store.PurgePlan:
        """What a purge would remove now."""
        return store.plan(self.pipeline.connection, self.pipeline.spec.source)

    def age(self, days: float) -> None:
        """Let everything that is there be older."""
        shift = f"interval '{days} days'"
        statements = (
            f"UPDATE freshet.source SET last_published_at = last_published_at - {shift}",
            "UPDATE freshet.as_of_answered SET instant = '-infinity'",
            f"UPDATE freshet.batch SET published_at = published_at - {shift}",
            f"UPDATE freshet.document SET visible_from = visible_from - {shift}, visible_to = visible_to - {shift}",
            f"UPDATE freshet.chunk SET visible_from = visible_from - {shift}, visible_to = visible_to - {shift}",
            f"UPDATE freshet.dead_letter SET created_at = created_at - {shift}, state_at = state_at - {shift}",
            f"UPDATE freshet.delivered_notice SET acknowledged_at = acknowledged_at - {shift}",
            f"UPDATE freshet.freshness_report SET snapshotted_at = snapshotted_at - {shift}",
            f"UPDATE freshet.audit SET finished_at = finished_at - {shift}",
            f"UPDATE freshet.embedding SET created_at = created_at - {shift}",
        )
        for statement in statements:
            self.pipeline.connection.execute(statement.encode())

    def count(self, what: str) -> int:
        """Rows of a table, with a condition behind it."""
        row = self.pipeline.connection.execute(f"SELECT count(*) FROM freshet.{what}".encode())
        return int(row.fetchall()[0][0])
