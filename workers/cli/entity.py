"""What commands send to the workflow of a source."""

from typing import TYPE_CHECKING

from workers.cli.console import CommandError, ExitCode

if TYPE_CHECKING:
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
