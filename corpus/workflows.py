"""BatchWorkflow: one batch, from its order to the moment when readers see the result."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import assert_never

from temporalio import workflow
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    is_cancelled_exception,
)
from temporalio.workflow import ActivityConfig, ActivityHandle

with workflow.unsafe.imports_passed_through():
    from corpus import policies
    from corpus.activities import (
        EmbedActivities,
        EmbedHelpActivities,
        PrepareActivities,
        PublishActivities,
    )
    from corpus.batch import (
        BatchInput,
        BatchReport,
        BatchState,
        Correct,
        EmbeddedBatch,
        EmbedRequest,
        Erase,
        Expire,
        Ingest,
        PreparedBatch,
        PrepareRequest,
        PublishRequest,
        next_state,
    )
    from corpus.deliver.activities import DeliveryActivities
    from corpus.deliver.subscription import WakeDeliveries

# Pause before a batch is prepared again, so that a wrong diagnosis cannot loop without delay.
_PREPARE_AGAIN_AFTER = timedelta(milliseconds=200)
# Texts that are worth an embedder of their own: some seconds of a processor's time, less than one of a GPU's.
HELP_TEXTS = 500
MAX_PARTS = 16
_EMBEDDERS_HELP = "embedders-help"


@workflow.defn(name="BatchWorkflow")
class BatchWorkflow:
    """One batch.

    1. prepare: clean, split, compare (nothing to do for an order without texts)
    2. embed: only texts that the embedding space has never seen
    3. wait for permission to publish: the batches of a source are published in order
    4. publish, in one transaction; if the corpus changed since the preparation, continue with 1

    The source's entity wakes the deliveries of the subscribers, beside the batches that follow.
    """

    @workflow.init
    def __init__(self, batch: BatchInput) -> None:
        self._batch = batch
        self._order = batch.order
        self._state = BatchState.STAGED
        self._may_publish = batch.first_in_line

    @workflow.signal(name="your_turn")
    def allow_publishing(self) -> None:
        """Every earlier batch of the source is published."""
        self._may_publish = True

    @workflow.query
    def state(self) -> str:
        """How far the batch has come, a `BatchState`. A cancelled batch keeps the state in which it was cancelled."""
        return self._state.value

    @workflow.run
    async def run(self, batch: BatchInput) -> BatchReport:
        """Carry out the batch's order.

        Raises:
            ActivityError: a step failed for good. The workflow fails and readers see nothing of the batch.
        """
        try:
            report = await self._carry_out()
        except ActivityError as error:
            if not is_cancelled_exception(error):
                self._enter(BatchState.REJECTED)
            raise
        if report.subscribers:
            await self._wake_deliveries(report)
        return report

    async def _wake_deliveries(self, report: BatchReport) -> None:
        """Wake the subscribers that a storer of a version before 2026-11-26 names; failing changes nothing."""
        request = WakeDeliveries(
            source=report.source, batch=report.batch, subscribers=report.subscribers
        )
        try:
            await workflow.execute_activity_method(
                DeliveryActivities.wake, request, **policies.WAKE_DELIVERIES
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            workflow.logger.warning(
                "deliveries were not woken",
                extra={"action": "wake_up_failed", "batch": report.batch},
            )

    async def _carry_out(self) -> BatchReport:
        # Steps 1, 2.
        prepared = await self._prepare_and_embed()
        # Step 3.
        await workflow.wait_condition(lambda: self._may_publish)
        # Step 4.
        while True:
            try:
                report = await self._publish(prepared)
            except ActivityError as error:
                if prepared is None or not _asks_to_prepare_again(error):
                    raise
            else:
                self._enter(report.state)
                return report
            await workflow.sleep(_PREPARE_AGAIN_AFTER)
            self._enter(BatchState.STAGED)
            prepared = await self._prepare_and_embed()

    async def _prepare_and_embed(self) -> PreparedBatch | None:
        """Return what was prepared; None for an order that has nothing to prepare."""
        # Step 1.
        prepared = await self._prepare()
        self._enter(BatchState.PREPARED)
        # Step 2.
        if prepared is not None and prepared.texts.rows:
            await self._embed(prepared)
        self._enter(BatchState.EMBEDDED)
        return prepared

    async def _prepare(self) -> PreparedBatch | None:
        match self._order:
            case Ingest(refs=refs):
                request = PrepareRequest(
                    source=self._batch.source, batch=self._batch.batch, refs=refs
                )
                return await workflow.execute_activity_method(
                    PrepareActivities.prepare, request, **self._shared(policies.PREPARE)
                )
            case Expire() | Correct() | Erase():
                return None
            case _:
                assert_never(self._order)

    async def _embed(self, prepared: PreparedBatch) -> None:
        request = EmbedRequest(
            source=self._batch.source,
            batch=self._batch.batch,
            texts=prepared.texts,
            model=prepared.model,
            prefix=prepared.prefix,
            space_id=prepared.space_id,
            space_fingerprint=prepared.space_fingerprint,
            context=prepared.context,
            weight=prepared.weight,
        )
        helpers = self._call_for_help(request)
        try:
            await workflow.execute_activity_method(
                EmbedActivities.embed,
                request,
                **self._shared(policies.EMBED, request.weight),
            )
        finally:
            for helper in helpers:
                helper.cancel()
            # How they ended does not matter: every text has its vector, or the batch's own step said why not.
            await asyncio.gather(*helpers, return_exceptions=True)

    def _call_for_help(
        self, request: EmbedRequest
    ) -> list[ActivityHandle[EmbeddedBatch]]:
        """Offer parts of a large batch to embedders that have nothing else to do; the batch needs none of them."""
        parts = min(request.texts.rows // HELP_TEXTS, MAX_PARTS)
        if parts <= 1 or not workflow.patched(_EMBEDDERS_HELP):
            return []
        return [
            workflow.start_activity_method(
                EmbedHelpActivities.help_embed,
                replace(request, part=part, parts=parts),
                **self._shared(policies.HELP_EMBED, request.weight),
            )
            for part in range(1, parts)
        ]

    async def _publish(self, prepared: PreparedBatch | None) -> BatchReport:
        info = workflow.info()
        request = PublishRequest(
            batch=self._batch,
            prepared=prepared,
            workflow_id=info.workflow_id,
            run_id=info.run_id,
        )
        return await workflow.execute_activity_method(
            PublishActivities.publish, request, **self._shared(policies.PUBLISH)
        )

    def _shared(self, policy: ActivityConfig, weight: float = 1.0) -> ActivityConfig:
        return policies.shared(policy, self._batch.source, weight)

    def _enter(self, wanted: BatchState) -> None:
        """The only place that changes the state."""
        self._state = next_state(self._state, wanted)


def _asks_to_prepare_again(error: ActivityError) -> bool:
    """Whether publishing found that the corpus changed since the preparation. It has then changed nothing itself."""
    cause = error.cause
    return (
        isinstance(cause, ApplicationError)
        and cause.type in policies.PREPARE_AGAIN_ERRORS
    )
