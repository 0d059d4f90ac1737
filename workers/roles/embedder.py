"""Role embedder: queue `freshet-embed`, which runs the model and nothing else."""

import asyncio
import logging
import os
from collections.abc import Callable

from temporalio.client import Client
from temporalio.worker import Worker

from corpus import task_queues
from corpus.activities import EmbedActivities, EmbedHelpActivities
from corpus.database import EMBEDDER_LIMITS, open_pool
from corpus.embed.step import EmbedStep
from workers.config.settings import Settings
from workers.roles import auditing, metrics
from workers.roles.figures import ModelFigures, PoolFigures, background
from workers.roles.models import LoadedModels, load_configured
from workers.roles.run import activity_worker, serve
from workers.staging import staging_store
from workers.temporal.client import temporal

# Batches side by side, so that a small one need not wait for the end of large ones. The model takes one shard at a
# time, and the fair queue decides whose.
_THREADS = 8
# Parts of large batches that other embedders work on, in turns with the batches: one is enough to use the model.
_HELP_THREADS = 1
# One per batch and part for the shard that is written, and one for the shard that has the model.
_CONNECTIONS = _THREADS + _HELP_THREADS + 1
# PostgreSQL then closes the session that claims the texts, so their vectors could not be written any more.
MAX_SILENT_SECONDS = EMBEDDER_LIMITS.idle
_LOOK_SECONDS = 1.0

logger = logging.getLogger(__name__)


async def run(settings: Settings) -> None:
    """Embed texts until SIGTERM or SIGINT."""
    client = await temporal(settings)
    models = LoadedModels(settings)
    with (
        staging_store(settings, "embedder") as staging,
        open_pool(
            settings.database_url,
            size=_CONNECTIONS,
            application="freshet-embedder",
            limits=EMBEDDER_LIMITS,
        ) as pool,
    ):
        await asyncio.to_thread(load_configured, settings, models)
        meter = metrics.meter()
        step = EmbedStep(
            store=staging,
            pool=pool,
            embedder_of=models.with_fingerprint,
            shard=settings.embed_shard,
            count_shard=ModelFigures(meter).count_shard,
        )

        def silent_seconds() -> int:
            return step.progress.silent_seconds

        audit = auditing.vectors(pool, models.of)
        embed = EmbedActivities(step.embed, silent_seconds)
        activities = [embed.embed, audit.embed]
        worker = activity_worker(
            client, task_queues.EMBED, activities, threads=_THREADS
        )
        pools = PoolFigures(meter, database=pool)
        beside = background(settings, pools.update)
        beside["model"] = end_when_silent(silent_seconds)
        beside["help"] = _helper(client, step).run()
        await serve(worker, "embedder", **beside)


def _helper(client: Client, step: EmbedStep) -> Worker:
    """Takes parts of batches that other embedders work on."""
    embed = EmbedHelpActivities(step.help_embed)
    return activity_worker(
        client, task_queues.EMBED_HELP, [embed.help_embed], threads=_HELP_THREADS
    )


async def end_when_silent(silent_seconds: Callable[[], int]) -> None:
    """End the process when its model hangs: no thread can be ended alone, and another process may have more luck.

    Args:
        silent_seconds: since the model last finished something.
    """
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        seconds = silent_seconds()
        if seconds > MAX_SILENT_SECONDS:
            context = {"action": "model_hangs", "seconds": seconds}
            logger.critical(
                "the model does not answer; the process ends", extra=context
            )
            os._exit(1)
