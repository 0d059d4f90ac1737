"""Parts of a local stack that are small shell scripts: the supervisor is tested without a server."""

import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from compose.local import part_runner
from compose.local import supervisor as supervisor_module
from compose.local.machine.process import ProcessId
from compose.local.parts.part import Part
from compose.local.state import add_request
from compose.local.supervisor import Supervisor
from tests.support.polling import wait_until

# Ends at once when it gets SIGTERM, as `sleep` itself does.
FOREVER = "exec sleep 600"


@dataclass(kw_only=True)
class LightPart(Part):
    """A shell script; it is ready as soon as it runs, unless `ready` says otherwise."""

    script: str = FOREVER
    ready: Callable[[], bool] = lambda: True
    grace_seconds: float = 2.0
    ready_seconds: float = 5.0

    def command(self) -> Sequence[str]:
        return ["sh", "-c", self.script]

    def is_ready(self, process: ProcessId) -> bool:
        return self.ready()


class LightStack:
    """A state directory with light parts, and a supervisor in a thread."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home = home
        self.parts: dict[str, Part] = {}
        self.supervisor: Supervisor | None = None
        monkeypatch.setattr(supervisor_module, "stack_parts", lambda *_: self.parts)
        monkeypatch.setattr(supervisor_module, "addresses", lambda *_: {"temporal_ui": "here"})
        monkeypatch.setattr(supervisor_module, "keep_secrets", lambda *_: None)
        monkeypatch.setattr(part_runner, "_FIRST_PAUSE_SECONDS", 0.02)
        monkeypatch.setattr(part_runner, "_MAX_PAUSE_SECONDS", 0.05)

    def add(self, name: str, **options: Any) -> LightPart:
        part = LightPart(home=self.home, name=name, **options)
        self.parts[name] = part
        return part

    @contextmanager
    def supervised(self, *requested: str) -> Iterator[Supervisor]:
        """Request parts, and run a supervisor for the length of the block."""
        add_request(self.home, requested or tuple(self.parts), fresh=True)
        self.supervisor = Supervisor(self.home)
        thread = threading.Thread(target=self.supervisor.run)
        thread.start()
        try:
            yield self.supervisor
        finally:
            self.supervisor.stop()
            thread.join(20)
            assert not thread.is_alive()

    def row(self, name: str) -> dict[str, Any]:
        """The part in our supervisor's stack.json; empty before it is there."""
        try:
            stack = json.loads((self.home / "stack.json").read_text())
        except FileNotFoundError:
            return {}
        if stack["supervisor"]["pid"] != os.getpid():
            return {}
        return stack["parts"].get(name, {})

    def wait(self, name: str, **values: Any) -> dict[str, Any]:
        """Wait until fields of a part have these values; return the part."""

        def row() -> dict[str, Any] | None:
            current = self.row(name)
            matches = all(current.get(field) == value for field, value in values.items())
            return current if current and matches else None

        return wait_until(row, 10, f"{name} {values}")

    def wait_restarted(self, name: str, old_pid: int) -> dict[str, Any]:
        """Wait until a part is ready again, as another process."""
        return wait_until(
            lambda: (
                row
                if (row := self.wait(name, state="ready"))["pid"] not in (None, old_pid)
                else None
            ),
            10,
        )


@pytest.fixture
def light_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LightStack:
    """A state directory for light parts."""
    return LightStack(tmp_path / "home", monkeypatch)
