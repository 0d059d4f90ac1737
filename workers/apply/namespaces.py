"""Temporal namespaces: Freshet's own, and those of the teams."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    RegisterNamespaceRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from corpus.errors import DependencyError
from workers.apply.change import Change
from workers.apply.kind import Kind, Names, Services, Target
from workers.apply.settling import until_settled
from workers.installation import Process

logger = logging.getLogger(__name__)

_RETENTION = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace that exists; how long it keeps histories is its operator's choice."""

    def fields(self) -> Mapping[str, Any]:
        """None."""
        return {}


class Namespaces(Kind[Namespace]):
    """Registered where they are missing; never deleted."""

    name = "namespace"

    async def desired(
        self, services: Services, target: Target
    ) -> Mapping[str, Namespace]:
        """Freshet's own, and one per team."""
        subscribers = {spec.namespace for spec in target.config.subscribers}
        teams = {spec.namespace for spec in target.config.teams}
        names = {services.client.namespace} | subscribers | teams
        return {name: Namespace() for name in sorted(names)}

    async def current(
        self, services: Services, names: Names
    ) -> Mapping[str, Namespace]:
        """Those that are registered."""
        return {
            name: Namespace()
            for name in names
            if await namespace_exists(services.client, name)
        }

    async def write(self, services: Services, change: Change[Namespace]) -> None:
        """Register it; Freshet's own gets the mark of its installation at once."""
        await ensure_namespace(services.client, change.name)
        process = services.process
        if process is not None and change.name == services.client.namespace:
            await _mark_when_settled(process, services.client)


@until_settled
async def _mark_when_settled(process: Process, client: Client) -> None:
    await process.use_namespace(client)


async def ensure_namespace(client: Client, name: str) -> bool:
    """Register a namespace where it is missing; whether it was.

    Raises:
        DependencyError: the server does not answer, or does not let us; then somebody has to register it.
    """
    if await namespace_exists(client, name):
        return False
    return await register_namespace(client, name)


async def register_namespace(client: Client, name: str) -> bool:
    """Register a namespace without looking for it; return whether this call registered it.

    A frontend remembers for a second that a namespace it was asked for is missing. A server of our own is therefore
    not asked first: the namespace can be used at once.

    Raises:
        DependencyError: the server does not answer, or refuses.
    """
    retention = Duration()
    retention.FromTimedelta(_RETENTION)
    try:
        await client.workflow_service.register_namespace(
            RegisterNamespaceRequest(
                namespace=name, workflow_execution_retention_period=retention
            )
        )
    except RPCError as error:
        if error.status is RPCStatusCode.ALREADY_EXISTS:
            return False
        raise DependencyError(
            f"namespace {name!r} cannot be registered: {error.message}. "
            "Register it by hand if this server allows nothing else."
        ) from error
    return True


async def namespace_exists(client: Client, name: str) -> bool:
    """Whether a namespace is registered; true where the server does not let us look.

    Raises:
        DependencyError: the server does not answer.
    """
    try:
        await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=name)
        )
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        if error.status is RPCStatusCode.PERMISSION_DENIED:
            # An authorizer may show us our own namespace only; the team's is its operator's business.
            context = {"action": "namespace_unknown", "namespace": name}
            logger.warning("the server does not describe a namespace", extra=context)
            return True
        raise DependencyError(
            f"namespace {name!r} cannot be described: {error.message}"
        ) from error
    return True
