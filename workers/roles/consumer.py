"""The consumer role: from Kafka to the entity workflows, and dead letters back to Kafka."""

import asyncio
import logging

from temporalio.client import Client

from corpus.errors import DependencyError
from corpus.log_limit import LogLimit
from corpus.retry import until_answered
from workers.config.settings import Settings
from workers.temporal import client as connect

log = logging.getLogger("freshet.consumer")
log.addFilter(LogLimit())
# A position is read by one thread at a time, the outbox by another.
_CONNECTIONS = 3


async def run_consumer(settings: Settings) -> None:
    """Consume until cancelled; then finish what is in flight, commit and leave the group."""
    from corpus.database import open_pool
    from corpus.staging.store import StagingStore
    from ingest.consume.consumer import SourceConsumer
    from ingest.consume.positions import Positions
    from ingest.dead_letters.outbox import run_outbox
    from ingest.hand_over import hand_over
    from ingest.kafka import Cluster, properties

    client = await _temporal(settings)
    group = {"group_id": settings.kafka_group}
    with open_pool(
        settings.database_url, size=_CONNECTIONS, application="freshet-consumer"
    ) as pool:
        cluster = Cluster(settings.kafka_bootstrap, settings.kafka_properties)
        consumer = SourceConsumer(
            properties(settings.kafka_bootstrap, settings.kafka_properties, **group),
            Positions(pool, cluster),
            StagingStore(settings.staging_url),
            lambda ref, spec: hand_over(client, ref, spec),
        )
        stop = asyncio.Event()
        consuming = asyncio.create_task(consumer.run(stop))
        outbox = asyncio.create_task(
            run_outbox(
                pool, cluster, properties(settings.kafka_bootstrap, settings.kafka_properties)
            )
        )
        try:
            await asyncio.shield(consuming)
        except asyncio.CancelledError:
            stop.set()
            await consuming
            raise
        finally:
            outbox.cancel()


async def _temporal(settings: Settings) -> Client:
    """Temporal may start later than this process."""
    return await until_answered(
        lambda: connect.temporal(settings),
        doing="connecting to Temporal",
        logger=log,
        retry_on=DependencyError,
        max_seconds=2,
    )
