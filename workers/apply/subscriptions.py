"""Subscriptions: which team is notified of which source; rows in one transaction, and a running delivery for each."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg.rows import dict_row
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from corpus.database import Connection, database_errors_translated
from corpus.deliver.activities import wake_delivery
from corpus.deliver.subscription import delivery_workflow_id
from corpus.errors import ConfigurationError, DependencyError
from corpus.sql import query
from workers.apply.change import Action, Change
from workers.apply.kind import Names, RowKind, Services, Target

_ACTIVE = "active"
_AFTER_THE_NEWEST = -1  # what the query takes for "from the next batch on"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """One team's subscription to one source."""

    endpoint: str
    is_running: bool = (
        True  # its delivery workflow; it is lost with Temporal's own data only
    )
    from_start: bool = True  # where a subscription begins that has never existed

    def fields(self) -> Mapping[str, Any]:
        """The endpoint, and the state of the delivery."""
        delivery = "running" if self.is_running else "not running"
        return {"endpoint": self.endpoint, "delivery": delivery}


class Subscriptions(RowKind[Subscription]):
    """Named `SUBSCRIBER:SOURCE`. One that has ended does not exist here; its cursor stays for a return."""

    name = "subscription"

    async def desired(
        self, services: Services, target: Target
    ) -> Mapping[str, Subscription]:
        """One per team and source."""
        return {
            f"{spec.subscriber}:{source}": Subscription(
                endpoint=spec.endpoint, from_start=spec.from_start
            )
            for spec in target.config.subscribers
            for source in spec.sources
        }

    async def existing(self, services: Services) -> Names:
        """Every active one of the database."""
        return _endpoints(services.connection).keys()

    async def current(
        self, services: Services, names: Names
    ) -> Mapping[str, Subscription]:
        """The active ones, each with the state of its delivery."""
        endpoints = _endpoints(services.connection)
        active = [name for name in names if name in endpoints]
        checks = [_is_running(services.client, name) for name in active]
        running = await asyncio.gather(*checks)
        return {
            name: Subscription(endpoint=endpoints[name], is_running=is_running)
            for name, is_running in zip(active, running, strict=True)
        }

    def surplus(
        self, name: str, current: Subscription, target: Target
    ) -> Change[Subscription]:
        """Ended with --prune."""
        action = Action.END if target.prune else Action.UNLISTED
        desired = None if target.prune else current
        return Change(
            kind=self.name,
            name=name,
            action=action,
            current=current,
            desired=desired,
        )

    def is_as_planned(
        self, current: Subscription | None, change: Change[Subscription]
    ) -> bool:
        """By the row alone: a delivery begins and ends by itself, or another `apply` has not started it yet."""
        planned = (_endpoint(change.current), _endpoint(change.desired))
        return _endpoint(current) in planned

    async def write(self, services: Services, change: Change[Subscription]) -> None:
        """Insert, update or end the row; a cursor that exists keeps its position.

        Raises:
            ConfigurationError: the source does not exist.
        """
        subscriber, source = _parts(change.name)
        key = {"subscriber": subscriber, "source": source}
        with database_errors_translated():
            if change.desired is None:
                services.connection.execute(query("end_subscription"), key)
            else:
                _upsert(services.connection, key, change.desired)

    async def finish(self, services: Services, change: Change[Subscription]) -> None:
        """Wake the delivery, so that it delivers from its cursor, or sees that it has ended."""
        subscriber, source = _parts(change.name)
        try:
            await wake_delivery(services.client, subscriber, source, 0)
        except RPCError as error:
            raise DependencyError(
                f"the database has it, but its delivery was not started: {error.message}; run `freshet apply` again"
            ) from error


def _endpoint(subscription: Subscription | None) -> str | None:
    if subscription is None:
        return None
    return subscription.endpoint


def subscriptions(
    connection: Connection, source: str | None = None
) -> list[dict[str, Any]]:
    """Every subscription with its delivery: one dict per row of the query `subscriptions`."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query("subscriptions"), {"source": source}).fetchall()


def _endpoints(connection: Connection) -> dict[str, str]:
    """Endpoint of every active subscription, by its name."""
    with database_errors_translated():
        rows = subscriptions(connection)
    endpoints: dict[str, str] = {}
    for row in rows:
        if row["state"] == _ACTIVE:
            name = f"{row['subscriber']}:{row['source']}"
            endpoints[name] = row["endpoint"]
    return endpoints


def _upsert(connection: Connection, key: dict[str, str], desired: Subscription) -> None:
    from_batch = 0 if desired.from_start else _AFTER_THE_NEWEST
    values = key | {"endpoint": desired.endpoint, "from_batch": from_batch}
    row = connection.execute(query("upsert_subscription"), values).fetchone()
    if row is None:
        raise ConfigurationError(
            f"subscriber {key['subscriber']!r} names source {key['source']!r}, "
            "which does not exist; configure it first"
        )
    connection.execute(query("ensure_delivery"), key)


def _parts(name: str) -> tuple[str, str]:
    subscriber, _, source = name.partition(":")
    return subscriber, source


async def _is_running(client: Client, name: str) -> bool:
    handle = client.get_workflow_handle(delivery_workflow_id(*_parts(name)))
    try:
        description = await handle.describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise DependencyError(
            f"Temporal: reading the delivery of {name} failed: {error.message}"
        ) from error
    return description.status is WorkflowExecutionStatus.RUNNING
