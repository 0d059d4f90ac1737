"""The command tree, by name."""

from collections.abc import Iterator
from typing import Any

import typer.main

from workers.cli.main import build


def commands() -> Iterator[tuple[str, Any]]:
    """("dead-letters list", command) for every command and group."""
    yield from _below("", typer.main.get_command(build()))


def _below(path: str, group: Any) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        yield f"{path} {name}".strip(), command
        if hasattr(command, "commands"):
            yield from _below(f"{path} {name}", command)


def command_paths() -> list[str]:
    """Names only."""
    return [path for path, _ in commands()]
