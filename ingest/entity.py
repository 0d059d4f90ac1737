"""What a source's entity workflow says of itself."""

from datetime import timedelta
from typing import Any

from temporalio.client import (
    Client,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
)
from temporalio.common import QueryRejectCondition
from temporalio.service import RPCError, RPCStatusCode

from corpus.errors import DependencyError
from corpus.source import source_workflow_id
from ingest.source_state import SourceState

_RPC_TIMEOUT = timedelta(seconds=10)


async def state_of(
    entity: WorkflowHandle[Any, Any],
    rpc_timeout: timedelta,
    reject: QueryRejectCondition | None = None,
) -> SourceState:
    """What the entity knows; of one that has ended, what it knew.

    Args:
        entity: its handle.
        rpc_timeout: of the query.
        reject: which entities are not asked; None: each is.

    Raises:
        RPCError: Temporal does not answer, or there is no such workflow.
        WorkflowQueryFailedError: no worker answers.
        WorkflowQueryRejectedError: the entity is one of those that are not asked.
    """
    state: SourceState = await entity.query(
        "status",
        result_type=SourceState,
        reject_condition=reject,
        rpc_timeout=rpc_timeout,
    )
    return state


async def running_state(client: Client, source: str) -> SourceState | None:
    """What a source's entity knows; None: it does not run (terminated, never started, or Temporal lost it).

    Raises:
        DependencyError: Temporal does not answer, or no worker answers for the entity.
    """
    workflow_id = source_workflow_id(source)
    entity = client.get_workflow_handle(workflow_id)
    try:
        return await state_of(entity, _RPC_TIMEOUT, QueryRejectCondition.NOT_OPEN)
    except WorkflowQueryRejectedError:
        return None
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise DependencyError(
            f"{workflow_id} does not answer: {error.status.name}: {error.message}"
        ) from error
    except WorkflowQueryFailedError as error:
        raise DependencyError(f"{workflow_id} does not answer: {error}") from error
