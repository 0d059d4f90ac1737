"""Revisions that are measured beside one another: the tree at hand, and one that git has."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.database import Connection, connect
from tests.bench.stack import ROOT

NOW = "now"
BASELINE = "baseline"
_DRIVER = Path(__file__).with_name("driver.py")


class Revision:
    """A database that belongs to one tree, and a process that runs the tree's code. Use it in a `with` statement."""

    def __init__(self, name: str, tree: Path, url: str) -> None:
        self.name = name
        self.url = url
        self.connection: Connection
        # -P: the folder of the driver does not come before the tree.
        command = [sys.executable, "-P", str(_DRIVER), url]
        environment = os.environ | {"PYTHONPATH": str(tree), "HF_HUB_OFFLINE": "1"}
        self._process = subprocess.Popen(
            command,
            cwd=tree,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Revision":
        self.do("register")
        self.connection = connect(self.url)
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def do(self, command: str, **arguments: Any) -> Any:
        """Have the driver carry out a command; see there."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps({"do": command, **arguments}) + "\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise RuntimeError(f"the process of {self.name} ended; see above")
        return json.loads(line)


@dataclass(frozen=True, slots=True)
class Tree:
    """Where the code of a revision is, and what it is."""

    name: str
    folder: Path
    commit: str


@contextmanager
def trees(baseline: str | None) -> Iterator[list[Tree]]:
    """The tree at hand, and one of a revision or a folder if one is named."""
    now = Tree(NOW, ROOT, _commit(ROOT))
    if baseline is None:
        yield [now]
    elif Path(baseline).is_dir():
        folder = Path(baseline).resolve()
        yield [now, Tree(BASELINE, folder, _commit(folder))]
    else:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "tree"
            _git(ROOT, "worktree", "add", "--detach", str(folder), baseline)
            try:
                yield [now, Tree(BASELINE, folder, _commit(folder))]
            finally:
                _git(ROOT, "worktree", "remove", "--force", str(folder))


def _commit(folder: Path) -> str:
    described = _git(folder, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    return described.strip()


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout
