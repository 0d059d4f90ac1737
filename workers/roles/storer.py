"""Role storer: queue `freshet-store`, which publishes batches and withdraws documents.

Beside this it builds the vector indexes of new embedding spaces.
"""

from corpus import task_queues
from corpus.activities import PublishActivities
from corpus.database import STORER_LIMITS, open_pool
from corpus.publish.publisher import Publisher
from corpus.staging.store import StagingStore
from workers.config.settings import Settings
from workers.roles.run import activity_worker, serve
from workers.roles.space_indexes import keep_indexes_built
from workers.temporal.client import temporal

_THREADS = 4  # each with a connection


async def run(settings: Settings) -> None:
    """Publish until SIGTERM or SIGINT."""
    client = await temporal(settings)
    with open_pool(
        settings.database_url,
        size=_THREADS,
        application="freshet-storer",
        limits=STORER_LIMITS,
    ) as pool:
        publisher = Publisher(store=StagingStore(settings.staging_url), pool=pool)
        store = PublishActivities(
            publish=publisher.publish,
            load_source=publisher.load_source,
            rewind_source=publisher.rewind_source,
        )
        activities = [store.publish, store.load_source, store.rewind_source]
        worker = activity_worker(
            client, task_queues.STORE, activities, threads=_THREADS
        )
        indexes = keep_indexes_built(settings.database_url)
        await serve(worker, "storer", beside=indexes)
