"""Role gateway: answers other teams on queue `freshet-nexus`. Has its own model for the queries."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from psycopg_pool import ConnectionPool
from temporalio.client import Client
from temporalio.worker import Worker

from corpus import task_queues
from corpus.answer.service_handler import CorpusServiceHandler
from corpus.database import Connection
from corpus.service import SearchRequest, SearchResponse
from freshness import scan
from workers.roles.orchestrator import in_pool

_THREADS = 4  # descriptions and searches side by side


def build(
    client: Client,
    pool: ConnectionPool[Connection],
    *,
    search: Callable[[SearchRequest], SearchResponse],
) -> Worker:
    """The worker of queue `freshet-nexus`; `search` blocks and runs in a thread."""
    handler = CorpusServiceHandler(search=search, describe=partial(in_pool, pool, scan.describe))
    return Worker(
        client,
        task_queue=task_queues.NEXUS,
        nexus_service_handlers=[handler],
        nexus_task_executor=ThreadPoolExecutor(_THREADS),
    )
