"""Role preparer: queue `freshet-prepare`, which cleans, splits and compares documents, audits, and asks origins."""

from corpus import task_queues
from corpus.activities import PrepareActivities
from corpus.clean.cleaner import Cleaner
from corpus.database import open_pool
from corpus.embed.spaces import SpaceRegistry
from corpus.prepare import divide
from corpus.prepare.preparer import Preparer
from freshness.activities import RevalidationActivities
from freshness.revalidate import Revalidator
from ingest.decode.references import fetched_content
from ingest.decode.staged_content import content_of, read_row
from workers import backfilling
from workers.config.settings import Settings
from workers.roles import auditing, metrics
from workers.roles.figures import PoolFigures, background
from workers.roles.run import activity_worker, serve
from workers.staging import staging_store
from workers.temporal.client import temporal

# Batches side by side; most of them wait for a process. A source has at most `max_in_flight` of them.
_THREADS = 8
_CONNECTIONS = 4


async def run(settings: Settings) -> None:
    """Prepare batches until SIGTERM or SIGINT."""
    client = await temporal(settings)
    with (
        staging_store(settings, "preparer") as staging,
        open_pool(
            settings.database_url, size=_CONNECTIONS, application="freshet-preparer"
        ) as pool,
        Cleaner(
            settings.prepare_processes,
            memory_mb=settings.prepare_memory,
            preload=[divide.__name__],
        ) as cleaner,
    ):
        cleaner.open()
        preparer = Preparer(
            store=staging,
            pool=pool,
            cleaner=cleaner,
            spaces=SpaceRegistry(),
            content_of=content_of,
            read_row=read_row,
            read_fetched=fetched_content,
        )
        audit = auditing.steps(
            settings.kafka_bootstrap, settings.kafka_properties, pool, cleaner
        )
        backfill = backfilling.stages(
            settings.kafka_bootstrap, settings.kafka_properties, pool, staging
        )
        prepare = PrepareActivities(preparer.prepare).prepare
        origins = RevalidationActivities(Revalidator(pool).revalidate)
        activities = [prepare, audit.step, backfill.stage, origins.revalidate]
        worker = activity_worker(
            client, task_queues.PREPARE, activities, threads=_THREADS
        )
        pools = PoolFigures(metrics.meter(), database=pool)
        await serve(worker, "preparer", **background(settings, pools.update))
