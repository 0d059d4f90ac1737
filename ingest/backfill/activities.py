"""Shells of the backfill's activities, one class per queue; the steps are injected by workers."""

import asyncio
from collections.abc import Awaitable, Callable

from temporalio import activity

from corpus.activities import HEARTBEAT_SECONDS, heartbeats
from corpus.batch import BatchRef
from corpus.errors import FreshetError, as_application_error
from ingest.backfill.order import (
    BackfillCursor,
    BackfillEnd,
    BackfillStep,
    PartResult,
)


class BackfillActivities:
    """Queue `freshet-prepare`: reads records and stages them."""

    def __init__(self, stage: Callable[[BackfillCursor], BackfillStep]) -> None:
        self._stage = stage

    @activity.defn(name="backfill.stage")
    def stage(self, cursor: BackfillCursor) -> BackfillStep:
        """Stage the next part."""
        with heartbeats():
            return self._stage(cursor)


class BackfillPartActivities:
    """Queue `freshet-store`: hands a part over and waits for its batch."""

    def __init__(
        self,
        *,
        publish: Callable[[BatchRef], Awaitable[PartResult]],
        end: Callable[[BackfillEnd], None],
    ) -> None:
        self._publish = publish
        self._end = end

    @activity.defn(name="backfill.publish")
    async def publish(self, ref: BatchRef) -> PartResult:
        """Hand the part over to the source's entity, and wait a while until it is published."""
        beating = asyncio.create_task(_beat())
        try:
            return await self._publish(ref)
        except FreshetError as error:
            raise as_application_error(error) from error
        finally:
            beating.cancel()

    @activity.defn(name="backfill.end")
    def end(self, end: BackfillEnd) -> None:
        """Write how it ended."""
        with heartbeats():
            self._end(end)


async def _beat() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(HEARTBEAT_SECONDS)
