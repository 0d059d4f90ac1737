"""Hand a staged micro-batch to the source's entity workflow: signal-with-start."""

from datetime import timedelta

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError

from corpus import task_queues
from corpus.batch import BatchRef
from corpus.errors import DependencyError
from corpus.source import SourceSpec, source_workflow_id
from ingest.source_state import initial_state

_RPC_TIMEOUT = timedelta(seconds=10)


async def hand_over(client: Client, ref: BatchRef, spec: SourceSpec) -> None:
    """Signal the entity, starting it where it does not run; when this returns, Temporal holds the reference.

    A signal, not an update: it is durable with no worker alive. When the reply is lost the caller repeats it and the entity
    gets it twice, which is harmless: what waits there is recognised, what is published the position row refuses.

    Raises:
        DependencyError: Temporal does not answer or does not take it now (down, overloaded, too many signals in the run).
    """
    try:
        await client.start_workflow(
            "SourceWorkflow",
            initial_state(spec),
            id=source_workflow_id(spec.source),
            task_queue=task_queues.WORKFLOWS,
            start_signal="batch_staged",
            start_signal_args=[ref],
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            rpc_timeout=_RPC_TIMEOUT,
        )
    except RPCError as error:
        raise DependencyError(
            f"Temporal does not take a signal for {source_workflow_id(spec.source)}: {error.status.name}: {error.message}"
        ) from error
