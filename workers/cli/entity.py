"""What commands send to the workflow of a source."""

from typing import TYPE_CHECKING

from workers.cli.console import CommandError, ExitCode

if TYPE_CHECKING:
    from corpus.batch import Expire
    from workers.config.settings import Settings


async def signal_entity(
    settings: "Settings", source: str, signal: str, *, state: str
) -> None:
    """Let the entity read the source's row, which is in `state` now. One that never ran reads it when it begins."""
    from temporalio.service import RPCError, RPCStatusCode

    from corpus.source import source_workflow_id
    from workers.temporal.client import temporal

    client = await temporal(settings)
    try:
        await client.get_workflow_handle(source_workflow_id(source)).signal(signal)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise CommandError(
                f"source {source!r} is {state} in the database, but its workflow could not be "
                f"notified: {error.message}. Run the command again when Temporal answers.",
                ExitCode.UNAVAILABLE,
            ) from error


async def order_expiry(settings: "Settings", source: str, order: "Expire") -> None:
    """Let the entity withdraw what has an end that has passed; it is started where it does not run."""
    from temporalio.common import WorkflowIDConflictPolicy

    from corpus import task_queues
    from corpus.database import connect
    from corpus.source import source_workflow_id
    from ingest.operate import configured_source
    from ingest.source_state import initial_state
    from workers.temporal.client import temporal

    with connect(settings.database_url) as connection:
        spec = configured_source(connection, source).readable()
    client = await temporal(settings)
    await client.start_workflow(
        "SourceWorkflow",
        initial_state(spec),
        id=source_workflow_id(source),
        task_queue=task_queues.WORKFLOWS,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        start_signal="expire",
        start_signal_args=[order],
    )
