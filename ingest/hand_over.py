"""Hand a staged micro-batch, or an order, to the source's entity workflow: signal-with-start."""

from datetime import timedelta

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError

from corpus import task_queues
from corpus.batch import BatchRef, Correct, Erase
from corpus.errors import DependencyError
from corpus.source import SourceSpec, source_workflow_id
from ingest.source_state import initial_state

_RPC_TIMEOUT = timedelta(seconds=10)


async def hand_over(client: Client, ref: BatchRef, spec: SourceSpec) -> None:
    """Signal the entity, and start it if it does not run; when this returns, Temporal holds the reference.

    This is a signal, not an update, because a signal is durable while no worker runs. If the reply is lost, the caller
    repeats the signal and the entity receives it twice. That is harmless: the entity recognises a reference that waits,
    and the position row in the publishing transaction recognises one that is published.

    Raises:
        DependencyError: Temporal does not answer or does not accept the signal now: it is down or overloaded, or the
            run has received too many signals. Repeat the call later.
    """
    await send_order(client, spec, "batch_staged", ref)


async def send_order(
    client: Client, spec: SourceSpec, signal: str, order: BatchRef | Correct | Erase
) -> None:
    """Signal the entity, and start it if it does not run.

    Raises:
        DependencyError: as `hand_over`.
    """
    workflow_id = source_workflow_id(spec.source)
    try:
        await client.start_workflow(
            "SourceWorkflow",
            initial_state(spec),
            id=workflow_id,
            task_queue=task_queues.WORKFLOWS,
            start_signal=signal,
            start_signal_args=[order],
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            rpc_timeout=_RPC_TIMEOUT,
        )
    except RPCError as error:
        reason = f"{error.status.name}: {error.message}"
        raise DependencyError(
            f"Temporal does not accept a signal for {workflow_id}: {reason}; repeat it later"
        ) from error
