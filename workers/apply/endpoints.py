"""Nexus endpoints: those that teams call, one per team and one of no team, and those of subscribers."""

import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.nexus.v1 import Endpoint as ApiEndpoint
from temporalio.api.nexus.v1 import EndpointSpec, EndpointTarget
from temporalio.api.operatorservice.v1 import (
    CreateNexusEndpointRequest,
    ListNexusEndpointsRequest,
    UpdateNexusEndpointRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from corpus import task_queues
from corpus.errors import ConfigurationError, DependencyError, InstallationError
from corpus.installation.identity import marked_by
from corpus.service import CORPUS_ENDPOINT
from workers.apply.change import Change
from workers.apply.kind import Kind, Names, Services, Target
from workers.apply.settling import until_settled
from workers.apply.subscriptions import subscriptions

logger = logging.getLogger(__name__)

_REFUSALS = (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNIMPLEMENTED)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an endpoint leads, and who made it."""

    namespace: str
    task_queue: str
    # Id of an installation; None: it has no mark, since an older Freshet or another program made it.
    made_by: str | None = field(default=None, compare=False)

    def fields(self) -> Mapping[str, Any]:
        """The target, as the Temporal command line writes it."""
        return {"target": f"{self.namespace}:{self.task_queue}"}


class Endpoints(Kind[Endpoint]):
    """Created and updated; never deleted, since other programs may use them.

    Endpoints are known in the whole cluster. One that leads elsewhere is changed only if it is this installation's.

    Args:
        corpus_endpoint: name of Freshet's own.
    """

    name = "endpoint"

    def __init__(self, corpus_endpoint: str = CORPUS_ENDPOINT) -> None:
        self._corpus_endpoint = corpus_endpoint

    async def desired(
        self, services: Services, target: Target
    ) -> Mapping[str, Endpoint]:
        """The one of no team, whose calls are refused; one per team; one per subscriber.

        Raises:
            ConfigurationError: one endpoint would have two targets.
        """
        own = services.client.namespace
        unclaimed = Endpoint(namespace=own, task_queue=task_queues.NEXUS)
        endpoints = {self._corpus_endpoint: unclaimed}
        for team in target.config.teams:
            endpoint = Endpoint(namespace=own, task_queue=team.task_queue)
            if endpoints.setdefault(team.endpoint, endpoint) != endpoint:
                raise ConfigurationError(
                    f"endpoint {team.endpoint!r} of team {team.team!r} is also used with another target"
                )
        for spec in target.config.subscribers:
            endpoint = Endpoint(namespace=spec.namespace, task_queue=spec.task_queue)
            first = endpoints.setdefault(spec.endpoint, endpoint)
            if first != endpoint:
                raise ConfigurationError(
                    f"endpoint {spec.endpoint!r} of subscriber {spec.subscriber!r} "
                    "is also used with another target"
                )
        return endpoints

    async def compare(
        self, services: Services, target: Target
    ) -> list[Change[Endpoint]]:
        """The plan for this kind.

        Raises:
            ConfigurationError: one endpoint would have two targets.
            InstallationError: one leads elsewhere, and is not this installation's.
        """
        changes = await super().compare(services, target)
        if services.process is None:
            return changes
        own = await services.process.own_ids(services.client)
        incoming = {team.endpoint for team in target.config.teams}
        incoming.add(self._corpus_endpoint)
        for change in changes:
            current = change.current
            if current is None or not change.is_needed:
                continue
            if change.name in incoming and current.made_by is None:
                is_own = current.namespace == services.client.namespace
            else:
                is_own = self._is_own(services, change.name, current, own)
            if not is_own:
                raise _foreign(change.name, current)
        return changes

    def _is_own(
        self, services: Services, name: str, current: Endpoint, own: Collection[str]
    ) -> bool:
        """One without a mark is ours if a subscription of this database calls it."""
        if current.made_by is not None:
            return current.made_by in own
        rows = subscriptions(services.connection)
        return name in {row["endpoint"] for row in rows}

    async def current(self, services: Services, names: Names) -> Mapping[str, Endpoint]:
        """Each as the server has it."""
        endpoints = {name: await _read(services.client, name) for name in names}
        return {
            name: replace(_target(found), made_by=_made_by(found))
            for name, found in endpoints.items()
            if found is not None
        }

    async def write(self, services: Services, change: Change[Endpoint]) -> None:
        """Make it lead where it should.

        Raises:
            DependencyError: the server does not answer, or does not let us; then somebody has to create it.
        """
        if change.desired is None:
            return
        mark = services.installation.mark if services.installation else ""
        await ensure_endpoint(services.client, change.name, change.desired, mark)


async def ensure_endpoint(
    client: Client, name: str, endpoint: Endpoint, mark: str = ""
) -> None:
    """Create an endpoint, or change its target.

    Args:
        client: of the server.
        name: of the endpoint.
        endpoint: where it leads.
        mark: of the installation, for its description.

    Raises:
        DependencyError: the server does not answer, or does not let us; then somebody has to create it.
    """
    try:
        await _ensure_endpoint(client, name, endpoint, mark)
    except RPCError as error:
        raise _unavailable(name, error) from error


@until_settled
async def _ensure_endpoint(
    client: Client, name: str, endpoint: Endpoint, mark: str
) -> None:
    worker = EndpointTarget.Worker(
        namespace=endpoint.namespace, task_queue=endpoint.task_queue
    )
    spec = EndpointSpec(
        name=name, target=EndpointTarget(worker=worker), description=_description(mark)
    )
    current = await _list(client, name)
    if current is None:
        await _create(client, spec)
    elif _target(current) != endpoint:
        request = UpdateNexusEndpointRequest(
            id=current.id, version=current.version, spec=spec
        )
        await client.operator_service.update_nexus_endpoint(request)


async def _create(client: Client, spec: EndpointSpec) -> None:
    request = CreateNexusEndpointRequest(spec=spec)
    try:
        await client.operator_service.create_nexus_endpoint(request)
    except RPCError as error:
        if (
            error.status is not RPCStatusCode.ALREADY_EXISTS
        ):  # another program was quicker
            raise


async def _read(client: Client, name: str) -> ApiEndpoint | None:
    """An endpoint; None where it does not exist, or where the server does not let us look.

    A managed server may refuse the question. The plan then says `create`, and all that comes before it is carried out.
    """
    try:
        return await _list(client, name)
    except RPCError as error:
        if error.status in _REFUSALS:
            context = {"action": "endpoint_unknown", "endpoint": name}
            logger.warning("the server does not list Nexus endpoints", extra=context)
            return None
        raise _unavailable(name, error) from error


async def _list(client: Client, name: str) -> ApiEndpoint | None:
    request = ListNexusEndpointsRequest(name=name, page_size=1)
    listed = await client.operator_service.list_nexus_endpoints(request)
    return listed.endpoints[0] if listed.endpoints else None


def _target(endpoint: ApiEndpoint) -> Endpoint:
    worker = endpoint.spec.target.worker
    return Endpoint(worker.namespace, worker.task_queue)


def _description(mark: str) -> Payload | None:
    """What the Temporal UI shows beside the endpoint; no codec encrypts it."""
    if not mark:
        return None
    text = json.dumps(f"Made by `freshet apply` ({mark})")
    return Payload(metadata={"encoding": b"json/plain"}, data=text.encode())


def _made_by(endpoint: ApiEndpoint) -> str | None:
    return marked_by(endpoint.spec.description.data.decode("utf-8", "replace"))


def _foreign(name: str, current: Endpoint) -> InstallationError:
    owner = "another program"
    if current.made_by is not None:
        owner = f"installation {current.made_by}"
    return InstallationError(
        f"Nexus endpoint {name!r} leads to {current.namespace}:{current.task_queue} and belongs to {owner}. Endpoints "
        "are known in the whole cluster: name another one (FRESHET_NEXUS_ENDPOINT for the one of no team, `endpoint` "
        "for a team's or a subscriber's), or change it with `temporal operator nexus endpoint update`"
    )


def _unavailable(name: str, error: RPCError) -> DependencyError:
    return DependencyError(
        f"Nexus endpoint {name!r} cannot be read or set up: {error.message}. "
        "Create it by hand if this server allows nothing else."
    )
