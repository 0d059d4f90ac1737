"""Role consumer: from Kafka to the entity workflows, and dead letters back to Kafka."""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any

from psycopg_pool import ConnectionPool
from temporalio.client import Client

from corpus.batch import BatchRef
from corpus.database import SHORT_LIMITS, Connection, open_pool
from corpus.errors import DependencyError
from corpus.installation.identity import Installation
from corpus.log_limit import LogLimit
from corpus.retry import until_answered
from corpus.source import SourceSpec
from ingest.consume.consumer import SourceConsumer
from ingest.consume.group import marked_properties
from ingest.consume.positions import Positions
from ingest.consume.withholder import Withholder
from ingest.dead_letters.outbox import Outbox, run_outbox
from ingest.dead_letters.waiting import WaitingLetters, run_waiting
from ingest.decode.registry.schemas import is_failing
from ingest.entity import running_state
from ingest.hand_over import hand_over
from ingest.kafka import Cluster, properties
from ingest.source_state import SourceState
from workers.config.settings import Settings, kafka_properties
from workers.installation import group_of
from workers.roles import metrics, start
from workers.roles.credentials import Credentials, keep_current
from workers.roles.figures import PoolFigures, Update, background
from workers.roles.run import mark_ready, on_signal
from workers.roles.watch import end_of
from workers.staging import staging_store
from workers.temporal.client import temporal
from workers.tracing.switch import staging_span

logger = logging.getLogger(__name__)
logger.addFilter(LogLimit())
# A position is read by one thread at a time, the outbox by another, what waits by a third, and two that stage withhold.
_CONNECTIONS = 6
_RETRY_SECONDS = 2.0


async def run(settings: Settings) -> None:
    """Consume until SIGTERM or SIGINT."""
    consuming = asyncio.create_task(consume(settings))
    on_signal(consuming.cancel)
    with suppress(asyncio.CancelledError):
        await consuming


async def consume(settings: Settings) -> None:
    """Consume until cancelled; then finish what is in flight, commit and leave the group."""
    await start.wait_for_migrations(settings, "consumer")
    client = await _connect(settings)
    installation = await _check(settings, client)
    mark_ready("consumer")
    kafka, own = settings.kafka_bootstrap, settings.kafka_properties
    cluster = Cluster(kafka, own)
    of_group = properties(kafka, own, group_id=settings.kafka_group)

    async def hand_batch_over(ref: BatchRef, spec: SourceSpec) -> None:
        await hand_over(client, ref, spec)

    async def state_of(source: str) -> SourceState | None:
        return await running_state(client, source)

    with (
        staging_store(settings, "consumer") as staging,
        _pool(settings) as pool,
    ):
        withholder = Withholder(pool)
        consumer = SourceConsumer(
            marked_properties(of_group, installation.mark),
            Positions(pool, cluster),
            staging,
            hand_batch_over,
            state_of,
            staging_span(),
            withholder.withhold,
        )
        stop = asyncio.Event()
        outbox = Outbox(pool, cluster, properties(kafka, own))
        credentials = Credentials(own, kafka_properties)
        group = group_of(settings)
        logins = keep_current(credentials, cluster, consumer, outbox, group)
        pools = PoolFigures(metrics.meter(), database=pool)
        figures = figures_of(consumer, withholder)
        watching = background(settings, figures, pools.update)
        others = start.watch_group(group, installation)
        letters = _send_letters(pool, outbox)
        beside = _all_of([letters, logins, others, *watching.values()])
        await run_both(consumer.run(stop), beside, stop)


async def _send_letters(pool: ConnectionPool[Connection], outbox: Outbox) -> None:
    """Dead letters go to their topics, and those that wait back to their sources' topics."""
    waiting = WaitingLetters(pool, outbox.properties)
    await asyncio.gather(run_outbox(outbox), run_waiting(waiting))


async def _all_of(background: Sequence[Coroutine[Any, Any, None]]) -> None:
    await asyncio.gather(*background)


def _pool(settings: Settings) -> ConnectionPool[Connection]:
    return open_pool(
        settings.database_url,
        size=_CONNECTIONS,
        application="freshet-consumer",
        limits=SHORT_LIMITS,
    )


def figures_of(consumer: SourceConsumer, withholder: Withholder) -> Update:
    """What sets the consumer's instruments."""
    meter = metrics.meter()
    handed_over = meter.create_gauge(
        "freshet_handed_over_records", "since the start of the process"
    )
    lost = meter.create_gauge(
        "freshet_lost_references", "readings again of what a workflow had lost"
    )
    behind = meter.create_gauge(
        "freshet_unpublished_sources", "sources with something handed over"
    )
    withheld = meter.create_gauge(
        "freshet_withheld_documents", "shown to fewer before their batch was published"
    )
    not_withheld = meter.create_gauge(
        "freshet_withholding_failures", "times that this could not be done"
    )

    waiting = meter.create_gauge(
        "freshet_schema_registry_failing",
        "1 while the schema registry gives no answer, so that its sources wait",
    )

    async def update() -> None:
        waiting.set(int(is_failing()))
        handed_over.set(consumer.handed_over_records)
        lost.set(consumer.lost_references)
        behind.set(consumer.behind)
        withheld.set(withholder.documents)
        not_withheld.set(withholder.failures)

    return update


async def run_both(
    consuming: Coroutine[Any, Any, None],
    outbox: Coroutine[Any, Any, None],
    stop: asyncio.Event,
) -> None:
    """Run the consumer and the outbox until this is cancelled, or one of them ends.

    An outbox that ended, in whatever way, ends the role, too: dead letters would wait without a sign of it.

    Args:
        consuming: ends when `stop` is set.
        outbox: runs until it is cancelled.
        stop: set when the consumer is to end.

    Raises:
        TaskEndedError: one of them ended without being asked to.
        Exception: what ended one of them.
    """
    consumer_task = asyncio.create_task(consuming, name="consumer")
    outbox_task = asyncio.create_task(outbox, name="outbox")
    both = (consumer_task, outbox_task)
    ended: set[asyncio.Task[None]] = set()
    try:
        ended, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.set()
        outbox_task.cancel()
        await asyncio.wait(both)
        if not ended:
            consumer_task.result()
    raise end_of(ended.pop())


async def _check(settings: Settings, client: Client) -> Installation:
    """Compare what the consumer uses; a service may start later than this process."""
    return await until_answered(
        lambda: start.check_role(settings, "consumer", client),
        doing="comparing the installation",
        logger=logger,
        retry_on=DependencyError,
        max_seconds=_RETRY_SECONDS,
    )


async def _connect(settings: Settings) -> Client:
    """Temporal may start later than this process."""
    return await until_answered(
        lambda: temporal(settings),
        doing="connecting to Temporal",
        logger=logger,
        retry_on=DependencyError,
        max_seconds=_RETRY_SECONDS,
    )
