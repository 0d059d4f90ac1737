"""`freshet worker`, `freshet migrate`: the processes themselves."""

from typing import Annotated

import typer

from workers.cli.console import write_message
from workers.roles.table import ROLES


def worker(
    role: Annotated[str, typer.Argument(help=f"One of {', '.join(ROLES)}.")],
) -> int:
    """Run one worker role until SIGTERM or SIGINT."""
    import asyncio

    from workers.roles.run import run_role

    asyncio.run(run_role(role))
    return 0


def migrate() -> None:
    """Bring the database's schema, roles, logins, indexes and search texts up to this version."""
    from corpus.database import migrate as apply_migrations
    from corpus.embed.space_indexes import build_missing
    from corpus.text_search import rebuild_search_texts
    from workers.cli.index_progress import watched
    from workers.config.settings import load
    from workers.migrations import make_logins

    settings = load()
    url = settings.database_url
    done = apply_migrations(url, notify=write_message)
    make_logins(url, settings.writer_database_url, settings.gateway_database_url)
    if built := watched(url, lambda: build_missing(url)):
        write_message(f"vector indexes built: {len(built)}")
    if done:
        write_message(f"applied {', '.join(done)}")
    else:
        write_message("the schema is up to date")
    texts = rebuild_search_texts(url)
    if texts.rebuilt:
        write_message(f"search texts rebuilt: {texts.rebuilt}")
    if texts.warning:
        write_message(texts.warning)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel="Service")(worker)
    app.command(rich_help_panel="Service")(migrate)
