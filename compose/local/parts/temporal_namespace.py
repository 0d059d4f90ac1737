"""A Temporal namespace as Freshet needs it: registered, served, with Freshet's search attributes.

Temporal's client library is imported in the functions: it takes longer to load than most commands take to run.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from corpus import search_attributes
from corpus.errors import DependencyError

if TYPE_CHECKING:
    from temporalio.client import Client

# Name -> type, as `temporal operator search-attribute create` takes them.
SEARCH_ATTRIBUTES = {
    key.name: key.indexed_value_type.name.title() for key in search_attributes.ALL
}
_SERVE_SECONDS = 30.0
_POLL_SECONDS = 0.05


async def create_namespace(address: str, namespace: str) -> bool:
    """Prepare a namespace on a server of our own, which has no TLS and lets us register it.

    Returns:
        Whether the namespace was registered by this call.

    Raises:
        DependencyError: the server refuses, or does not answer.
    """
    from workers.apply.namespaces import register_namespace

    client = await _connect(address)
    created = await register_namespace(client, namespace)
    await wait_for_namespace(client, namespace)
    await add_search_attributes(client, namespace)
    return created


async def prepare_namespace(client: "Client", namespace: str) -> bool:
    """Prepare a namespace on any server: register it if it is missing, and Freshet's search attributes.

    Returns:
        Whether the namespace was registered by this call.

    Raises:
        DependencyError: the server refuses, or does not serve the namespace within 30 s.
    """
    from workers.apply.namespaces import ensure_namespace

    created = await ensure_namespace(client, namespace)
    await wait_for_namespace(
        client, namespace
    )  # another process may have registered it just now
    await add_search_attributes(client, namespace)
    return created


async def wait_for_namespace(client: "Client", namespace: str) -> None:
    """Wait until the frontend serves a new namespace.

    The frontend remembers for a second that a namespace it was asked for is missing. Until then calls fail with
    NOT_FOUND, while DescribeNamespace, which reads the database, already finds the namespace.

    Raises:
        DependencyError: the frontend does not serve it within 30 s.
    """
    for _ in range(round(_SERVE_SECONDS / _POLL_SECONDS)):
        if await is_served(client, namespace):
            return
        await asyncio.sleep(_POLL_SECONDS)
    raise DependencyError(
        f"namespace {namespace} was made {_SERVE_SECONDS:.0f} s ago and is not served yet; run `freshet up` again"
    )


async def is_served(client: "Client", namespace: str) -> bool:
    """Return whether the frontend serves a namespace.

    Raises:
        DependencyError: the server does not answer, or refuses the question.
    """
    from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
    from temporalio.service import RPCError, RPCStatusCode

    request = ListSearchAttributesRequest(namespace=namespace)
    try:
        await client.operator_service.list_search_attributes(request)
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return False
        raise DependencyError(
            f"namespace {namespace} cannot be used: {error.message}"
        ) from error
    return True


async def register_search_attributes(address: str, namespace: str) -> list[str]:
    """Connect to a server without TLS, and register Freshet's search attributes there.

    Returns:
        The names of those that were missing.

    Raises:
        DependencyError: the server refuses or does not answer, or has one with another type.
    """
    return await add_search_attributes(await _connect(address, namespace), namespace)


async def add_search_attributes(client: "Client", namespace: str) -> list[str]:
    """Register Freshet's search attributes through a client, which may have TLS and an API key.

    Returns:
        The names of those that were missing.

    Raises:
        DependencyError: the server refuses, or has one with another type.
    """
    from temporalio.api.enums.v1 import IndexedValueType
    from temporalio.api.operatorservice.v1 import (
        AddSearchAttributesRequest,
        ListSearchAttributesRequest,
    )
    from temporalio.service import RPCError, RPCStatusCode

    required = {
        name: IndexedValueType.Value(f"INDEXED_VALUE_TYPE_{kind.upper()}")
        for name, kind in SEARCH_ATTRIBUTES.items()
    }
    try:
        response = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=namespace)
        )
        present = response.custom_attributes
        missing = {name: kind for name, kind in required.items() if name not in present}
        _refuse_other_types(namespace, required, present)
        if missing:
            await client.operator_service.add_search_attributes(
                AddSearchAttributesRequest(
                    namespace=namespace, search_attributes=missing
                )
            )
    except RPCError as error:
        if error.status == RPCStatusCode.ALREADY_EXISTS:
            return []
        raise DependencyError(
            f"search attributes of namespace {namespace} cannot be registered: {error.message}"
        ) from error
    return sorted(missing)


def _refuse_other_types(
    namespace: str, required: Mapping[str, int], present: Mapping[str, int]
) -> None:
    wrong = [name for name, kind in required.items() if present.get(name, kind) != kind]
    if wrong:
        raise DependencyError(
            f"search attributes {', '.join(wrong)} of namespace {namespace} have another type "
            f"than {SEARCH_ATTRIBUTES}; remove them there, or use another namespace"
        )


async def _connect(address: str, namespace: str = "default") -> "Client":
    from temporalio.client import Client

    try:
        return await Client.connect(address, namespace=namespace)
    except RuntimeError as error:
        raise DependencyError(
            f"Temporal at {address} does not answer: {error}"
        ) from error
