"""Role embedder: queue `freshet-embed`, which runs the model and nothing else."""

import asyncio

from corpus import task_queues
from corpus.activities import EmbedActivities
from corpus.database import EMBEDDER_LIMITS, open_pool
from corpus.embed.step import EmbedStep
from corpus.staging.store import StagingStore
from workers.config.settings import Settings
from workers.roles import metrics
from workers.roles.figures import ModelFigures, PoolFigures, background
from workers.roles.models import LoadedModels, load_configured
from workers.roles.run import activity_worker, serve
from workers.temporal.client import temporal

# Batches side by side, so that a small one need not wait for the end of large ones. The model takes one shard at a
# time, and the fair queue decides whose.
_THREADS = 8
_CONNECTIONS = 8


async def run(settings: Settings) -> None:
    """Embed texts until SIGTERM or SIGINT."""
    client = await temporal(settings)
    models = LoadedModels(settings)
    with open_pool(
        settings.database_url,
        size=_CONNECTIONS,
        application="freshet-embedder",
        limits=EMBEDDER_LIMITS,
    ) as pool:
        await asyncio.to_thread(load_configured, settings, models)
        meter = metrics.meter()
        step = EmbedStep(
            store=StagingStore(settings.staging_url),
            pool=pool,
            embedder_of=models.with_fingerprint,
            shard=settings.embed_shard,
            count_shard=ModelFigures(meter).count_shard,
        )
        activities = [EmbedActivities(step.embed).embed]
        worker = activity_worker(
            client, task_queues.EMBED, activities, threads=_THREADS
        )
        pools = PoolFigures(meter, database=pool)
        await serve(worker, "embedder", **background(settings, pools.update))
