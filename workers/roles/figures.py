"""Instruments of single roles: their database connections, the model, the batches on their way."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from psycopg_pool import ConnectionPool
from temporalio.client import Client
from temporalio.common import MetricMeter

from corpus.answer.query_vectors import QueryVectors
from corpus.database import Connection
from workers.calls.replica import Outcome, ReplicaSearches
from workers.config.settings import Settings
from workers.roles import metrics

Update = Callable[[], Awaitable[None]]

_RUNNING_BATCHES = "WorkflowType = 'BatchWorkflow' AND ExecutionStatus = 'Running'"


def background(
    settings: Settings, *updates: Update
) -> dict[str, Coroutine[Any, Any, None]]:
    """The task that keeps a role's instruments up to date, by name; none where no metrics are served."""
    if settings.metrics_port is None:
        return {}
    return {"metrics": metrics.keep_updated(*updates)}


class PoolFigures:
    """How long a role waits for connections to PostgreSQL.

    Args:
        meter: creates the instruments.
        pools: by name.
    """

    def __init__(self, meter: MetricMeter, **pools: ConnectionPool[Connection]) -> None:
        self._pools = pools
        self._waiting = meter.create_gauge(
            "freshet_pool_waiting", "requests that wait for a connection now"
        )
        create = meter.create_counter
        # By the name of the pool's own statistic, which counts since the pool was opened.
        self._sums = {
            "requests_num": create("freshet_pool_requests", "connections asked for"),
            "requests_wait_ms": create(
                "freshet_pool_wait_milliseconds", "time in which requests waited"
            ),
            "requests_errors": create(
                "freshet_pool_errors", "requests that got no connection"
            ),
        }
        self._counted: dict[tuple[str, str], int] = {}

    async def update(self) -> None:
        """One round; it asks no service."""
        for name, pool in self._pools.items():
            statistics = pool.get_stats()
            waiting = statistics.get("requests_waiting", 0)
            self._waiting.set(waiting, {"pool": name})
            for statistic in self._sums:
                value = statistics.get(statistic, 0)
                self._add(name, statistic, value)

    def _add(self, pool: str, statistic: str, value: int) -> None:
        place = (pool, statistic)
        grown = value - self._counted.get(place, 0)
        self._counted[place] = value
        self._sums[statistic].add(grown, {"pool": pool})


class QueryFigures:
    """How many queries of searches went through the model, and for how many their vector was at hand.

    Args:
        meter: creates the instrument.
        vectors: those at hand.
    """

    def __init__(self, meter: MetricMeter, vectors: QueryVectors) -> None:
        self._vectors = vectors
        self._queries = meter.create_counter(
            "freshet_query_vectors", "queries that searches needed a vector of"
        )
        self._counted = {"hit": 0, "miss": 0}

    async def update(self) -> None:
        """One round; it asks no service."""
        now = {"hit": self._vectors.hits, "miss": self._vectors.misses}
        for outcome, count in now.items():
            grown = count - self._counted[outcome]
            self._queries.add(grown, {"outcome": outcome})
        self._counted = now


class ReplicaFigures:
    """How far the replica is behind that searches read, and which searches it did not answer.

    Args:
        meter: creates the instruments.
        replica: it.
    """

    def __init__(self, meter: MetricMeter, replica: ReplicaSearches) -> None:
        self._replica = replica
        self._searches = meter.create_counter(
            "freshet_replica_searches", "searches of now, by who answered or why not"
        )
        self._usable = meter.create_gauge(
            "freshet_replica_usable", "1: the replica may answer searches"
        )
        self._seconds = meter.create_gauge_float(
            "freshet_replica_lag_seconds", "how old an answer of the replica is"
        )
        self._bytes = meter.create_gauge(
            "freshet_replica_lag_bytes", "log that the replica has not replayed"
        )
        self._counted = dict.fromkeys(Outcome, 0)

    async def update(self) -> None:
        """One round; it asks no service."""
        self._usable.set(int(self._replica.is_usable))
        if self._replica.lag_seconds is not None:
            self._seconds.set(self._replica.lag_seconds)
        if self._replica.lag_bytes is not None:
            self._bytes.set(self._replica.lag_bytes)
        for outcome in Outcome:
            count = self._replica.outcomes[outcome]
            grown = count - self._counted[outcome]
            self._counted[outcome] = count
            self._searches.add(grown, {"outcome": outcome.value})


class BatchesInFlight:
    """How many batches have begun and are not published.

    Args:
        meter: creates the instrument.
        client: of Temporal.
    """

    def __init__(self, meter: MetricMeter, client: Client) -> None:
        self._client = client
        self._running = meter.create_gauge(
            "freshet_batches_in_flight", "batches that have begun and are not published"
        )

    async def update(self) -> None:
        """One round.

        Raises:
            RPCError: Temporal does not answer.
        """
        answer = await self._client.count_workflows(_RUNNING_BATCHES)
        self._running.set(answer.count)


class ModelFigures:
    """What the model does, shard by shard."""

    def __init__(self, meter: MetricMeter) -> None:
        self._seconds = meter.create_histogram_float(
            "freshet_model_shard_seconds", "how long the model computed a shard"
        )
        self._texts = meter.create_counter(
            "freshet_model_texts", "texts that went through the model in this process"
        )

    def count_shard(self, source: str, texts: int, seconds: float) -> None:
        """Count a shard of a source."""
        attributes = {"source": source}
        self._texts.add(texts, attributes)
        self._seconds.record(seconds, attributes)
