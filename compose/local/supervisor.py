"""The supervisor of a state directory: starts the requested parts, and ends all of them when it stops.

There is one supervisor per state directory. It holds a lock that the system releases when it ends. All that it knows
is in HOME/stack.json at every moment, so another supervisor can follow one that was killed, and adopt what runs.
"""

import logging
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from compose.local.machine import ports as local_ports
from compose.local.machine.files import make_private_folder, try_lock
from compose.local.machine.process import MARK
from compose.local.part_runner import PartRunner
from compose.local.parts.part import Part
from compose.local.shutdown import end_parts
from compose.local.stack import addresses, keep_secrets, stack_parts
from compose.local.state import Request, StateFileError, read_request, remove_stack
from compose.local.status_board import StatusBoard

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.1


class Supervisor:
    """Runs the parts of one state directory.

    `run()` returns after `stop()` was called, from a signal handler or another thread.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        ports = self._ports = local_ports.choose(home)
        self.parts: dict[str, Part] = stack_parts(home, ports)
        self.board = StatusBoard(home, ports, addresses(home, ports))
        self._stopping = threading.Event()
        self._runners: dict[str, PartRunner] = {}
        self._unreadable_request = ""

    def stop(self) -> None:
        """Make `run()` end every part and return."""
        self._stopping.set()

    @property
    def stopping(self) -> bool:
        """Whether `stop()` was called."""
        return self._stopping.is_set()

    def run(self) -> bool:
        """Supervise until `stop()` is called; return False at once if another supervisor has the state directory."""
        lock = try_lock(self.home / "supervisor.lock")
        if lock is None:
            return False
        try:
            make_private_folder(self.home / "staging")
            keep_secrets(self.home, self._ports)
            while not self._stopping.is_set():
                self._take_request()
                self._stopping.wait(_POLL_SECONDS)
            self._end()
        finally:
            os.close(lock)
        return True

    def _take_request(self) -> None:
        request = self._read_request()
        if request is None or request.number == self.board.request:
            return
        self.board.request = request.number
        # Parts that still run from an earlier supervisor are kept, even if the request does not name them.
        for name in self.parts:
            if name in self.board.recorded or name in request.parts:
                self._start(name)
        self.board.save()  # `up` waits for the number of its request

    def _read_request(self) -> Request | None:
        """Read the newest request; None if the file is damaged, until the next `up` replaces it."""
        try:
            request = read_request(self.home)
        except StateFileError as error:
            if str(error) != self._unreadable_request:
                self._unreadable_request = str(error)
                logger.warning(
                    "A request cannot be read",
                    extra={"action": "read_request", "reason": str(error)},
                )
            return None
        return request

    def _start(self, name: str) -> None:
        """Start a part, unless it is looked after already or its work is done."""
        runner = self._runners.get(name)
        if runner is not None and runner.active:
            return
        status = self.board.statuses.get(name)
        if status is not None and status.state.usable:
            return
        runner = PartRunner(self.parts[name], self.board, self._stopping)
        self._runners[name] = runner
        runner.start()

    def _end(self) -> None:
        # A runner that is just starting a process holds the board: this waits until the process is on it.
        self.board.wake()
        statuses = self.board.recorded | self.board.statuses
        end_parts(self.home, statuses, on_stop=self._record_stopping)
        for runner in self._runners.values():
            runner.reap()
        remove_stack(self.home)

    def _record_stopping(self, name: str) -> None:
        status = self.board.statuses.get(name)
        if status is not None:
            self.board.update(status, note="stopping")


def main() -> None:
    """Run the supervisor of `freshet up --detach`: `python -m compose.local.supervisor HOME`."""
    from workers import logs

    logs.configure("supervisor", level="WARNING", form="json")
    home = Path(sys.argv[1])
    os.environ["FRESHET_HOME"] = str(home)
    os.environ.pop(MARK, None)
    supervisor = Supervisor(home)

    def stop(_number: int, _frame: FrameType | None) -> None:
        supervisor.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    supervisor.run()
    sys.stdout.flush()
    os._exit(0)  # Temporal's client library may crash while the interpreter shuts down


if __name__ == "__main__":
    main()
