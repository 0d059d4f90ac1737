"""A source's workflow as the commands and the roles ask it."""

from datetime import timedelta
from typing import Any

from temporalio.client import WorkflowHandle

from ingest.source_state import SourceState


async def state_of(
    entity: WorkflowHandle[Any, Any], rpc_timeout: timedelta
) -> SourceState:
    """What the entity knows.

    Raises:
        RPCError: Temporal does not answer, or there is no such workflow.
        WorkflowQueryFailedError: no worker answers.
    """
    state: SourceState = await entity.query(
        "status", result_type=SourceState, rpc_timeout=rpc_timeout
    )
    return state
