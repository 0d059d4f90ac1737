"""Processes of the local stack: each is started in a session of its own and known by its pid and its start time.

After a crash a pid alone identifies nothing, because the system gives it to another process. With the start time it
identifies exactly one process. Each process of the stack also carries `FRESHET_PART` in its environment, so that a
process whose pid was never written to a file (its supervisor was killed in between) is still known.
"""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import psutil

from compose.local.machine.files import OWNER_ONLY
from corpus.errors import ConfigurationError, DependencyError

MARK = "FRESHET_PART"
# When a part starts and its log is larger than this, the log is renamed; one old log is kept.
MAX_LOG_BYTES = 20_000_000
# The system counts start times in ticks of 10 ms since boot, and a clock that is set shifts them.
_START_TOLERANCE_SECONDS = 2.0
_POLL_SECONDS = 0.05
_KILL_SECONDS = 5.0
_TAIL_BYTES = 262_144
_MAX_ERROR_LINES = 4

Pid = Annotated[int, msgspec.Meta(gt=0, lt=2**31)]


@dataclass(frozen=True, slots=True)
class ProcessId:
    """The identity of one process.

    Attributes:
        pid: number of the process.
        started: start of the process, in seconds since the epoch.
    """

    pid: Pid
    started: float

    def alive(self) -> bool:
        """Return whether exactly this process runs; a zombie does not."""
        try:
            process = psutil.Process(self.pid)
            age_difference = abs(process.create_time() - self.started)
            return (
                age_difference <= _START_TOLERANCE_SECONDS
                and process.status() != psutil.STATUS_ZOMBIE
            )
        except psutil.Error:
            return False


def current_process() -> ProcessId:
    """Return the identity of this process."""
    return ProcessId(os.getpid(), psutil.Process().create_time())


def spawn(
    command: Sequence[str],
    *,
    mark: str,
    environment: Mapping[str, str],
    log: Path,
    cwd: Path,
    inherits: re.Pattern[str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a process whose output is appended to `log`.

    The process gets a session of its own, so that a Ctrl-C in the terminal does not reach it.

    Args:
        command: the program and its arguments, none of them a secret: any user of the machine sees them.
        mark: value of `FRESHET_PART` in its environment.
        environment: further variables.
        log: file of its output.
        cwd: working directory.
        inherits: names of the variables of this process that it gets; None: those that any program needs.

    Raises:
        ConfigurationError: the program or its log cannot be opened.
    """
    try:
        log.parent.mkdir(parents=True, exist_ok=True, mode=OWNER_ONLY)
        rotate(log)
        with open(log, "ab", opener=_open_private) as output:
            return subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**inherited(inherits), **environment, MARK: mark},
                cwd=cwd,
                start_new_session=True,
                umask=0o077,
            )
    except OSError as error:
        raise ConfigurationError(f"{command[0]} cannot be started: {error}") from error


# Where programs, libraries, temporary files and certificates are; the language.
_OF_ANY_PROGRAM = (
    "PATH|HOME|USER|LOGNAME|SHELL|TERM|TMP|TEMP|TMPDIR|TZ|LANG|LANGUAGE|JAVA_HOME"
    "|(LC|LD|DYLD|XDG|SSL_CERT)_[A-Z_]+"
)


def variables(*further: str) -> re.Pattern[str]:
    """The variables that any program needs, and further ones.

    Args:
        further: regular expressions; each matches whole names.
    """
    return re.compile("|".join((_OF_ANY_PROGRAM, *further)))


_OF_NO_SERVICE = variables()
EVERYTHING = variables("(?s:.*)")


def inherited(names: re.Pattern[str] | None) -> dict[str, str]:
    """Those of this process's variables that another one gets; None: those that any program needs."""
    wanted = names or _OF_NO_SERVICE
    return {name: value for name, value in os.environ.items() if wanted.fullmatch(name)}


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def identify(child: subprocess.Popen[bytes]) -> ProcessId:
    """Return the identity of a child that was just started; one that has already ended is not alive."""
    try:
        return ProcessId(child.pid, psutil.Process(child.pid).create_time())
    except psutil.Error:
        return ProcessId(child.pid, 0.0)


def run_tool(
    command: Sequence[str],
    *,
    mark: str,
    purpose: str,
    timeout: float,
    environment: Mapping[str, str] | None = None,
    inherits: re.Pattern[str] | None = None,
    cwd: Path | None = None,
) -> str:
    """Run a program to its end and return its standard output.

    Args:
        command: the program and its arguments.
        mark: value of `FRESHET_PART` in the program's environment.
        purpose: what the program is run for; error messages begin with it.
        timeout: seconds.
        environment: further variables.
        inherits: names of the variables of this process that it gets; None: those that any program needs.
        cwd: working directory.

    Raises:
        DependencyError: the program failed, took too long or cannot be run. The message ends with its last lines.
    """
    try:
        completed = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env={**inherited(inherits), **(environment or {}), MARK: mark},
            cwd=cwd,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DependencyError(
            f"{purpose}: {command[0]} took longer than {timeout:.0f} s"
        ) from error
    except OSError as error:
        raise DependencyError(
            f"{purpose}: {command[0]} cannot be run: {error}"
        ) from error
    if completed.returncode != 0:
        lines = (completed.stderr or completed.stdout).strip().splitlines()
        output = " | ".join(lines[-_MAX_ERROR_LINES:])
        raise DependencyError(
            f"{purpose}: {command[0]} ended with exit code {completed.returncode}: {output}"
        )
    return completed.stdout


def stop(processes: Mapping[ProcessId, signal.Signals], *, grace: float) -> None:
    """End processes: send each its signal, wait `grace` seconds, then kill the rest with their process groups."""
    for process, stop_signal in processes.items():
        if process.alive():
            _send_signal(process.pid, stop_signal)
    remaining = _wait_for_end(processes, grace)
    for process in remaining:
        _kill_group(process.pid)
        _send_signal(process.pid, signal.SIGKILL)
    _wait_for_end(remaining, _KILL_SECONDS)


def marked(mark: str) -> Iterator[psutil.Process]:
    """Yield every other process whose mark is `mark` or begins with `mark` and a bar."""
    for process in psutil.process_iter():
        try:
            value = process.environ().get(MARK, "")
        except (psutil.Error, OSError):
            continue
        belongs = value == mark or value.startswith(f"{mark}|")
        if belongs and process.pid != os.getpid():
            yield process


def kill_marked(mark: str) -> int:
    """Kill the processes that carry the mark, as children that outlived their parent do; return their number."""
    remaining = list(marked(mark))
    for process in remaining:
        try:
            process.kill()
        except psutil.Error:
            continue
    psutil.wait_procs(remaining, timeout=_KILL_SECONDS)
    return len(remaining)


def processes_in(folder: Path) -> list[psutil.Process]:
    """Return the processes whose working directory is `folder`, as PostgreSQL's is its data directory."""
    # The system names a working directory without symbolic links.
    resolved = folder.resolve()
    processes: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if (
                Path(process.cwd()) == resolved
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                processes.append(process)
        except (psutil.Error, OSError):
            continue
    return processes


def rotate(log: Path) -> None:
    """Rename a log that is larger than `MAX_LOG_BYTES` to NAME.1, which replaces an older one."""
    if log.exists() and log.stat().st_size > MAX_LOG_BYTES:
        log.replace(log.with_name(f"{log.name}.1"))


def last_lines(log: Path, count: int) -> list[str]:
    """Return the last `count` lines of a log, of at most 256 KiB; none without the file."""
    if count <= 0 or not log.exists():
        return []
    with log.open("rb") as source:
        size = source.seek(0, os.SEEK_END)
        begin = max(0, size - _TAIL_BYTES)
        source.seek(begin)
        tail = source.read()
    lines = tail.decode("utf-8", errors="replace").splitlines()
    return lines[-count:]


def _wait_for_end(processes: Iterable[ProcessId], seconds: float) -> list[ProcessId]:
    """Wait until the processes have ended, at most `seconds`; return those that still run."""
    deadline = time.monotonic() + seconds
    remaining = list(processes)
    while True:
        remaining = [process for process in remaining if process.alive()]
        if not remaining:
            return []
        if time.monotonic() > deadline:
            return remaining
        time.sleep(_POLL_SECONDS)


def _send_signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _kill_group(pid: int) -> None:
    # spawn() makes each part the leader of a group of its own, so the number of the group is the pid.
    try:
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
