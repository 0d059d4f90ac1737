"""What a part of the local stack is: a process, an existing server, or a task that is done once."""

import re
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from compose.local.machine.process import Pid, ProcessId

_GRACE_SECONDS = 20.0


class PartState(StrEnum):
    """State of a part.

    ::

        waiting ─► starting ─► ready ──(it ended)──► restarting ─► ready
                       ├─► external (an existing server)
                       ├─► done     (a task)
                       └─► failed   (cannot work; the next `freshet up` tries again)
    """

    WAITING = "waiting"  # for the parts that it needs
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"  # it ended, or did not become ready; it is started again after a pause
    EXTERNAL = (
        "external"  # an existing server, which is checked and never started or stopped
    )
    DONE = "done"
    FAILED = "failed"  # trying again cannot help; the error says what to do

    @property
    def usable(self) -> bool:
        """Whether a part that needs this one may start."""
        return self in (PartState.READY, PartState.EXTERNAL, PartState.DONE)


@dataclass(kw_only=True)
class Part:
    """One part. A subclass defines how it is installed, prepared and started, and when it is ready.

    Attributes:
        home: state directory of the stack.
        name: name of the part and of its log.
        after: names of the parts that must be usable first.
        stop_signal: signal that ends the process.
        grace_seconds: how long the process may take to end.
        ready_seconds: how long it may take from its start until it is ready.
        address: where people reach it; empty for a worker.
        version: version of the program, known after `install`.
        inherits: names of the variables of `freshet up` that its process gets; None: those that any program needs.
    """

    home: Path
    name: str
    after: tuple[str, ...] = ()
    stop_signal: signal.Signals = signal.SIGTERM
    grace_seconds: float = _GRACE_SECONDS
    ready_seconds: float = 60.0
    address: str = ""
    version: str = ""
    inherits: re.Pattern[str] | None = None

    @property
    def mark(self) -> str:
        """The value of `FRESHET_PART` in its processes."""
        return f"{self.home}|{self.name}"

    @property
    def log(self) -> Path:
        """The file of its output."""
        return self.home / "logs" / f"{self.name}.log"

    def install(self) -> None:
        """Fetch what the machine lacks, and set `version`."""

    def prepare(self) -> None:
        """Make its files. It may run again at any time while the part does not run."""

    def command(self) -> Sequence[str]:
        """Return the program and its arguments."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Return the variables that the process gets besides those that it inherits."""
        return {}

    def is_ready(self, process: ProcessId) -> bool:
        """Return whether the part serves now; called again until it does."""
        raise NotImplementedError

    def after_ready(self) -> None:
        """Do what is to be done each time the part has become ready. It may run again."""


@dataclass(kw_only=True)
class ExistingServer(Part):
    """A server that other people run. It is checked, never started or stopped.

    Attributes:
        check: returns the server's version; raises FreshetError if the server cannot be used.
    """

    check: Callable[[], str]

    def verify(self) -> None:
        """Check the server and set `version`.

        Raises:
            FreshetError: it cannot be used.
        """
        self.version = self.check()


@dataclass(kw_only=True)
class Task(Part):
    """Work that is done once the parts it needs are usable.

    Attributes:
        run: does the work and returns a few words for the progress line.
    """

    run: Callable[[], str]


def _no_names() -> list[str]:
    return []


@dataclass(slots=True, kw_only=True)
class PartStatus:
    """What the supervisor knows of a part; a row of HOME/stack.json.

    Attributes:
        name: name of the part.
        state: its state.
        pid: its process, if it has one.
        started: start of the process, in seconds since the epoch.
        restarts: how often it was started again.
        address: where people reach it.
        version: version of its program.
        took_seconds: time from its start until it was ready.
        note: what it does now.
        error: why it is not usable.
        log: path of its log.
        stop_signal: number of the signal that ends the process.
        grace_seconds: how long the process may take to end.
        after: names of the parts that it needs.
    """

    name: str
    state: PartState = PartState.WAITING
    pid: Pid | None = None
    started: float | None = None
    restarts: int = 0
    address: str = ""
    version: str = ""
    took_seconds: float | None = None
    note: str = ""
    error: str = ""
    log: str = ""
    stop_signal: signal.Signals = signal.SIGTERM
    grace_seconds: float = _GRACE_SECONDS
    after: list[str] = field(default_factory=_no_names)

    @property
    def process(self) -> ProcessId | None:
        """The identity of its process, alive or not."""
        if not self.pid or not self.started:
            return None
        return ProcessId(self.pid, self.started)

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        process = self.process
        return process is not None and process.alive()

    @property
    def usable(self) -> bool:
        """Whether a part that needs this one may start; a process that has ended serves no part."""
        process = self.process
        return self.state.usable and (process is None or process.alive())
