"""Processes of the local stack: started in their own session, known by pid and start time, ended without remains.

A pid alone says nothing after a crash, since the system hands it out again; with the start time it names one process.
Each process also carries `FRESHET_PART` in its environment, so that one whose pid was never written down (its
supervisor was killed in between) is still found.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from corpus.errors import ConfigurationError, DependencyError

MARK = "FRESHET_PART"
# A log is moved aside when a part starts and its log is larger: one old log is kept.
LOG_BYTES = 20_000_000
# The system counts start times in 10 ms ticks since boot, and a stepped clock shifts them.
_START_TOLERANCE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process: `pid`, and `started` in seconds since the epoch."""

    pid: int
    started: float

    def alive(self) -> bool:
        """Whether exactly this process runs (a zombie does not)."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) <= _START_TOLERANCE_SECONDS
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


def current() -> ProcessId:
    """This process."""
    return ProcessId(os.getpid(), psutil.Process().create_time())


def spawn(
    command: Sequence[str], *, mark: str, environment: Mapping[str, str], log: Path, cwd: Path
) -> subprocess.Popen[bytes]:
    """Start a part in a session of its own (a Ctrl-C in the terminal must not reach it), its output appended to `log`.

    Raises:
        ConfigurationError: the program does not exist or cannot be run.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    rotate(log)
    with log.open("ab") as output:
        try:
            return subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment, MARK: mark},
                cwd=cwd,
                start_new_session=True,
            )
        except OSError as error:
            raise ConfigurationError(f"{command[0]} cannot be started: {error}") from error


def identify(child: subprocess.Popen[bytes]) -> ProcessId:
    """The identity of a child just started; one that has ended already is not alive."""
    try:
        return ProcessId(child.pid, psutil.Process(child.pid).create_time())
    except psutil.Error:
        return ProcessId(child.pid, 0.0)


def run_tool(
    command: Sequence[str],
    *,
    mark: str,
    what: str,
    timeout: float,
    environment: Mapping[str, str | None] | None = None,
    cwd: Path | None = None,
) -> str:
    """Run a program to its end and return its standard output; `what` says in words what it was for.

    A variable of `environment` that is None is taken out of the program's environment.

    Raises:
        DependencyError: it failed or took longer than `timeout` seconds; the message ends with the last lines it wrote.
    """
    variables: dict[str, str | None] = {**os.environ, **(environment or {}), MARK: mark}
    try:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env={name: value for name, value in variables.items() if value is not None},
            cwd=cwd,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DependencyError(f"{what}: {command[0]} took longer than {timeout:.0f} s") from error
    except OSError as error:
        raise DependencyError(f"{what}: {command[0]} cannot be run: {error}") from error
    if done.returncode != 0:
        said = " | ".join((done.stderr or done.stdout).strip().splitlines()[-4:])
        raise DependencyError(f"{what}: {command[0]} ended with {done.returncode}: {said}")
    return done.stdout


def stop(processes: Mapping[ProcessId, signal.Signals], *, grace: float) -> None:
    """Ask all to end (each by its signal), wait `grace` seconds, then kill what is left with its process group."""
    for process, how in processes.items():
        if process.alive():
            _signal(process.pid, how)
    deadline = time.monotonic() + grace
    left = [process for process in processes if process.alive()]
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = [process for process in left if process.alive()]
    for process in left:
        _signal_group(process.pid)
        _signal(process.pid, signal.SIGKILL)
    while any(process.alive() for process in left) and time.monotonic() < deadline + 5:
        time.sleep(0.05)


def marked(mark: str) -> Iterator[psutil.Process]:
    """Every process of ours whose mark is `mark` or starts with `mark` + '|'."""
    for process in psutil.process_iter():
        try:
            value = process.environ().get(MARK, "")
        except (psutil.Error, OSError):
            continue
        if (value == mark or value.startswith(mark + "|")) and process.pid != os.getpid():
            yield process


def sweep(mark: str) -> int:
    """Kill what still carries the mark (children that outlived their parent); return how many."""
    left = list(marked(mark))
    for process in left:
        try:
            process.kill()
        except psutil.Error:
            continue
    psutil.wait_procs(left, timeout=5)
    return len(left)


def holders(folder: Path) -> list[psutil.Process]:
    """Processes whose working directory is `folder`: PostgreSQL's backends stand in their data directory."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()) == folder and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def rotate(log: Path) -> None:
    """Move a large log aside."""
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))


def last_lines(log: Path, count: int) -> list[str]:
    """The last lines of a log, read from its end (at most 256 KiB); empty where there is none."""
    if not log.exists():
        return []
    with log.open("rb") as source:
        source.seek(0, os.SEEK_END)
        source.seek(max(0, source.tell() - 262_144))
        return source.read().decode("utf-8", errors="replace").splitlines()[-count:]


def _signal(pid: int, how: signal.Signals) -> None:
    try:
        os.kill(pid, how)
    except ProcessLookupError:
        return


def _signal_group(pid: int) -> None:
    # spawn() made each part the leader of its own group, so the group's number is the pid.
    try:
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
