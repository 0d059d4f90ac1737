"""The supervisor: starts parts in parallel as what they need comes up, starts again what dies, ends them in order.

One a state directory, held by a lock that the system drops when the supervisor dies. What it knows stands in
HOME/stack.json at all times, so a supervisor that was killed can be followed by another, which adopts what runs.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from compose.local.machine import ports as local_ports
from compose.local.machine.files import private_folder, try_lock, write_private
from compose.local.machine.process import (
    MARK,
    ProcessId,
    current,
    identify,
    last_lines,
    spawn,
    stop,
    sweep,
)
from compose.local.parts.part import ExistingServer, Part, PartState, PartStatus, Task
from compose.local.stack import SERVICES, addresses, stack_parts
from corpus.errors import FreshetError

_POLL_SECONDS = 0.1
# Pause before a part is started again; the first is short, since most deaths are single.
_FIRST_PAUSE_SECONDS = 0.5
_MAX_PAUSE_SECONDS = 30.0
# A part that ran this long has recovered: its next death is a first one again.
_STEADY_SECONDS = 60.0


class Supervisor:
    """Runs the parts of one state directory.

    Call `run()`; `stop()` (from a signal handler) makes it end everything and return.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.ports = local_ports.choose(home)
        self.parts: dict[str, Part] = stack_parts(home, self.ports)
        self.statuses: dict[str, PartStatus] = {}
        self._addresses = addresses(home, self.ports)
        self._changed = threading.Condition(threading.RLock())
        self._stopping = threading.Event()
        self._threads: dict[str, threading.Thread] = {}
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._recorded = read_statuses(home)
        self._asked = 0

    def stop(self) -> None:
        """Ask run() to end everything."""
        self._stopping.set()

    @property
    def stopping(self) -> bool:
        """Whether stop() was called."""
        return self._stopping.is_set()

    def run(self) -> bool:
        """Supervise until stop(); False at once where another supervisor has this state directory."""
        lock = try_lock(self.home / "supervisor.lock")
        if lock is None:
            return False
        try:
            private_folder(self.home / "staging")
            while not self._stopping.is_set():
                self._take_requests()
                self._stopping.wait(_POLL_SECONDS)
            self._end()
        finally:
            os.close(lock)
        return True

    # ── what is wanted ──────────────────────────────────────────────────────────────────────────────────────────────

    def _take_requests(self) -> None:
        asked, wanted = read_request(self.home)
        if asked == self._asked:
            return
        self._asked = asked
        # Parts that run from an earlier supervisor are kept, whatever is asked for now.
        running = [
            name
            for name, status in self._recorded.items()
            if status.process and status.process.alive()
        ]
        for name in self.parts:
            thread = self._threads.get(name)
            if (name in wanted or name in running) and (thread is None or not thread.is_alive()):
                self._begin(name)
        self._save()  # whoever asked waits for the number of the request

    def _begin(self, name: str) -> None:
        part = self.parts[name]
        known = self.statuses.get(name)
        if known is not None and known.state.usable:
            return
        before = self._recorded.get(name)
        process = before.process if before else None
        alive = process is not None and process.alive()
        with self._changed:
            self.statuses[name] = PartStatus(
                name=name,
                # A process of an earlier supervisor stays written down while it is looked at: `down` must know it.
                pid=process.pid if process and alive else None,
                started=process.started if process and alive else None,
                address=part.address,
                log=str(part.log),
                stop_signal=int(part.stop_signal),
                grace_seconds=part.grace_seconds,
                after=list(part.after),
            )
        thread = threading.Thread(
            target=self._live, args=(part, self.statuses[name]), name=name, daemon=True
        )
        self._threads[name] = thread
        self._save()
        thread.start()

    # ── the life of one part, in its own thread ─────────────────────────────────────────────────────────────────────

    def _live(self, part: Part, status: PartStatus) -> None:
        pause = _FIRST_PAUSE_SECONDS
        adopted = self._adopt(part, status)
        while not self._stopping.is_set():
            try:
                if not adopted:
                    self._bring_up(part, status)
                adopted = False
                if status.process is None or self._stopping.is_set():
                    return
                since = time.monotonic()
                self._watch(part, status)
                if self._stopping.is_set():
                    return
                if time.monotonic() - since > _STEADY_SECONDS:
                    pause = _FIRST_PAUSE_SECONDS
                self._note(
                    status,
                    state=PartState.RESTARTING,
                    error=f"ended{self._how(part)}{_tail(part)}",
                    pid=None,
                    started=None,
                )
            except FreshetError as error:
                if self._stopping.is_set():
                    return
                self._end_one(part, status)
                if not error.retryable:
                    self._note(status, state=PartState.FAILED, error=str(error))
                    return
                self._note(status, state=PartState.RESTARTING, error=str(error))
            except Exception as error:  # a fault of ours must not leave a part without a word
                self._end_one(part, status)
                self._note(status, state=PartState.FAILED, error=f"{type(error).__name__}: {error}")
                return
            self._stopping.wait(pause)
            pause = min(pause * 2, _MAX_PAUSE_SECONDS)
            status.restarts += 1

    def _adopt(self, part: Part, status: PartStatus) -> bool:
        """Take over a process that an earlier supervisor started, if it serves."""
        before = self._recorded.get(part.name)
        process = before.process if before else None
        if before is None or process is None or not process.alive():
            return False
        deadline = time.monotonic() + 10
        while process.alive() and time.monotonic() < deadline and not self._stopping.is_set():
            if part.is_ready(process):
                part.install()  # tells its version
                self._note(
                    status,
                    pid=process.pid,
                    started=process.started,
                    restarts=before.restarts,
                    state=PartState.READY,
                    version=part.version,
                    note="was running",
                )
                return True
            self._stopping.wait(0.2)
        self._end_one(part, status)
        return False

    def _bring_up(self, part: Part, status: PartStatus) -> None:
        """Wait for what it needs, install, prepare, start, wait until it serves.

        Raises:
            FreshetError: it did not come up.
        """
        if not self._wait_for(part):
            return
        began = time.monotonic()
        self._note(
            status, state=PartState.STARTING if not status.restarts else PartState.RESTARTING
        )
        if isinstance(part, ExistingServer):
            part.verify()
            self._note(
                status,
                state=PartState.EXTERNAL,
                version=part.version,
                took_seconds=time.monotonic() - began,
                error="",
            )
            return
        if isinstance(part, Task):
            note = part.run()
            self._note(
                status,
                state=PartState.DONE,
                note=note,
                took_seconds=time.monotonic() - began,
                error="",
            )
            return
        self._note(status, note="installing")
        part.install()
        sweep(part.mark)
        self._note(status, note="preparing", version=part.version)
        part.prepare()
        if self._stopping.is_set():
            return
        child = spawn(
            part.command(),
            mark=part.mark,
            environment=part.environment(),
            log=part.log,
            cwd=self.home,
        )
        process = identify(child)
        self._children[part.name] = child
        self._note(status, pid=process.pid, started=process.started, note="starting")
        self._wait_ready(part, process)
        if self._stopping.is_set():
            return
        part.settle()
        self._note(
            status, state=PartState.READY, note="", error="", took_seconds=time.monotonic() - began
        )

    def _wait_for(self, part: Part) -> bool:
        with self._changed:
            while not self._stopping.is_set():
                if all(
                    name in self.statuses and self.statuses[name].state.usable
                    for name in part.after
                ):
                    return True
                self._changed.wait(0.5)
        return False

    def _wait_ready(self, part: Part, process: ProcessId) -> None:
        from corpus.errors import DependencyError

        deadline = time.monotonic() + part.ready_seconds
        while not self._stopping.is_set():
            if not self._alive(part, process):
                raise DependencyError(
                    f"{part.name} ended before it was ready{self._how(part)}{_tail(part)}; see {part.log}"
                )
            if part.is_ready(process):
                return
            if time.monotonic() > deadline:
                raise DependencyError(
                    f"{part.name} was not ready after {part.ready_seconds:.0f} s{_tail(part)}; see {part.log}"
                )
            self._stopping.wait(_POLL_SECONDS)

    def _watch(self, part: Part, status: PartStatus) -> None:
        process = status.process
        while process and not self._stopping.is_set() and self._alive(part, process):
            self._stopping.wait(2 * _POLL_SECONDS)

    def _alive(self, part: Part, process: ProcessId) -> bool:
        child = self._children.get(part.name)
        if child is not None and child.pid == process.pid:
            return child.poll() is None  # also takes the exit status, so that no zombie remains
        return process.alive()

    def _how(self, part: Part) -> str:
        child = self._children.get(part.name)
        code = child.returncode if child else None
        if code is None:
            return ""
        return f" by {signal.Signals(-code).name}" if code < 0 else f" with exit code {code}"

    def _end_one(self, part: Part, status: PartStatus) -> None:
        if status.process:
            stop({status.process: part.stop_signal}, grace=part.grace_seconds)
        self._note(status, pid=None, started=None)

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _end(self) -> None:
        with self._changed:
            self._changed.notify_all()
        end_parts(
            self.home,
            self.statuses,
            say=lambda name: self._note(self.statuses[name], note="stopping"),
        )
        for child in self._children.values():
            child.poll()
        (self.home / "stack.json").unlink(missing_ok=True)

    # ── what is known ───────────────────────────────────────────────────────────────────────────────────────────────

    def _note(self, status: PartStatus, **values: object) -> None:
        with self._changed:
            for name, value in values.items():
                setattr(status, name, value)
            self._changed.notify_all()
            self._save()

    def _save(self) -> None:
        with self._changed:
            me = current()
            snapshot = {
                "home": str(self.home),
                "supervisor": {"pid": me.pid, "started": me.started},
                "asked": self._asked,
                "addresses": self._addresses,
                "ports": self.ports,
                # Parts that still run from an earlier supervisor stay written down until they are adopted.
                "parts": {
                    **{
                        name: asdict(s)
                        for name, s in self._recorded.items()
                        if name not in self.statuses
                    },
                    **{name: asdict(s) for name, s in self.statuses.items()},
                },
            }
            write_private(self.home / "stack.json", json.dumps(snapshot, indent=2))


def read_stack(home: Path) -> dict[str, object]:
    """HOME/stack.json; empty where there is none."""
    path = home / "stack.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def read_statuses(home: Path) -> dict[str, PartStatus]:
    """The parts in HOME/stack.json."""
    rows = read_stack(home).get("parts", {})
    assert isinstance(rows, dict)
    return {name: PartStatus.from_json(row) for name, row in rows.items()}


def read_supervisor(home: Path) -> ProcessId | None:
    """The supervisor in HOME/stack.json, if it lives."""
    row = read_stack(home).get("supervisor")
    if not isinstance(row, dict):
        return None
    process = ProcessId(int(row["pid"]), float(row["started"]))
    return process if process.alive() else None


def read_request(home: Path) -> tuple[int, list[str]]:
    """(number, parts) of the newest request."""
    path = home / "wanted.json"
    if not path.exists():
        return 0, []
    row = json.loads(path.read_text(encoding="utf-8"))
    return int(row["asked"]), [str(name) for name in row["parts"]]


def end_parts(home: Path, statuses: dict[str, PartStatus], *, say: Callable[[str], None]) -> None:
    """End what runs, what needs others first; then whatever still carries the stack's mark."""
    left = {
        name: status
        for name, status in statuses.items()
        if status.process and status.process.alive()
    }
    while left:
        layer = [
            name
            for name in left
            if not any(
                name in other.after or _needs(statuses, other, name) for other in left.values()
            )
        ]
        for name in layer:
            say(name)
        processes = {
            status.process: signal.Signals(status.stop_signal)
            for name in layer
            if (status := left[name]).process
        }
        stop(
            {p: s for p, s in processes.items() if p},
            grace=max(left[name].grace_seconds for name in layer),
        )
        for name in layer:
            del left[name]
    sweep(str(home))


def _needs(statuses: dict[str, PartStatus], status: PartStatus, name: str) -> bool:
    """Whether `status` needs `name` through a task (migrations stand between the workers and PostgreSQL)."""
    return any(name in statuses[between].after for between in status.after if between in statuses)


def _tail(part: Part) -> str:
    lines = [line.strip() for line in last_lines(part.log, 3) if line.strip()]
    return f" ({lines[-1][:300]})" if lines else ""


def main() -> None:
    """The supervisor of `freshet up --detach`: `python -m compose.local.supervisor HOME`."""
    home = Path(sys.argv[1])
    os.environ["FRESHET_HOME"] = str(home)
    os.environ.pop(MARK, None)
    supervisor = Supervisor(home)
    for how in (signal.SIGTERM, signal.SIGINT):
        signal.signal(how, lambda *_: supervisor.stop())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    supervisor.run()
    sys.stdout.flush()
    os._exit(0)  # Temporal's client library may crash while the interpreter shuts down


__all__ = [
    "SERVICES",
    "Supervisor",
    "end_parts",
    "read_request",
    "read_stack",
    "read_statuses",
    "read_supervisor",
]

if __name__ == "__main__":
    main()
