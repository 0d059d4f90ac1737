"""The command line in tests: the tree of commands by name, and runs in this process or in one of its own."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer.main

from workers.cli.main import build, run

ROOT = Path(__file__).resolve().parents[2]
NO_STACK = "Run `freshet up`"  # where a command needs an address and has none


class Done(NamedTuple):
    """The end of a command."""

    code: int
    stdout: str
    stderr: str


class CommandLine:
    """`freshet` in a folder, with a state directory of its own that no stack runs in."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self._folder, self._monkeypatch, self._capsys = folder, monkeypatch, capsys

    def __call__(self, *words: str, **settings: str) -> Done:
        """Run in this process: Python and its libraries take most of a second to start."""
        self._capsys.readouterr()
        with self._monkeypatch.context() as patch, _logging_kept():
            patch.chdir(self._folder)
            for name, value in (self._home() | settings).items():
                patch.setenv(name, value)
            code = run(words)
        return Done(code, *self._capsys.readouterr())

    def process(self, *words: str, stdout: Any = subprocess.PIPE, **settings: str) -> Done:
        """Run in a process of its own, for what only a process shows: exit code, pipes, streams."""
        done = subprocess.run(
            [sys.executable, "-m", "workers", *words],
            cwd=self._folder,
            env=self.environment() | settings,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
        return Done(done.returncode, done.stdout or "", done.stderr)

    def environment(self) -> dict[str, str]:
        return os.environ | {"PYTHONPATH": str(ROOT)} | self._home()

    def _home(self) -> dict[str, str]:
        return {"FRESHET_HOME": str(self._folder / "home")}


@contextmanager
def _logging_kept() -> Iterator[None]:
    """A role configures the process's logs; pytest's handlers come back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


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
