"""What the tests of deliveries, Nexus and freshness share.

That is a source with a ledger, a subscribed team and worker processes.
"""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.worker import Interceptor, UnsandboxedWorkflowRunner, Worker

from corpus import task_queues
from corpus.access.client import SignedCalls
from corpus.access.keys import add_key, key_file
from corpus.access.team import TeamSpec
from corpus.activities import PublishActivities
from corpus.answer.gate import Decision, Gate
from corpus.database import Connection, connect, open_pool
from corpus.deliver.activities import wake_delivery
from corpus.deliver.subscription import SubscriberSpec
from corpus.publish.publisher import Publisher
from corpus.source import FreshnessSpec, SourceSpec
from corpus.sql import query
from corpus.staging.store import StagingStore
from freshness.workflows import FreshnessCheck, FreshnessWorkflow
from tests.support.known import WITHOUT_ENTITIES
from workers.apply.endpoints import Endpoints
from workers.apply.kind import Services
from workers.apply.namespaces import Namespaces
from workers.apply.plan import execute, plan
from workers.apply.subscriptions import Subscriptions, subscriptions
from workers.apply.teams import Teams
from workers.calls.log import AnswerLog
from workers.calls.queues import TeamQueues, TeamRegistry
from workers.config.file import Config
from workers.roles import gateway
from workers.roles import orchestrator as deliveries

ROOT = Path(__file__).parents[2]
TEAM = "search"
_NUMBERS = itertools.count(1)


@dataclass
class Env:
    """A database, two namespaces, endpoints that no other test uses."""

    database_url: str
    address: str
    client: Client  # Freshet's namespace
    team: Client  # the team's namespace
    endpoint: str  # of the team
    corpus_endpoint: str  # that the team calls
    keys: Path  # folder of the teams' keys

    def team_spec(self, *sources: str, **fields: Any) -> TeamSpec:
        base = {
            "team": TEAM,
            "endpoint": self.corpus_endpoint,
            "namespace": self.team.namespace,
        }
        return TeamSpec(sources=sources or ("peps",), **(base | fields))

    def identity(self) -> list[Interceptor]:
        """What signs the team's calls; its first key is made here."""
        path = key_file(self.keys, TEAM)
        if not path.exists():
            add_key(path)
        return [SignedCalls(TEAM, path)]

    def subscriber(self, *sources: str, **fields: Any) -> SubscriberSpec:
        base = {
            "subscriber": "team",
            "endpoint": self.endpoint,
            "namespace": self.team.namespace,
            "task_queue": "team-search",
        }
        return SubscriberSpec(sources=sources, **(base | fields))

    async def reconcile(
        self, *specs: SubscriberSpec, teams: tuple[TeamSpec, ...] | None = None
    ) -> list[str]:
        """As `freshet apply --prune` with these subscribers and teams; what was done, as "KIND ACTION"."""
        if teams is None:
            teams = (self.team_spec(),)
        of_no_team = f"{self.corpus_endpoint}-of-no-team"
        kinds = (Namespaces(), Teams(), Endpoints(of_no_team), Subscriptions())
        config = Config(sources=(), subscribers=specs, teams=teams)
        with connect(self.database_url) as connection:
            cluster: Any = None  # these kinds do not ask Kafka
            services = Services(connection=connection, cluster=cluster, client=self.client)
            changes = await plan(services, config, prune=True, kinds=kinds)
            done = await execute(services, changes, kinds=kinds)
        return [f"{change.kind} {change.action}" for change in done]

    async def publish(
        self, connection: Connection, source: str, batch: int, **columns: Any
    ) -> None:
        """What the publish step does: the ledger's row, then a wake-up."""
        add_batch(connection, source, batch, **columns)
        for row in subscriptions(connection, source):
            await wake_delivery(self.client, row["subscriber"], source, batch)

    @asynccontextmanager
    async def light_worker(self, *, sandbox: bool = True, **options: Any) -> AsyncIterator[Worker]:
        """Queue `freshet` in this process; unsandboxed, so that a test can shorten the waits."""
        runner = {} if sandbox else {"workflow_runner": UnsandboxedWorkflowRunner()}
        with open_pool(self.database_url, size=4) as pool:
            work = {
                "workflows": WITHOUT_ENTITIES,
                "activities": deliveries.activities(pool),
            } | options
            with ThreadPoolExecutor(8) as threads:
                async with Worker(
                    self.client,
                    task_queue=task_queues.WORKFLOWS,
                    activity_executor=threads,
                    **work,
                    **runner,
                ) as worker:
                    yield worker

    def spawn(self, *command: str, client: Client, ready: Path) -> subprocess.Popen[bytes]:
        ready.unlink(missing_ok=True)
        environment = os.environ | {
            "TEMPORAL_ADDRESS": self.address,
            "TEMPORAL_NAMESPACE": client.namespace,
            "FRESHET_DATABASE_URL": self.database_url,
            "FRESHET_READY_FILE": str(ready),
        }
        return subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment)


async def make_env(database_url: str, temporal: Any, keys: Path = Path("no-keys")) -> Env:
    number = f"{os.getpid()}-{next(_NUMBERS)}"
    client, team = await temporal.client(), await temporal.client()
    return Env(
        database_url=database_url,
        address=temporal.address,
        client=client,
        team=team,
        endpoint=f"team-{number}",
        corpus_endpoint=f"corpus-{number}",
        keys=keys,
    )


@asynccontextmanager
async def gateway_of(
    env: Env, search: gateway.Search, noted: list[Decision] | None = None
) -> AsyncIterator[TeamRegistry]:
    """The role gateway in this process, with the teams as they are now; its refresh is the test's to call."""
    env.identity()
    with open_pool(env.database_url, size=2) as pool, AnswerLog(pool) as answers:

        def note(decision: Decision) -> Future[None]:
            if noted is not None:
                noted.append(decision)
            return answers.note(decision)

        make = gateway.worker_of(env.client, pool, search=search)
        registry = TeamRegistry(pool, env.keys)
        registry.refresh()
        queues = TeamQueues(registry, make, note)
        async with make(task_queues.NEXUS, Gate(lambda: None, note)), AsyncExitStack() as workers:
            await queues.serve_new(workers)
            yield registry


def make_source(connection: Connection, source: str = "peps", **freshness: Any) -> SourceSpec:
    spec = SourceSpec(source=source, topics=("topic",), freshness=FreshnessSpec(**freshness))
    connection.execute(
        "INSERT INTO freshet.source (source, spec) VALUES (%s, %s)",
        (source, json.dumps(spec.to_json())),
    )
    return spec


def set_team(connection: Connection, team: str, **fields: Any) -> TeamSpec:
    """A team with these grants, as `freshet apply` writes it."""
    spec = TeamSpec(team=team, endpoint=f"e-{team}", namespace=team, **fields)
    values = {"team": team, "spec": json.dumps(spec.to_json())}
    connection.execute(query("write_team"), values)
    return spec


def add_batch(connection: Connection, source: str, batch: int, **columns: Any) -> None:
    row = {
        "source": source,
        "batch": batch,
        "kind": "ingest",
        "state": "published",
        "workflow_id": "w",
        "run_id": "r",
    } | columns
    names = ", ".join(row)
    with connection.transaction():
        connection.execute(
            f"INSERT INTO freshet.batch ({names}, staged_at, published_at)"
            f" VALUES ({', '.join('%s' for _ in row)}, now(), clock_timestamp())",
            tuple(row.values()),
        )
        connection.execute(
            "UPDATE freshet.source SET last_batch = %s, last_published_at = now() WHERE source = %s",
            (batch, source),
        )


def add_document(
    connection: Connection, source: str, document_id: str, version: int, batch: int, **columns: Any
) -> None:
    row = {
        "source": source, "document_id": document_id, "version": version, "batch": batch,
        "kind": "document", "is_head": True, "visible_from": "now", "observed_at": "now",
    } | columns  # fmt: skip
    connection.execute(
        f"INSERT INTO freshet.document ({', '.join(row)}) VALUES ({', '.join('%s' for _ in row)})",
        tuple(row.values()),
    )


def notices(log: Path) -> list[dict[str, Any]]:
    return (
        [
            json.loads(line)
            for line in log.read_text(encoding="utf-8").splitlines()
            if line.endswith("}")
        ]
        if log.exists()
        else []
    )


def connection_to(env: Env) -> Connection:
    return connect(env.database_url)


def delivery(
    connection: Connection, source: str = "peps", subscriber: str = "team"
) -> dict[str, Any]:
    return next(row for row in subscriptions(connection, source) if row["subscriber"] == subscriber)


@asynccontextmanager
async def all_workers(env, tmp_path):
    """Entity, batches, publish step, checks: what an expiry passes through."""
    with open_pool(env.database_url, size=2) as pool, ThreadPoolExecutor(2) as threads:
        publisher = Publisher(store=StagingStore((tmp_path / "staging").as_uri()), pool=pool)
        store = PublishActivities(publisher.publish, publisher.load_source, publisher.rewind_source)
        steps = [store.publish, store.load_source, store.rewind_source]
        async with (
            env.light_worker(workflows=deliveries.WORKFLOWS),
            Worker(
                env.client,
                task_queue=task_queues.STORE,
                activities=steps,
                activity_executor=threads,
            ),
        ):
            yield


async def check(env, source="peps"):
    return await env.client.execute_workflow(
        FreshnessWorkflow.run,
        FreshnessCheck(source=source),
        id=f"freshness/{source}",
        task_queue=task_queues.WORKFLOWS,
    )


def fill(db, documents=10, source="peps", **columns):
    add_batch(db, source, 1, documents_written=documents, records=documents, applied=documents)
    for number in range(documents):
        add_document(db, source, f"pep-{number}", 1, 1, **columns)
