"""The life of one part, in a thread of its own: started when what it needs is usable, started again when it ends."""

import signal
import subprocess
import threading
import time

from compose.local.machine.process import (
    ProcessId,
    identify,
    kill_marked,
    last_lines,
    spawn,
    stop,
)
from compose.local.parts.part import ExistingServer, Part, PartState, Task
from compose.local.status_board import StatusBoard
from corpus.errors import DependencyError, FreshetError

_POLL_SECONDS = 0.1
_WATCH_SECONDS = 0.2
_ADOPT_SECONDS = 10.0
# The pause before a part is started again. The first is short, because most failures do not repeat.
_FIRST_PAUSE_SECONDS = 0.5
_MAX_PAUSE_SECONDS = 30.0
# A part that ran this long has recovered: the pause after its next end is the first one again.
_RECOVERED_SECONDS = 60.0
_MAX_TAIL_CHARACTERS = 300


class PartRunner:
    """Runs one part until the stack stops.

    Call `start()` once. The part's status is on the board from then on.
    """

    def __init__(
        self, part: Part, board: StatusBoard, stopping: threading.Event
    ) -> None:
        self.part = part
        self._board = board
        self._recorded = board.recorded.get(part.name)
        self._status = board.add(part)
        self._stopping = stopping
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name=part.name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def active(self) -> bool:
        """Whether the thread still looks after the part."""
        return self._thread.is_alive()

    def reap(self) -> None:
        """Take the exit status of a child that has ended, so that no zombie remains."""
        if self._child is not None:
            self._child.poll()

    # ── the thread ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while not self._stopping.is_set():
            ran_seconds = 0.0
            try:
                if not self._adopt():
                    self._bring_up()
                if self._status.process is None or self._stopping.is_set():
                    return
                ran_seconds = self._watch()
                if self._stopping.is_set():
                    return
                self._record_end()
            except (
                Exception
            ) as error:  # the thread must not end without an error in the status
                if self._stopping.is_set() or not self._record_failure(error):
                    return
            if ran_seconds > _RECOVERED_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            self._stopping.wait(pause)
            pause = min(pause * 2, _MAX_PAUSE_SECONDS)
            self._status.restarts += 1

    def _adopt(self) -> bool:
        """Take over the process that an earlier supervisor started, if it serves; end it otherwise."""
        before, self._recorded = self._recorded, None
        process = before.process if before is not None else None
        if before is None or process is None or not process.alive():
            return False
        if not self._wait_until_serving(process):
            if not self._stopping.is_set():
                self._end_process()
            return False
        self.part.install()  # sets the version
        self._board.update(
            self._status,
            pid=process.pid,
            started=process.started,
            restarts=before.restarts,
            state=PartState.READY,
            version=self.part.version,
            note="was running",
        )
        return True

    def _wait_until_serving(self, process: ProcessId) -> bool:
        deadline = time.monotonic() + _ADOPT_SECONDS
        while process.alive() and time.monotonic() < deadline:
            if self.part.is_ready(process):
                return True
            if self._stopping.wait(_WATCH_SECONDS):
                break
        return False

    def _bring_up(self) -> None:
        """Wait for the parts that this one needs, then start it and wait until it is usable.

        Raises:
            FreshetError: it did not become usable.
        """
        if not self._board.wait_usable(self.part.after, self._stopping):
            return
        began = time.monotonic()
        state = PartState.RESTARTING if self._status.restarts else PartState.STARTING
        self._board.update(self._status, state=state)
        match self.part:
            case ExistingServer() as server:
                server.verify()
                self._record_usable(PartState.EXTERNAL, began, version=server.version)
            case Task() as task:
                note = task.run()
                self._record_usable(PartState.DONE, began, note=note)
            case _:
                if self._start_process():
                    self._record_usable(PartState.READY, began, note="")

    def _start_process(self) -> bool:
        """Install, prepare and start the part, and wait until it serves; False if the stack stops before."""
        part = self.part
        self._board.update(self._status, note="installing")
        part.install()
        kill_marked(part.mark)
        self._board.update(self._status, note="preparing", version=part.version)
        part.prepare()
        process = self._spawn()
        if process is None or not self._wait_ready(process):
            return False
        part.after_ready()
        return True

    def _spawn(self) -> ProcessId | None:
        part = self.part
        # The end of the stack waits for this lock: it finds either no process, or one that is on the board.
        with self._board.lock:
            if self._stopping.is_set():
                return None
            self._child = spawn(
                part.command(),
                mark=part.mark,
                environment=part.environment(),
                log=part.log,
                cwd=part.home,
                inherits=part.inherits,
            )
            process = identify(self._child)
            self._board.update(
                self._status, pid=process.pid, started=process.started, note="starting"
            )
        return process

    def _wait_ready(self, process: ProcessId) -> bool:
        """Wait until the part serves; False if the stack stops before.

        Raises:
            DependencyError: it ended, or it was not ready in time.
        """
        part = self.part
        deadline = time.monotonic() + part.ready_seconds
        while not self._stopping.is_set():
            if not self._is_alive(process):
                raise DependencyError(
                    f"{part.name} ended before it was ready{self._describe_end()}"
                    f"{self._describe_output()}; see {part.log}"
                )
            if part.is_ready(process):
                return True
            if time.monotonic() > deadline:
                raise DependencyError(
                    f"{part.name} was not ready after {part.ready_seconds:.0f} s"
                    f"{self._describe_output()}; see {part.log}"
                )
            self._stopping.wait(_POLL_SECONDS)
        return False

    def _watch(self) -> float:
        """Wait until the process ends or the stack stops; return the seconds."""
        began = time.monotonic()
        process = self._status.process
        while process is not None and self._is_alive(process):
            if self._stopping.wait(_WATCH_SECONDS):
                break
        return time.monotonic() - began

    def _is_alive(self, process: ProcessId) -> bool:
        child = self._child
        if child is None or child.pid != process.pid:
            return process.alive()
        code = child.poll()  # takes the exit status, so that no zombie remains
        return code is None

    def _end_process(self) -> None:
        process = self._status.process
        if process is not None:
            stop({process: self.part.stop_signal}, grace=self.part.grace_seconds)
            self.reap()
        self._board.update(self._status, pid=None, started=None)

    # ── what is recorded ────────────────────────────────────────────────────────────────────────────────────────────

    def _record_usable(self, state: PartState, began: float, **values: object) -> None:
        took_seconds = time.monotonic() - began
        self._board.update(
            self._status,
            state=state,
            took_seconds=took_seconds,
            error="",
            **values,
        )

    def _record_end(self) -> None:
        ending = self._describe_end()
        output = self._describe_output()
        self._board.update(
            self._status,
            state=PartState.RESTARTING,
            error=f"ended{ending}{output}",
            pid=None,
            started=None,
        )

    def _record_failure(self, error: Exception) -> bool:
        """Record why the part is not usable; return whether it is started again."""
        self._end_process()
        text = f"{type(error).__name__}: {error}"
        retryable = False
        if isinstance(error, FreshetError):
            text = str(error)
            retryable = error.retryable
        state = PartState.FAILED
        if retryable:
            state = PartState.RESTARTING
        self._board.update(self._status, state=state, error=text)
        return retryable

    def _describe_end(self) -> str:
        """How the child ended, in words; empty for a process that is not our child."""
        code = None
        if self._child is not None:
            code = self._child.returncode
        if code is None:
            return ""
        if code < 0:
            return f" by {_signal_name(-code)}"
        return f" with exit code {code}"

    def _describe_output(self) -> str:
        """The last line that the part wrote, in brackets."""
        lines = [line.strip() for line in last_lines(self.part.log, 3) if line.strip()]
        return f" ({lines[-1][:_MAX_TAIL_CHARACTERS]})" if lines else ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name
        return f"signal {number}"
