"""`freshet drain`: wait until the corpus is up to date."""

from typing import Annotated

import typer

from workers.cli.console import (
    MAX_WAIT_SECONDS,
    check_exit_code,
    write_json,
    write_message,
)
from workers.cli.progress import progress_line

Timeout = Annotated[
    float,
    typer.Option("--timeout", min=0, max=MAX_WAIT_SECONDS, help="Seconds to wait."),
]
Source = Annotated[
    str | None,
    typer.Option("--source", "-s", help="Only this source.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="As JSON, without progress.")]


def drain(timeout: Timeout = 60.0, source: Source = None, as_json: Json = False) -> int:
    """Wait until all records that are in the topics now are in the corpus.

    Exit code 1 if they are not in time, or if a source is halted or paused.
    """
    from workers.config.settings import load
    from workers.drain import drain as wait

    settings = load()
    with progress_line(silent=as_json) as line:
        on_progress = None if as_json else line.show
        result = wait(settings, source=source, timeout=timeout, on_progress=on_progress)
    if as_json:
        write_json(result)
    elif result["drained"]:
        write_message(
            f"up to date: all {result['records']:,} records are in the corpus "
            f"({result['seconds']:.1f} s)"
        )
    else:
        write_message(f"not up to date: {result['why']}")
    return check_exit_code(passed=result["drained"])


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel="Corpus")(drain)
