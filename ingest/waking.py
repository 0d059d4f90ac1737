"""The wake-ups of a source's deliveries, beside its batches: whatever becomes of them, no batch waits for them."""

import asyncio
from contextlib import suppress
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from corpus import policies
    from corpus.deliver.activities import DeliveryActivities
    from corpus.deliver.subscription import WakeDue
    from ingest.source_state import SourceState

_MIN_PAUSE = timedelta(seconds=1)  # before what was refused is tried again; doubles
_MAX_PAUSE = timedelta(minutes=5)


class WakeUps:
    """Wakes the deliveries of one source until Temporal has accepted every signal.

    `state.to_wake` holds the newest batch for which that is not so; the next run of the entity continues from it. One
    activity runs at a time, and serves every batch that was published before it began, so a slow or refused signal
    delays wake-ups only.

    Args:
        state: of the source's entity.
    """

    def __init__(self, state: SourceState) -> None:
        self._state = state
        self._task: asyncio.Task[None] | None = None

    def begin(self, batch: int, *, every: bool = False) -> None:
        """Wake the deliveries that have a batch to read.

        Args:
            batch: that was published; 0: what the run before left.
            every: also deliveries that were woken for it before: the entity has lost what it knew of them.
        """
        state = self._state
        state.to_wake = max(state.to_wake, batch)
        state.wake_every = state.wake_every or every
        is_running = self._task is not None and not self._task.done()
        if state.to_wake and not is_running:
            self._task = asyncio.create_task(self._wake_until_accepted())

    async def _wake_until_accepted(self) -> None:
        """Wake, and repeat it for what was refused.

        1. wake what is due
        2. end when all was accepted and no batch was published meanwhile
        3. pause; a batch that is published meanwhile ends the pause, since other deliveries must not wait for it
        """
        state = self._state
        pause = _MIN_PAUSE
        while True:
            batch = state.to_wake
            # Step 1.
            refused = await self._wake()
            # Step 2.
            if not refused:
                pause = _MIN_PAUSE
                state.wake_every = False
                if state.to_wake > batch:
                    continue
                state.to_wake = 0
                return
            # Step 3.
            state.wake_ups_refused += refused
            with suppress(asyncio.TimeoutError):
                await workflow.wait_condition(
                    lambda served=batch: state.to_wake > served, timeout=pause
                )
            pause = min(pause * 2, _MAX_PAUSE)

    async def _wake(self) -> int:
        """How many deliveries could not be woken; 1 where that is not known."""
        request = WakeDue(source=self._state.source, every=self._state.wake_every)
        try:
            outcome = await workflow.execute_activity_method(
                DeliveryActivities.wake_due, request, **policies.WAKE_DELIVERIES
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            workflow.logger.warning(
                "deliveries were not woken; again later",
                extra={"action": "wake_up_failed", "source": self._state.source},
            )
            return 1
        return outcome.refused
