"""The statuses of all parts, shared by the threads of the supervisor and written to HOME/stack.json at every change."""

import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

from compose.local.machine.process import current_process
from compose.local.parts.part import Part, PartStatus
from compose.local.state import StackFile, read_statuses, write_stack

_WAIT_SECONDS = 0.5


class StatusBoard:
    """What the supervisor knows of its parts.

    Attributes:
        statuses: name of a part -> its status, for the parts that this supervisor looks after.
        recorded: the same for the parts that still run from an earlier supervisor.
        request: number of the newest request that was read.
        lock: held while something is decided by the statuses; a thread that holds it may change them.
    """

    def __init__(
        self, home: Path, ports: Mapping[str, int], addresses: Mapping[str, str]
    ) -> None:
        self.statuses: dict[str, PartStatus] = {}
        self.recorded = {
            name: status
            for name, status in read_statuses(home).items()
            if status.running
        }
        self.request = 0
        self._home = home
        self._ports = dict(ports)
        self._addresses = dict(addresses)
        self._supervisor = current_process()
        self.lock = threading.Condition(threading.RLock())

    def add(self, part: Part) -> PartStatus:
        """Begin a new status of a part.

        A process that an earlier supervisor left remains in the file while it is examined, because `freshet down`
        must know it.
        """
        before = self.recorded.get(part.name)
        status = PartStatus(
            name=part.name,
            address=part.address,
            log=str(part.log),
            stop_signal=part.stop_signal,
            grace_seconds=part.grace_seconds,
            after=list(part.after),
        )
        if before is not None and before.running:
            status.pid, status.started = before.pid, before.started
        with self.lock:
            self.statuses[part.name] = status
            self.save()
        return status

    def update(self, status: PartStatus, **values: object) -> None:
        """Change fields of a status, and notify the threads that wait."""
        with self.lock:
            for name, value in values.items():
                setattr(status, name, value)
            self.lock.notify_all()
            self.save()

    def wait_usable(self, names: Iterable[str], stopping: threading.Event) -> bool:
        """Wait until all parts are usable; False if the stack stops before."""
        needed = list(names)
        with self.lock:
            while not stopping.is_set():
                unusable = [name for name in needed if not self._is_usable(name)]
                if not unusable:
                    return True
                self.lock.wait(_WAIT_SECONDS)
        return False

    def wake(self) -> None:
        """Notify the threads that wait."""
        with self.lock:
            self.lock.notify_all()

    def save(self) -> None:
        """Write HOME/stack.json.

        A part that still runs from an earlier supervisor remains in the file until it is adopted.
        """
        with self.lock:
            stack = StackFile(
                home=str(self._home),
                supervisor=self._supervisor,
                request=self.request,
                addresses=self._addresses,
                ports=self._ports,
                parts=self.recorded | self.statuses,
            )
            write_stack(self._home, stack)

    def _is_usable(self, name: str) -> bool:
        return name in self.statuses and self.statuses[name].state.usable
