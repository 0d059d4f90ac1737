"""BatchWorkflow: a batch from its staged events to the moment readers see it."""

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from corpus import policies
    from corpus.activities import EmbedActivities, PrepareActivities, PublishActivities
    from corpus.batch import (
        BatchInput,
        BatchReport,
        BatchState,
        EmbedRequest,
        PreparedBatch,
        PrepareRequest,
        PublishRequest,
        next_state,
    )
    from corpus.deliver.activities import DeliveryActivities
    from corpus.deliver.subscription import WakeDeliveries
    from corpus.errors import MissingVectorError, StalePreparationError

# What publishing may find that preparing or embedding once more heals. They are raised by the publishing transaction before
# it changed anything.
_HEALED_BY_PREPARING_AGAIN = frozenset(
    {StalePreparationError.__name__, MissingVectorError.__name__}
)


@workflow.defn(name="BatchWorkflow")
class BatchWorkflow:
    """One batch.

    1. prepare: clean, split, compare (nothing to do for an expiry)
    2. embed: only texts that the embedding space has never seen
    3. wait for the turn: batches of a source are published in order
    4. publish: one transaction
    5. wake the deliveries of the source's subscribers
    """

    @workflow.init
    def __init__(self, batch: BatchInput) -> None:
        self._batch = batch
        self._state = BatchState.STAGED
        self._turn = batch.first_in_line

    @workflow.signal
    def your_turn(self) -> None:
        """Everything of the source before this batch is published."""
        self._turn = True

    @workflow.query
    def state(self) -> str:
        """Where the batch stands."""
        return self._state.value

    @workflow.run
    async def run(self, batch: BatchInput) -> BatchReport:
        """Take the batch to its end; a permanent error ends the workflow as failed, with nothing visible."""
        # Steps 1, 2.
        prepared = await self._prepare_and_embed() if batch.refs else None
        # Step 3.
        await workflow.wait_condition(lambda: self._turn)
        # Step 4.
        report = await self._publish(prepared)
        # Step 5.
        if report.subscribers:
            await workflow.execute_activity_method(
                DeliveryActivities.wake,
                WakeDeliveries(
                    source=batch.source, batch=batch.batch, subscribers=report.subscribers
                ),
                **policies.WAKE_DELIVERIES,
            )
        return report

    async def _prepare_and_embed(self) -> PreparedBatch:
        request = PrepareRequest(
            source=self._batch.source, batch=self._batch.batch, refs=self._batch.refs
        )
        prepared = await workflow.execute_activity_method(
            PrepareActivities.prepare, request, **policies.PREPARE
        )
        if self._state is BatchState.STAGED:
            self._state = next_state(self._state, BatchState.PREPARED)
        await self._embed(prepared)
        return prepared

    async def _embed(self, prepared: PreparedBatch) -> None:
        if prepared.texts.rows:
            request = EmbedRequest(
                source=self._batch.source,
                batch=self._batch.batch,
                texts=prepared.texts,
                model=prepared.model,
                prefix=prepared.prefix,
                space_id=prepared.space_id,
                space_fingerprint=prepared.space_fingerprint,
            )
            await workflow.execute_activity_method(EmbedActivities.embed, request, **policies.EMBED)
        if self._state is BatchState.PREPARED:
            self._state = next_state(self._state, BatchState.EMBEDDED)

    async def _publish(self, prepared: PreparedBatch | None) -> BatchReport:
        info = workflow.info()
        while True:
            request = PublishRequest(
                batch=self._batch,
                prepared=prepared,
                workflow_id=info.workflow_id,
                run_id=info.run_id,
            )
            try:
                report = await workflow.execute_activity_method(
                    PublishActivities.publish, request, **policies.PUBLISH
                )
            except ActivityError as error:
                cause = error.cause
                kind = cause.type if isinstance(cause, ApplicationError) else None
                if kind not in _HEALED_BY_PREPARING_AGAIN or prepared is None:
                    raise
                # Nothing was changed; a moment's pause keeps a wrong diagnosis from spinning.
                await workflow.sleep(timedelta(milliseconds=200))
                prepared = await self._prepare_and_embed()
                continue
            self._state = BatchState.PUBLISHED
            return report
