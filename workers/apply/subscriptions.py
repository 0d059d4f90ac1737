"""Reconcile who is told: namespaces, Nexus endpoints, subscriptions, deliveries. Applying twice changes nothing."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from google.protobuf.duration_pb2 import Duration
from psycopg.rows import dict_row
from temporalio.api.nexus.v1 import EndpointSpec, EndpointTarget
from temporalio.api.operatorservice.v1 import (
    CreateNexusEndpointRequest,
    ListNexusEndpointsRequest,
    UpdateNexusEndpointRequest,
)
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from corpus import task_queues
from corpus.database import Connection, connect
from corpus.deliver.activities import wake_delivery
from corpus.deliver.subscription import SubscriberSpec
from corpus.errors import ConfigurationError, DependencyError
from corpus.service import CORPUS_ENDPOINT
from corpus.sql import query
from workers.config.settings import Settings
from workers.temporal.client import temporal

_RETENTION = timedelta(days=3)
# A namespace that was just registered is not everywhere at once: the endpoint that points at it is refused for seconds.
_SETTLE_TRIES, _SETTLE_SECONDS = 60, 0.5


class HasSubscribers(Protocol):
    """The part of the configuration that is read here."""

    @property
    def subscribers(self) -> Sequence[SubscriberSpec]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What was done with what."""

    kind: str  # "namespace", "endpoint", "subscription"
    name: str
    change: str  # "created", "updated", "unchanged", "unlisted", "ended"


async def reconcile(
    settings: Settings,
    config: HasSubscribers,
    *,
    corpus_endpoint: str = CORPUS_ENDPOINT,
    prune: bool = True,
) -> list[Change]:
    """Make them what the configuration says.

    1. namespaces of the teams, and ours
    2. Nexus endpoints: ours, and one a team
    3. subscriptions and their cursors; one that is gone from the configuration ends and keeps its cursor, or goes on without `prune`
    4. a delivery workflow a subscription, woken
    """
    client = await temporal(settings)
    subscribers = tuple(config.subscribers)
    # 1
    changes = [
        Change(kind="namespace", name=name, change=await ensure_namespace(client, name))
        for name in namespaces(settings, subscribers)
    ]
    # 2
    for name, (namespace, queue) in targets(settings, subscribers, corpus_endpoint).items():
        changes.append(
            Change(
                kind="endpoint",
                name=name,
                change=await ensure_endpoint(client, name, namespace, queue),
            )
        )
    # 3
    wanted = [(spec, source) for spec in subscribers for source in spec.sources]
    told, ended = await asyncio.to_thread(_subscribe, settings.database_url, wanted, prune)
    # 4
    for spec, source in wanted:
        await wake_delivery(client, spec.subscriber, source, 0)
    for subscriber, source in ended:
        await wake_delivery(client, subscriber, source, 0)  # it sees that it has ended
    return changes + told


def namespaces(settings: Settings, subscribers: Iterable[SubscriberSpec]) -> list[str]:
    """Of the teams, and ours."""
    return sorted({settings.temporal_namespace, *(spec.namespace for spec in subscribers)})


def targets(
    settings: Settings,
    subscribers: Iterable[SubscriberSpec],
    corpus_endpoint: str = CORPUS_ENDPOINT,
) -> dict[str, tuple[str, str]]:
    """Namespace and task queue of every Nexus endpoint.

    Raises:
        ConfigurationError: one endpoint would have two.
    """
    endpoints = {corpus_endpoint: (settings.temporal_namespace, task_queues.NEXUS)}
    for spec in subscribers:
        target = (spec.namespace, spec.task_queue)
        if endpoints.setdefault(spec.endpoint, target) != target:
            raise ConfigurationError(
                f"endpoint {spec.endpoint!r} of subscriber {spec.subscriber!r} is also used with another target"
            )
    return endpoints


def _subscribe(
    url: str, wanted: Iterable[tuple[SubscriberSpec, str]], prune: bool
) -> tuple[list[Change], list[tuple[str, str]]]:
    changes: list[Change] = []
    ended: list[tuple[str, str]] = []
    with connect(url, application="freshet-apply") as connection, connection.transaction():
        before = {
            (row["subscriber"], row["source"]): row
            for row in subscriptions(connection)
            if row["state"] == "active"
        }
        for spec, source in wanted:
            row = connection.execute(
                query("upsert_subscription"),
                {
                    "subscriber": spec.subscriber,
                    "source": source,
                    "endpoint": spec.endpoint,
                    "from_batch": 0 if spec.from_start else -1,
                },
            ).fetchone()
            if row is None:
                raise ConfigurationError(
                    f"subscriber {spec.subscriber!r} wants source {source!r}, which does not exist; configure it first"
                )
            connection.execute(
                query("ensure_delivery"), {"subscriber": spec.subscriber, "source": source}
            )
            old = before.pop((spec.subscriber, source), None)
            change = (
                "created"
                if old is None
                else "unchanged"
                if old["endpoint"] == spec.endpoint
                else "updated"
            )
            changes.append(
                Change(kind="subscription", name=f"{spec.subscriber}:{source}", change=change)
            )
        for subscriber, source in before:
            if not prune:
                changes.append(
                    Change(kind="subscription", name=f"{subscriber}:{source}", change="unlisted")
                )
                continue
            connection.execute(
                query("end_subscription"), {"subscriber": subscriber, "source": source}
            )
            changes.append(
                Change(kind="subscription", name=f"{subscriber}:{source}", change="ended")
            )
            ended.append((subscriber, source))
    return changes, ended


def subscriptions(connection: Connection, source: str | None = None) -> list[dict[str, Any]]:
    """Every subscription with its delivery."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query("subscriptions"), {"source": source}).fetchall()


async def ensure_namespace(client: Client, name: str) -> str:
    """Register a namespace where it is missing. Where we may not (a managed server), it must be there."""
    if await namespace_exists(client, name):
        return "unchanged"
    retention = Duration()
    retention.FromTimedelta(_RETENTION)
    try:
        await client.workflow_service.register_namespace(
            RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=retention)
        )
    except RPCError as error:
        if error.status is RPCStatusCode.ALREADY_EXISTS:
            return "unchanged"
        raise _unavailable(f"namespace {name!r}", error) from error
    return "created"


async def namespace_exists(client: Client, name: str) -> bool:
    """Whether it is registered."""
    try:
        await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=name))
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise _unavailable(f"namespace {name!r}", error) from error
        return False
    return True


async def endpoint_target(client: Client, name: str) -> tuple[str, str] | None:
    """Namespace and task queue that an endpoint leads to; None where there is none."""
    try:
        listed = await client.operator_service.list_nexus_endpoints(
            ListNexusEndpointsRequest(name=name, page_size=1)
        )
    except RPCError as error:
        raise _unavailable(f"Nexus endpoint {name!r}", error) from error
    if not listed.endpoints:
        return None
    worker = listed.endpoints[0].spec.target.worker
    return worker.namespace, worker.task_queue


async def ensure_endpoint(client: Client, name: str, namespace: str, task_queue: str) -> str:
    """Make a Nexus endpoint point where it must."""
    target = EndpointTarget(
        worker=EndpointTarget.Worker(namespace=namespace, task_queue=task_queue)
    )
    spec = EndpointSpec(name=name, target=target)
    for attempt in range(_SETTLE_TRIES):
        try:
            return await _ensure_endpoint(client, spec)
        except RPCError as error:
            settling = error.status in (
                RPCStatusCode.NOT_FOUND,
                RPCStatusCode.FAILED_PRECONDITION,
                RPCStatusCode.ABORTED,
            )
            if not settling or attempt + 1 == _SETTLE_TRIES:
                raise _unavailable(f"Nexus endpoint {name!r}", error) from error
            await asyncio.sleep(_SETTLE_SECONDS)
    raise AssertionError("unreachable")


async def _ensure_endpoint(client: Client, spec: EndpointSpec) -> str:
    service = client.operator_service
    listed = await service.list_nexus_endpoints(
        ListNexusEndpointsRequest(name=spec.name, page_size=1)
    )
    if not listed.endpoints:
        try:
            await service.create_nexus_endpoint(CreateNexusEndpointRequest(spec=spec))
        except RPCError as error:
            if error.status is RPCStatusCode.ALREADY_EXISTS:  # somebody else was quicker
                return "unchanged"
            raise
        return "created"
    found = listed.endpoints[0]
    if found.spec.target == spec.target:
        return "unchanged"
    await service.update_nexus_endpoint(
        UpdateNexusEndpointRequest(id=found.id, version=found.version, spec=spec)
    )
    return "updated"


def _unavailable(what: str, error: RPCError) -> DependencyError:
    return DependencyError(
        f"{what} cannot be set up: {error.message}. Create it by hand if this server does not let us."
    )
