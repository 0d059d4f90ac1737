"""What a part of the local stack is: a process, a server that exists already, or a task done once."""

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from compose.local.machine.process import ProcessId


class PartState(StrEnum):
    """Where a part stands.

    ::

        waiting ─► starting ─► ready ──(died)──► restarting ─► ready
                       │          external: ready, and not ours
                       ├─► done   (tasks)
                       └─► failed (cannot work; `freshet up` tries again)
    """

    WAITING = "waiting"  # for the parts it needs
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"  # it died, or did not come up; tried again after a pause
    EXTERNAL = "external"  # an existing server, checked and left alone
    DONE = "done"
    FAILED = "failed"  # trying again cannot help; the error says what to do

    @property
    def usable(self) -> bool:
        """Whether what needs this part may start."""
        return self in (PartState.READY, PartState.EXTERNAL, PartState.DONE)


@dataclass(kw_only=True)
class Part:
    """One part. Subclasses say how it is installed, prepared, started and asked whether it is ready.

    Attributes:
        home: state directory of the stack.
        name: also the name of its log.
        after: names of the parts that must be usable first.
        stop_signal: asks the process to end.
        grace_seconds: how long it may take to do so.
        ready_seconds: how long it may take from start to ready.
        address: what to tell people; empty for a worker.
    """

    home: Path
    name: str
    after: tuple[str, ...] = ()
    stop_signal: signal.Signals = signal.SIGTERM
    grace_seconds: float = 20.0
    ready_seconds: float = 60.0
    address: str = ""
    version: str = ""

    @property
    def mark(self) -> str:
        """The value of `FRESHET_PART` in its processes."""
        return f"{self.home}|{self.name}"

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self.home / "logs" / f"{self.name}.log"

    def install(self) -> None:
        """Fetch what the machine lacks; nothing where it is there."""

    def prepare(self) -> None:
        """Make its files; may run again at any time while it does not run."""

    def command(self) -> Sequence[str]:
        """The program and its arguments."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Variables beside the supervisor's own."""
        return {}

    def is_ready(self, process: ProcessId) -> bool:
        """Ask once whether it serves."""
        raise NotImplementedError

    def settle(self) -> None:
        """What is to be done each time it has become ready; may run again."""


@dataclass(kw_only=True)
class ExistingServer(Part):
    """A server that somebody else runs: checked, never started or stopped."""

    check: Callable[[], str]  # returns its version; raises FreshetError

    def verify(self) -> None:
        """Ask it.

        Raises:
            DependencyError: it does not answer.
        """
        self.version = self.check()


@dataclass(kw_only=True)
class Task(Part):
    """Something to be done once the parts it needs are usable."""

    run: Callable[[], str]  # returns a few words for the progress line


@dataclass(slots=True, kw_only=True)
class PartStatus:
    """What is known of a part; a row of HOME/stack.json."""

    name: str
    state: PartState = PartState.WAITING
    pid: int | None = None
    started: float | None = None  # of the process, seconds since the epoch
    restarts: int = 0
    address: str = ""
    version: str = ""
    took_seconds: float | None = None  # from start to ready
    note: str = ""  # what it does now
    error: str = ""
    log: str = ""
    stop_signal: int = int(signal.SIGTERM)
    grace_seconds: float = 20.0
    after: list[str] = field(default_factory=list)

    @property
    def process(self) -> ProcessId | None:
        """Its process, alive or not."""
        return ProcessId(self.pid, self.started) if self.pid and self.started else None

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> "PartStatus":
        """Read a row back; fields of another version are left out."""
        known = {name: row[name] for name in cls.__slots__ if name in row}
        return cls(**{**known, "state": PartState(known.get("state", "waiting"))})
