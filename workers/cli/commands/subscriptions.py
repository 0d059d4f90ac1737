"""`freshet subscriptions list|resume`: which team is notified of which source, and how far."""

import asyncio
import contextlib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli.console import CommandError, write_json, write_message, write_table

if TYPE_CHECKING:
    from temporalio.api.workflow.v1 import PendingNexusOperationInfo

    from corpus.database import Connection
    from workers.config.settings import Settings

_COLUMNS = (
    *("subscriber", "source", "endpoint", "state", "delivery"),
    *("cursor_batch", "behind", "delivered", "last_error"),
)

OneSource = Annotated[
    str | None,
    typer.Option("--source", "-s", help="Only this source.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


def show(source: OneSource = None, as_json: Json = False) -> None:
    """Show every subscription: how many batches it is behind, and why it is parked if it is."""
    from corpus.database import connect
    from workers.cli.names import require_source
    from workers.config import settings

    resolved = settings.load()
    with connect(resolved.database_url) as connection:
        require_source(connection, source)
        rows = _subscriptions(connection, source)
    for row in rows:
        row["behind"] = row["last_batch"] - row["cursor_batch"]
    asyncio.run(
        _add_attempts(
            resolved, [row for row in rows if row["delivery"] == "delivering"]
        )
    )
    if as_json:
        write_json(rows)
        return
    write_table(
        _COLUMNS,
        ([row[name] for name in _COLUMNS] for row in rows),
        empty="there is no subscription; add a subscriber to freshet.toml",
    )


def resume(
    subscriber: Annotated[str, typer.Argument(help="Which subscriber.")],
    source: Annotated[str, typer.Argument(help="Of which source.")],
) -> None:
    """Let a parked delivery try now, from its cursor."""
    from corpus.database import connect
    from workers.config import settings
    from workers.operations import note_operation

    resolved = settings.load()
    with connect(resolved.database_url) as connection:
        rows = _subscriptions(connection, source)
        known = [row for row in rows if row["subscriber"] == subscriber]
        if not known:
            raise CommandError(
                f"{subscriber!r} has no subscription to source {source!r}; "
                "`freshet subscriptions list` lists them"
            )
        note_operation(
            connection, "subscriptions resume", source, subscriber=subscriber
        )
    asyncio.run(_resume(resolved, subscriber, source))
    write_message(
        f"{subscriber}:{source} tries now, after batch {known[0]['cursor_batch']}"
    )


def _subscriptions(
    connection: "Connection", source: str | None
) -> list[dict[str, Any]]:
    from workers.apply.subscriptions import subscriptions

    return [dict(row) for row in subscriptions(connection, source)]


async def _add_attempts(settings: "Settings", rows: list[dict[str, Any]]) -> None:
    """Add why a notice that is on its way does not arrive; left out where Temporal does not answer."""
    from temporalio.service import RPCError

    from corpus.deliver.subscription import delivery_workflow_id
    from corpus.errors import DependencyError
    from workers.temporal.client import temporal

    if not rows:
        return
    with contextlib.suppress(RPCError, DependencyError):
        client = await temporal(settings)
        for row in rows:
            workflow_id = delivery_workflow_id(row["subscriber"], row["source"])
            delivery = client.get_workflow_handle(workflow_id)
            described = await delivery.describe()
            operations = described.raw_description.pending_nexus_operations
            for pending in operations:
                if pending.attempt > 1 or pending.blocked_reason:
                    row["last_error"] = _attempt(pending)


def _attempt(pending: "PendingNexusOperationInfo") -> str:
    why = pending.blocked_reason or pending.last_attempt_failure.message
    return f"attempt {pending.attempt}: {why}"


async def _resume(settings: "Settings", subscriber: str, source: str) -> None:
    from corpus.deliver.activities import resume_delivery
    from workers.temporal.client import temporal

    await resume_delivery(await temporal(settings), subscriber, source)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help="Which team is notified of which source, and how far.",
        no_args_is_help=True,
    )
    group.command("list")(show)
    group.command()(resume)
    app.add_typer(group, name="subscriptions")
