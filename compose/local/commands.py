"""The whole stack as local processes: `up` starts what is missing, `down` ends exactly what `up` started."""

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from compose.local.machine import ports as local_ports
from compose.local.machine.files import locked, private_folder, try_lock, write_private
from compose.local.machine.process import ProcessId, last_lines, spawn, stop
from compose.local.parts.part import PartState, PartStatus
from compose.local.parts.role import ROLES
from compose.local.stack import SERVICES
from compose.local.supervisor import (
    Supervisor,
    end_parts,
    read_request,
    read_stack,
    read_statuses,
    read_supervisor,
)
from corpus.errors import ConfigurationError, DependencyError

PARTS = (*SERVICES, *ROLES)
# After so many failed starts `up` stops waiting and says why; the supervisor goes on trying.
_PATIENCE_RESTARTS = 4
_POLL_SECONDS = 0.1

OnChange = Callable[[PartStatus], None]


@dataclass(slots=True, kw_only=True)
class UpResult:
    """What `up` came to."""

    ready: bool
    already: bool  # nothing had to be started
    addresses: dict[str, str] = field(default_factory=dict)
    failures: list[PartStatus] = field(default_factory=list)


def wanted_parts(*, workers: bool, only: Iterable[str] = ()) -> list[str]:
    """Names of the parts to start, with the services they need.

    Raises:
        ConfigurationError: a name is not a part.
    """
    only = list(only)
    for name in only:
        if name not in PARTS:
            raise ConfigurationError(
                f"{name!r} is not a part of the stack; parts are {', '.join(PARTS)}"
            )
    if not only:
        return list(PARTS if workers else SERVICES)
    needs_all = any(name in ROLES for name in only)
    return [
        name
        for name in PARTS
        if name in only
        or (needs_all and name in SERVICES)
        or (name == "postgres" and "migrations" in only)
    ]


def request(home: Path, names: Iterable[str], *, fresh: bool) -> None:
    """Write down what is wanted; added to what was wanted before unless `fresh`."""
    with locked(home / "wanted.lock"):
        asked, before = read_request(home)
        wanted = [name for name in PARTS if name in names or (not fresh and name in before)]
        write_private(home / "wanted.json", json.dumps({"asked": asked + 1, "parts": wanted}))


def prepare_home(home: Path, ports: Mapping[str, int]) -> None:
    """Make the state directory and choose the ports.

    Raises:
        ConfigurationError: a port is none, or the directory cannot be made or written.
    """
    local_ports.check(ports)  # also where the stack runs already, and its ports stay what they are
    try:
        private_folder(home)
        write_private(home / ".writable", "")
        (home / ".writable").unlink()
    except OSError as error:
        raise ConfigurationError(
            f"the state directory {home} cannot be written: {error}; choose another with --home"
        ) from error
    if read_supervisor(home) is None:
        with locked(home / "wanted.lock"):
            local_ports.choose(home, dict(ports))


def up_detached(home: Path, names: list[str], *, on_change: OnChange, timeout: float) -> UpResult:
    """Start what is missing under a supervisor that stays; return when all is ready, or when something cannot be."""
    already = _all_usable(home, names)
    supervisor = read_supervisor(home)
    request(home, names, fresh=supervisor is None)
    if supervisor is None:
        command = [sys.executable, "-m", "compose.local.supervisor", str(home)]
        root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
        child = spawn(
            command,
            mark="",
            environment={"PYTHONPATH": path},
            log=home / "logs" / "supervisor.log",
            cwd=home,
        )
        # Two `up` at once: the second supervisor finds the lock taken and ends, and both follow the first.
        threading.Thread(target=child.wait, daemon=True).start()
    result = follow(home, names, on_change=on_change, timeout=timeout)
    result.already = already
    return result


def up_attached(
    home: Path,
    names: list[str],
    *,
    on_change: OnChange,
    on_ready: Callable[[UpResult], None],
    timeout: float,
) -> UpResult:
    """The same in the foreground: returns when a signal ended it, after everything it started was ended.

    Raises:
        DependencyError: another supervisor took the state directory meanwhile.
    """
    request(home, names, fresh=True)
    supervisor = Supervisor(home)
    outcome: list[bool] = []
    runner = threading.Thread(target=lambda: outcome.append(supervisor.run()), name="supervisor")
    for how in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(how, lambda *_: supervisor.stop())
    runner.start()
    result = follow(
        home,
        names,
        on_change=on_change,
        timeout=timeout,
        ended=lambda: not runner.is_alive() or supervisor.stopping,
    )
    if not supervisor.stopping:
        on_ready(result)
    while runner.is_alive():
        runner.join(0.2)
    if outcome == [False]:
        raise DependencyError(
            f"another `freshet up` took {home} at this moment; see `freshet status`"
        )
    return result


def follow(
    home: Path,
    names: list[str],
    *,
    on_change: OnChange,
    timeout: float,
    ended: Callable[[], bool] | None = None,
) -> UpResult:
    """Report each change of the parts until all are usable, or one cannot be.

    Args:
        home: state directory.
        names: parts to wait for.
        on_change: told of each part whose state, note or error changed.
        timeout: seconds; what is not usable then counts as failed.
        ended: whether to stop following; default: the supervisor is gone.
    """
    seen: dict[str, tuple[object, ...]] = {}
    deadline = time.monotonic() + timeout
    asked, _ = read_request(home)
    appeared = False
    while True:
        stack = read_stack(home)
        current = int(stack.get("asked", 0)) >= asked if stack else False  # type: ignore[call-overload]
        statuses = read_statuses(home) if current else {}
        for name in names:
            status = statuses.get(name)
            if status and seen.get(name) != (key := (status.state, status.note, status.error)):
                seen[name] = key
                on_change(status)
        if current and all(name in statuses and statuses[name].state.usable for name in names):
            return UpResult(ready=True, already=False, addresses=_addresses(stack))
        hopeless = [s for s in statuses.values() if s.name in names and _hopeless(s)]
        late = time.monotonic() > deadline
        appeared = appeared or read_supervisor(home) is not None
        gone = ended() if ended else appeared and read_supervisor(home) is None
        if hopeless or late or gone:
            waiting = [s for s in statuses.values() if s.name in names and not s.state.usable]
            return UpResult(
                ready=False,
                already=False,
                addresses=_addresses(stack),
                failures=hopeless or waiting,
            )
        if not appeared and time.monotonic() > deadline - timeout + 30:
            said = " | ".join(last_lines(home / "logs" / "supervisor.log", 3))
            raise DependencyError(
                f"the supervisor did not start: {said or 'it wrote nothing'}; see {home / 'logs' / 'supervisor.log'}"
            )
        time.sleep(_POLL_SECONDS)


def down(home: Path, *, say: Callable[[str], None], timeout: float = 90.0) -> bool:
    """End everything that `up` started here; False where nothing ran.

    Raises:
        DependencyError: something could not be ended.
    """
    if not home.exists():
        return False
    statuses = read_statuses(home)
    supervisor = read_supervisor(home)
    ran = supervisor is not None or any(s.process and s.process.alive() for s in statuses.values())
    if supervisor is not None:
        say("supervisor")
        stop({supervisor: signal.SIGTERM}, grace=timeout)
    # 1. Whoever holds the lock is the only one who starts or ends parts.
    lock = _wait_lock(home)
    try:
        # 2. Nothing is left where the supervisor did its work; everything is where it had been killed.
        end_parts(home, read_statuses(home), say=say)
        (home / "stack.json").unlink(missing_ok=True)
    finally:
        os.close(lock)
    return ran


def _wait_lock(home: Path) -> int:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if (lock := try_lock(home / "supervisor.lock")) is not None:
            return lock
        # An `up` that had not yet written itself down: ask it to end as well.
        if (supervisor := read_supervisor(home)) is not None:
            stop({supervisor: signal.SIGTERM}, grace=60)
        time.sleep(_POLL_SECONDS)
    raise DependencyError(
        f"another process holds {home / 'supervisor.lock'} and does not let go; see `freshet status`"
    )


def _hopeless(status: PartStatus) -> bool:
    return status.state is PartState.FAILED or (
        status.state is PartState.RESTARTING
        and status.restarts >= _PATIENCE_RESTARTS
        and bool(status.error)
    )


def _all_usable(home: Path, names: Iterable[str]) -> bool:
    if read_supervisor(home) is None:
        return False
    statuses = read_statuses(home)
    return all(
        name in statuses and statuses[name].state.usable and _lives(statuses[name])
        for name in names
    )


def _lives(status: PartStatus) -> bool:
    return status.process is None or status.process.alive()


def _addresses(stack: Mapping[str, object]) -> dict[str, str]:
    found = stack.get("addresses")
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}


def uptime_seconds(process: ProcessId | None) -> float | None:
    """How long a process has run; None where it does not."""
    if process is None or not process.alive():
        return None
    with contextlib.suppress(OSError):
        return max(0.0, time.time() - process.started)
    return None
