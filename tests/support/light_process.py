"""Queue `freshet` without the sources' entities, as a process that a test can kill."""

import asyncio
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from temporalio.client import Client
from temporalio.worker import Worker

from corpus import task_queues
from corpus.database import open_pool
from tests.support.known import WITHOUT_ENTITIES
from workers.roles import orchestrator as deliveries


async def main() -> None:
    client = await Client.connect(
        os.environ["TEMPORAL_ADDRESS"], namespace=os.environ["TEMPORAL_NAMESPACE"]
    )
    pool = open_pool(os.environ["FRESHET_DATABASE_URL"], size=4)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with Worker(
        client,
        task_queue=task_queues.WORKFLOWS,
        workflows=WITHOUT_ENTITIES,
        activities=deliveries.activities(pool),
        activity_executor=ThreadPoolExecutor(8),
    ):
        await asyncio.to_thread(
            Path(os.environ["FRESHET_READY_FILE"]).write_text, str(os.getpid()), encoding="utf-8"
        )
        await stop.wait()


asyncio.run(main())
os._exit(0)
