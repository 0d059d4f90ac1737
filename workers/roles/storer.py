"""Role storer: queue `freshet-store`, which publishes batches, withdraws documents and purges.

Beside this it builds the vector indexes of new embedding spaces, sweeps the staged files that no batch needs, and
finishes erasures.
"""

from corpus import task_queues
from corpus.activities import PublishActivities
from corpus.database import STORER_LIMITS, open_pool
from corpus.erase.finisher import EraseFinisher
from corpus.publish.publisher import Publisher
from corpus.purge.activities import PurgeActivities
from corpus.purge.purger import Purger
from corpus.staging.sweep import Sweeper
from workers import backfilling
from workers.config.settings import Settings
from workers.roles import auditing, metrics
from workers.roles.figures import PoolFigures, background
from workers.roles.run import activity_worker, serve
from workers.roles.space_indexes import keep_indexes_built
from workers.roles.sweeping import entities, finish_erasures, sweep_again_and_again
from workers.staging import staging_store
from workers.temporal.client import temporal

_THREADS = 4  # each with a connection; sweeping and erasing share another


async def run(settings: Settings) -> None:
    """Publish until SIGTERM or SIGINT."""
    client = await temporal(settings)
    with (
        staging_store(settings, "storer") as staging,
        open_pool(
            settings.database_url,
            size=_THREADS + 1,
            application="freshet-storer",
            limits=STORER_LIMITS,
        ) as pool,
    ):
        publisher = Publisher(store=staging, pool=pool)
        store = PublishActivities(
            publish=publisher.publish,
            load_source=publisher.load_source,
            rewind_source=publisher.rewind_source,
        )
        audit = auditing.ends(client, pool, staging)
        purger = Purger(pool)
        purge = PurgeActivities(
            step=purger.step, finish=purger.finish, fail=purger.fail
        )
        activities = [
            *(store.publish, store.load_source, store.rewind_source),
            *(audit.staged_files, audit.finish, audit.fail),
            *(purge.step, purge.finish, purge.fail),
            *backfilling.part_activities(client, pool, staging),
        ]
        worker = activity_worker(
            client, task_queues.STORE, activities, threads=_THREADS
        )
        pools = PoolFigures(metrics.meter(), database=pool)
        await serve(
            worker,
            "storer",
            indexes=keep_indexes_built(settings.database_url),
            erasures=finish_erasures(EraseFinisher(store=staging, pool=pool)),
            sweep=sweep_again_and_again(Sweeper(staging, pool), entities(client)),
            **background(settings, pools.update),
        )
