"""`freshet worker`, `freshet migrate`: the processes themselves."""

from typing import Annotated

import typer

from workers.cli.console import say
from workers.roles.table import ROLES


def worker(
    role: Annotated[str, typer.Argument(help=f"One of {', '.join(ROLES)}.")],
) -> int:
    """Run one worker role until it is told to stop (SIGTERM)."""
    import asyncio

    from workers.roles.run import run_role

    asyncio.run(run_role(role))
    return 0


def migrate() -> None:
    """Bring the database's schema up to this version."""
    from corpus.database import migrate as apply_migrations
    from workers.config.settings import load

    done = apply_migrations(load().database_url)
    say(f"applied {', '.join(done)}" if done else "the schema is current")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel="Service")(worker)
    app.command(rich_help_panel="Service")(migrate)
