"""Shells of the purge's activities; the steps are injected by workers."""

from collections.abc import Callable

from temporalio import activity

from corpus.activities import heartbeats
from corpus.purge.purge import PurgeCursor, PurgeFailure, PurgeResult


class PurgeActivities:
    """Queue `freshet-store`."""

    def __init__(
        self,
        *,
        step: Callable[[PurgeCursor], PurgeCursor],
        finish: Callable[[PurgeCursor], PurgeResult],
        fail: Callable[[PurgeFailure], None],
    ) -> None:
        self._step = step
        self._finish = finish
        self._fail = fail

    @activity.defn(name="purge.step")
    def step(self, cursor: PurgeCursor) -> PurgeCursor:
        """Remove the next pages."""
        with heartbeats():
            return self._step(cursor)

    @activity.defn(name="purge.finish")
    def finish(self, cursor: PurgeCursor) -> PurgeResult:
        """Write the result."""
        with heartbeats():
            return self._finish(cursor)

    @activity.defn(name="purge.fail")
    def fail(self, failure: PurgeFailure) -> None:
        """Keep why there is none."""
        with heartbeats():
            self._fail(failure)
