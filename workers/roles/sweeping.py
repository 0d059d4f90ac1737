"""What a storer removes beside its batches, again and again.

Once per hour staged files that no batch needs (`corpus.staging.sweep`); every few seconds what is left of erasures:
what their batches could not remove at once goes as soon as no batch needs it (`corpus.erase.finisher`).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from random import uniform

from temporalio.client import Client, WorkflowQueryFailedError
from temporalio.service import RPCError, RPCStatusCode

from corpus import search_attributes
from corpus.erase.finisher import EraseFinisher
from corpus.log_limit import LogLimit
from corpus.retry import until_answered, until_answered_in_thread
from corpus.source import source_workflow_id
from corpus.staging.sweep import Sweeper, SweptFiles
from ingest.entity import state_of

logger = logging.getLogger(__name__)
logger.addFilter(LogLimit())

SWEEP_SECONDS = 3_600.0
ERASE_SECONDS = 5.0
_RPC_TIMEOUT = timedelta(seconds=10)

# source -> the names of staged files that its entity holds; None: it cannot be asked, or one of its batches runs.
HeldBy = Callable[[str], Awaitable[Collection[str] | None]]


async def sweep_again_and_again(sweeper: Sweeper, held_by: HeldBy) -> None:
    """Sweep once per hour until cancelled; a service that is down is waited for."""
    # Storers that start together do not sweep together.
    await asyncio.sleep(uniform(0, SWEEP_SECONDS))
    while True:
        await until_answered(
            lambda: sweep(sweeper, held_by, datetime.now(UTC)),
            doing="sweeping the staging store",
            logger=logger,
        )
        await asyncio.sleep(SWEEP_SECONDS)


async def sweep(
    sweeper: Sweeper,
    held_by: HeldBy,
    now: datetime,
    min_age: timedelta | None = None,
) -> SweptFiles:
    """Remove what no batch needs, and log how much that was.

    Args:
        sweeper: finds and removes.
        held_by: asks the entity of a source.
        now: files that are older than `min_age` then are looked at.
        min_age: of the files; None: what their source says.

    Raises:
        DependencyError: PostgreSQL or the staging store does not answer.
    """
    old = await asyncio.to_thread(sweeper.find, now, min_age)
    held = {source: await held_by(source) for source in sorted(old.undecided)}
    swept = await asyncio.to_thread(sweeper.remove, old, held)
    logger.info(
        "staging store swept", extra={"action": "staging_swept", **asdict(swept)}
    )
    return swept


async def finish_erasures(finisher: EraseFinisher) -> None:
    """Finish erasures until cancelled; a service that is down is waited for."""
    while True:
        await until_answered_in_thread(
            finisher.finish_all, doing="finishing erasures", logger=logger
        )
        await asyncio.sleep(ERASE_SECONDS)


def entities(client: Client) -> HeldBy:
    """Asks the entities in Temporal."""

    async def held_by(source: str) -> Collection[str] | None:
        try:
            return await _held_by(client, source)
        except (RPCError, WorkflowQueryFailedError) as error:
            extra = {
                "action": "sweep_postponed",
                "source": source,
                "kind": f"entity/{source}",
            }
            logger.warning(
                "staged files are kept, the entity cannot be asked: %s",
                error,
                extra=extra,
            )
            return None

    return held_by


async def _held_by(client: Client, source: str) -> Collection[str] | None:
    """The entity is asked before its batches: a reference that becomes a batch in between is still counted once."""
    held: Collection[str] = frozenset()
    entity = client.get_workflow_handle(source_workflow_id(source))
    try:
        state = await state_of(entity, _RPC_TIMEOUT)
        refs = (
            *(*state.pending, *state.in_flight, *state.undecided),
            *(*state.backfills, *state.backfilling),
        )
        held = {ref.url for ref in refs}
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
    # The entity forgets what is in flight when its limits are loaded again.
    running = await client.count_workflows(
        f"WorkflowType = 'BatchWorkflow' AND ExecutionStatus = 'Running' "
        f"AND {search_attributes.SOURCE.name} = '{source}'",
        rpc_timeout=_RPC_TIMEOUT,
    )
    return None if running.count else held
