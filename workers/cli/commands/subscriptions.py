"""`freshet subscriptions list|resume`: who is told of which source, and how far."""

import asyncio
import contextlib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli.console import CommandError, say, write_json, write_table

if TYPE_CHECKING:
    from workers.config.settings import Settings


def show(
    source: Annotated[
        str | None, typer.Option("--source", "-s", help="Only this source.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show every subscription: how many batches it is behind, and why it is parked if it is."""
    from corpus.database import connect
    from workers.apply.subscriptions import subscriptions
    from workers.cli.names import require_source
    from workers.config import settings

    with connect(settings.load().database_url) as connection:
        require_source(connection, source)
        rows = [
            row | {"behind": row["last_batch"] - row["cursor_batch"]}
            for row in subscriptions(connection, source)
        ]
    asyncio.run(
        _add_attempts(settings.load(), [row for row in rows if row["delivery"] == "delivering"])
    )
    if as_json:
        write_json(rows)
        return
    columns = (
        "subscriber",
        "source",
        "endpoint",
        "state",
        "delivery",
        "cursor_batch",
        "behind",
        "delivered",
        "last_error",
    )
    write_table(
        columns,
        [[row[name] for name in columns] for row in rows],
        empty="nobody is told; add a subscriber to freshet.toml",
    )


def resume(
    subscriber: Annotated[str, typer.Argument(help="Which subscriber.")],
    source: Annotated[str, typer.Argument(help="Of which source.")],
) -> None:
    """Let a parked delivery try now, from its cursor."""
    from corpus.database import connect
    from workers.apply.subscriptions import subscriptions
    from workers.config import settings

    resolved = settings.load()
    with connect(resolved.database_url) as connection:
        known = [
            row for row in subscriptions(connection, source) if row["subscriber"] == subscriber
        ]
    if not known:
        raise CommandError(
            f"{subscriber!r} is not told of source {source!r}; see `freshet subscriptions list`"
        )
    asyncio.run(_resume(resolved, subscriber, source))
    say(f"{subscriber}:{source} tries now, after batch {known[0]['cursor_batch']}")


async def _add_attempts(settings: "Settings", rows: list[dict[str, Any]]) -> None:
    """Say of notices on their way why they do not arrive; left out where Temporal does not answer."""
    from temporalio.service import RPCError

    from corpus.deliver.subscription import delivery_workflow_id
    from corpus.errors import DependencyError
    from workers.temporal.client import temporal

    if not rows:
        return
    with contextlib.suppress(RPCError, DependencyError):
        client = await temporal(settings)
        for row in rows:
            described = await client.get_workflow_handle(
                delivery_workflow_id(row["subscriber"], row["source"])
            ).describe()
            for pending in described.raw_description.pending_nexus_operations:
                if pending.attempt > 1 or pending.blocked_reason:
                    why = pending.blocked_reason or pending.last_attempt_failure.message
                    row["last_error"] = f"attempt {pending.attempt}: {why}"


async def _resume(settings: "Settings", subscriber: str, source: str) -> None:
    from corpus.deliver.activities import resume_delivery
    from workers.temporal.client import temporal

    await resume_delivery(await temporal(settings), subscriber, source)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Who is told of which source, and how far.", no_args_is_help=True)
    group.command("list")(show)
    group.command()(resume)
    app.add_typer(group, name="subscriptions")
