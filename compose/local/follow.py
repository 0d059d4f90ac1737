"""How `up` follows the parts: it reports each change until all are usable, or until one cannot become so."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from compose.local.machine.process import last_lines
from compose.local.parts.part import PartState, PartStatus
from compose.local.state import StackFile, read_request, read_stack
from corpus.errors import DependencyError

# After so many failed starts `up` no longer waits and says why; the supervisor continues to try.
MAX_RESTARTS = 4
_POLL_SECONDS = 0.1
_START_SECONDS = 30.0

OnChange = Callable[[PartStatus], None]


@dataclass(slots=True, kw_only=True)
class UpResult:
    """The outcome of `up`.

    Attributes:
        ready: whether all requested parts are usable.
        already: whether nothing had to be started.
        addresses: name of an address -> address.
        failures: the parts that are not usable.
    """

    ready: bool
    already: bool = False
    addresses: dict[str, str]
    failures: Sequence[PartStatus] = ()


def follow(
    home: Path,
    names: Sequence[str],
    *,
    on_change: OnChange,
    timeout: float,
    ended: Callable[[], bool] | None = None,
) -> UpResult:
    """Report each change of the parts until all are usable, or one cannot be.

    Args:
        home: state directory.
        names: parts to wait for.
        on_change: called with each part whose state, note or error changed.
        timeout: seconds; a part that is not usable by then counts as failed.
        ended: whether to stop following; default: the supervisor has ended.

    Raises:
        DependencyError: no supervisor appeared within 30 s.
    """
    follower = _Follower(home, names, on_change, ended)
    deadline = time.monotonic() + timeout
    while True:
        result = follower.poll()
        if result is not None:
            return result
        if time.monotonic() > deadline:
            return follower.unready_result()
        time.sleep(_POLL_SECONDS)


def all_usable(statuses: Mapping[str, PartStatus], names: Iterable[str]) -> bool:
    """Return whether every named part is known and usable."""
    return all(name in statuses and statuses[name].state.usable for name in names)


class _Follower:
    """Reads HOME/stack.json again and again, from the moment when the supervisor has read our request."""

    def __init__(
        self,
        home: Path,
        names: Sequence[str],
        on_change: OnChange,
        ended: Callable[[], bool] | None,
    ) -> None:
        self._home = home
        self._names = names
        self._on_change = on_change
        self._ended = ended
        self._request = read_request(home).number
        self._began = time.monotonic()
        self._supervisor_appeared = False
        self._stack = StackFile()
        self._reported: dict[str, tuple[PartState, str, str]] = {}

    def poll(self) -> UpResult | None:
        """Report what has changed; return the outcome once it is known."""
        self._stack = read_stack(self._home)
        statuses = self._statuses()
        for name in self._names:
            if name in statuses:
                self._report(statuses[name])
        if all_usable(statuses, self._names):
            return UpResult(ready=True, addresses=self._stack.addresses)
        hopeless = [status for status in self._requested() if _is_hopeless(status)]
        if hopeless:
            return self._result(hopeless)
        if self._has_ended():
            return self.unready_result()
        self._require_supervisor()
        return None

    def unready_result(self) -> UpResult:
        """The outcome if no more is waited for."""
        waiting = [status for status in self._requested() if not status.state.usable]
        return self._result(waiting)

    def _result(self, failures: Sequence[PartStatus]) -> UpResult:
        return UpResult(ready=False, addresses=self._stack.addresses, failures=failures)

    def _statuses(self) -> dict[str, PartStatus]:
        """The statuses; none before the supervisor has read our request."""
        if self._stack.request < self._request:
            return {}
        return self._stack.parts

    def _requested(self) -> list[PartStatus]:
        statuses = self._statuses()
        return [statuses[name] for name in self._names if name in statuses]

    def _report(self, status: PartStatus) -> None:
        state = (status.state, status.note, status.error)
        if self._reported.get(status.name) != state:
            self._reported[status.name] = state
            self._on_change(status)

    def _has_ended(self) -> bool:
        supervisor = self._stack.supervisor
        runs = supervisor is not None and supervisor.alive()
        if runs:
            self._supervisor_appeared = True
        if self._ended is not None:
            return self._ended()
        return self._supervisor_appeared and not runs

    def _require_supervisor(self) -> None:
        elapsed = time.monotonic() - self._began
        if self._supervisor_appeared or elapsed < _START_SECONDS:
            return
        log = self._home / "logs" / "supervisor.log"
        lines = last_lines(log, 3)
        output = "it wrote nothing"
        if lines:
            output = " | ".join(lines)
        raise DependencyError(f"the supervisor did not start: {output}; see {log}")


def _is_hopeless(status: PartStatus) -> bool:
    """Whether it makes no sense to wait for a part any longer."""
    if status.state is PartState.FAILED:
        return True
    restarting = status.state is PartState.RESTARTING and bool(status.error)
    return restarting and status.restarts >= MAX_RESTARTS
