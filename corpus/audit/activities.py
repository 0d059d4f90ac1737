"""Shells of the audit's activities, one class per queue; the steps are injected by workers."""

import asyncio
from collections.abc import Awaitable, Callable

from temporalio import activity

from corpus.activities import HEARTBEAT_SECONDS, heartbeats
from corpus.audit.audit import AuditCursor, AuditFailure, AuditResult
from corpus.errors import FreshetError, as_application_error


class AuditActivities:
    """Queue `freshet-prepare`: reads records, compares, cleans and splits."""

    def __init__(self, step: Callable[[AuditCursor], AuditCursor]) -> None:
        self._step = step

    @activity.defn(name="audit.step")
    def step(self, cursor: AuditCursor) -> AuditCursor:
        """Do what is next."""
        with heartbeats():
            return self._step(cursor)


class AuditVectorActivities:
    """Queue `freshet-embed`: embeds a sample again."""

    def __init__(self, step: Callable[[AuditCursor], AuditCursor]) -> None:
        self._step = step

    @activity.defn(name="audit.vectors")
    def embed(self, cursor: AuditCursor) -> AuditCursor:
        """Embed the next page of the sample, and compare."""
        with heartbeats():
            return self._step(cursor)


class AuditEndActivities:
    """Queue `freshet-store`: looks for staged files, writes the result."""

    def __init__(
        self,
        *,
        staged: Callable[[AuditCursor], Awaitable[AuditCursor]],
        finish: Callable[[AuditCursor], AuditResult],
        fail: Callable[[AuditFailure], None],
    ) -> None:
        self._staged = staged
        self._finish = finish
        self._fail = fail

    @activity.defn(name="audit.staged_files")
    async def staged_files(self, cursor: AuditCursor) -> AuditCursor:
        """Look for the files of batches in flight."""
        beating = asyncio.create_task(_beat())
        try:
            return await self._staged(cursor)
        except FreshetError as error:
            raise as_application_error(error) from error
        finally:
            beating.cancel()

    @activity.defn(name="audit.finish")
    def finish(self, cursor: AuditCursor) -> AuditResult:
        """Write the result."""
        with heartbeats():
            return self._finish(cursor)

    @activity.defn(name="audit.fail")
    def fail(self, failure: AuditFailure) -> None:
        """Keep why there is none."""
        with heartbeats():
            self._fail(failure)


async def _beat() -> None:
    """Send a heartbeat every second, beside an activity that waits on the event loop."""
    while True:
        activity.heartbeat()
        await asyncio.sleep(HEARTBEAT_SECONDS)
