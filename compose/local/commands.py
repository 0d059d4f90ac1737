"""The whole stack as local processes: `up` starts what is missing, `down` ends exactly what `up` started."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import FrameType

from compose.local.follow import OnChange, UpResult, follow
from compose.local.machine import ports as local_ports
from compose.local.machine.files import (
    locked,
    make_private_folder,
    try_lock,
    write_private,
)
from compose.local.machine.process import EVERYTHING, ProcessId, spawn, stop
from compose.local.parts.role import ROLES
from compose.local.shutdown import end_parts
from compose.local.stack import SCHEMA_REGISTRY, SERVICES, stack_parts
from compose.local.state import (
    add_request,
    read_stack,
    read_statuses,
    read_supervisor,
    recover_stack_file,
    remove_stack,
)
from compose.local.supervisor import Supervisor
from corpus.errors import ConfigurationError, DependencyError
from workers.config.settings import schema_registry_port

PARTS = (*SERVICES, SCHEMA_REGISTRY, *ROLES)
_POLL_SECONDS = 0.1
_LOCK_SECONDS = 10.0
# Kafka splits its log directories at commas and reads backslashes as escapes; a mark separates its words by bars.
_SPECIAL_CHARACTERS = ",|\\\n\r"
_ROOT = Path(__file__).resolve().parents[2]


def select_parts(*, workers: bool, only: Iterable[str] = ()) -> list[str]:
    """Return the names of the parts to start, with the services that they need.

    Raises:
        ConfigurationError: a name is not a part.
    """
    selected = list(only)
    services = _services()
    _require_parts(selected, services)
    if not selected:
        return [*services, *ROLES] if workers else services
    if any(name in ROLES for name in selected):
        selected += services
    if "migrations" in selected:
        selected.append("postgres")
    return [name for name in PARTS if name in selected]


def _require_parts(
    selected: Iterable[str],
    services: Iterable[str],
) -> None:
    """Refuse what is no part, or runs only where it is asked for."""
    for name in selected:
        if name not in PARTS:
            raise ConfigurationError(
                f"{name!r} is not a part of the stack; parts are {', '.join(PARTS)}"
            )
        if name not in (*services, *ROLES):
            raise ConfigurationError(
                "the stack has a schema registry where FRESHET_SCHEMA_REGISTRY_PORT names its port, and "
                "FRESHET_SCHEMA_REGISTRY_URL names no other"
            )


def _services() -> list[str]:
    """The services of the stack, with those that are asked for."""
    services: list[str] = list(SERVICES)
    port = schema_registry_port()
    if port is not None:
        services.append(SCHEMA_REGISTRY)
    return services


def prepare_home(home: Path, ports: Mapping[str, int]) -> None:
    """Make the state directory and choose the ports; a stack that runs keeps its ports.

    Args:
        home: state directory.
        ports: name of a port -> port, for those that the caller sets.

    Raises:
        ConfigurationError: a port is not a port, the directory cannot be made or written, or an address in the
            environment is malformed.
    """
    local_ports.validate(ports)
    _refuse_special_characters(home)
    try:
        make_private_folder(home)
        write_private(home / ".writable", "")
        (home / ".writable").unlink(missing_ok=True)  # another `up` may have removed it
    except OSError as error:
        raise ConfigurationError(
            f"the state directory {home} cannot be written: {error}; choose another with --home"
        ) from error
    recover_stack_file(home)
    if read_supervisor(home) is None:
        with locked(home / "wanted.lock"):
            chosen = local_ports.choose(home, ports)
        stack_parts(home, chosen)


def up_detached(
    home: Path, names: Sequence[str], *, on_change: OnChange, timeout: float
) -> UpResult:
    """Start what is missing under a supervisor that stays.

    Args:
        home: state directory.
        names: parts that are to run.
        on_change: called with each part whose state, note or error changed.
        timeout: seconds to wait for the parts.

    Returns:
        The outcome, once all parts are usable or one cannot become so.

    Raises:
        DependencyError: the supervisor did not start.
    """
    supervisor = read_supervisor(home)
    already = supervisor is not None and _all_usable(home, names)
    add_request(home, names, fresh=supervisor is None)
    if supervisor is None:
        _start_supervisor(home)
    result = follow(home, names, on_change=on_change, timeout=timeout)
    result.already = already
    return result


def up_attached(
    home: Path,
    names: Sequence[str],
    *,
    on_change: OnChange,
    on_ready: Callable[[UpResult], None],
    timeout: float,
) -> UpResult:
    """Run the stack in the foreground, until a signal ends it and everything that it started has ended.

    Args:
        home: state directory.
        names: parts that are to run.
        on_change: called with each part whose state, note or error changed.
        on_ready: called with the outcome, once all parts are usable or one cannot become so.
        timeout: seconds to wait for the parts.

    Raises:
        DependencyError: another supervisor took the state directory meanwhile.
    """
    add_request(home, names, fresh=True)
    supervisor = Supervisor(home)
    outcome: list[bool] = []
    runner = threading.Thread(
        target=lambda: outcome.append(supervisor.run()), name="supervisor"
    )

    def end(_number: int, _frame: FrameType | None) -> None:
        supervisor.stop()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
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
        runner.join(0.2)  # a join without a limit would delay the signal handlers
    if outcome == [False]:
        raise DependencyError(
            f"another `freshet up` took {home} at this moment; see `freshet status`"
        )
    return result


def down(home: Path, *, on_stop: Callable[[str], None], timeout: float = 90.0) -> bool:
    """End everything that `up` started here.

    1. End the supervisor, which ends its parts.
    2. Take its lock: only the holder starts or ends parts.
    3. End what is left, which is everything if the supervisor had been killed.

    Args:
        home: state directory.
        on_stop: called with the name of each part just before it is ended.
        timeout: seconds that the supervisor may take.

    Returns:
        Whether anything ran.

    Raises:
        DependencyError: another process holds the supervisor's lock.
    """
    if not home.exists():
        return False
    recover_stack_file(home)
    statuses = read_statuses(home)
    supervisor = read_supervisor(home)
    ran = supervisor is not None or any(status.running for status in statuses.values())
    # 1
    if supervisor is not None:
        on_stop("supervisor")
        stop({supervisor: signal.SIGTERM}, grace=timeout)
    # 2
    lock = _wait_for_lock(home)
    # 3
    try:
        end_parts(home, read_statuses(home), on_stop=on_stop)
        remove_stack(home)
    finally:
        os.close(lock)
    return ran


def uptime_seconds(process: ProcessId | None) -> float | None:
    """Return how long a process has run; None if it does not run."""
    if process is None or not process.alive():
        return None
    return max(0.0, time.time() - process.started)


def _refuse_special_characters(home: Path) -> None:
    """Refuse a path that Kafka's settings or the marks of processes would split."""
    special = sorted(
        {character for character in str(home) if character in _SPECIAL_CHARACTERS}
    )
    if special:
        raise ConfigurationError(
            f"the state directory {str(home)!r} contains {special}, which its servers cannot use; "
            "choose another with --home"
        )


def _start_supervisor(home: Path) -> None:
    search_path = [str(_ROOT)]
    if os.environ.get("PYTHONPATH"):
        search_path.append(os.environ["PYTHONPATH"])
    command = [sys.executable, "-m", "compose.local.supervisor", str(home)]
    child = spawn(
        command,
        mark="",
        environment={"PYTHONPATH": os.pathsep.join(search_path)},
        inherits=EVERYTHING,
        log=home / "logs" / "supervisor.log",
        cwd=home,
    )
    # If two `up` run at once, the second supervisor ends because the lock is taken, and both `up` follow the first.
    waiter = threading.Thread(target=child.wait, daemon=True)
    waiter.start()


def _all_usable(home: Path, names: Sequence[str]) -> bool:
    """Whether every part is usable, and its process, if it has one, runs."""
    statuses = read_statuses(home)
    return all(name in statuses and statuses[name].usable for name in names)


def _wait_for_lock(home: Path) -> int:
    deadline = time.monotonic() + _LOCK_SECONDS
    while time.monotonic() < deadline:
        lock = try_lock(home / "supervisor.lock")
        if lock is not None:
            return lock
        # An `up` that had not yet written stack.json: end its supervisor as well.
        supervisor = read_supervisor(home)
        if supervisor is not None:
            stop({supervisor: signal.SIGTERM}, grace=60)
        time.sleep(_POLL_SECONDS)
    raise DependencyError(
        f"another process holds {home / 'supervisor.lock'} and does not release it; see `freshet status`"
    )


__all__ = [
    "PARTS",
    "OnChange",
    "UpResult",
    "down",
    "prepare_home",
    "read_stack",
    "read_statuses",
    "read_supervisor",
    "select_parts",
    "up_attached",
    "up_detached",
    "uptime_seconds",
]
