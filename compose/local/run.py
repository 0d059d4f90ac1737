"""One part, for as long as a block runs: what tests and tools use where a supervisor would be too much."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from compose.local.machine.process import ProcessId, identify, last_lines, spawn, stop, sweep
from compose.local.parts.part import Part
from corpus.errors import DependencyError


@contextmanager
def running(part: Part) -> Iterator[ProcessId]:
    """Install, prepare and start the part; end it, and all its children, with the block.

    Raises:
        FreshetError: it did not come up; the message ends with the last line of its log.
    """
    part.install()
    part.prepare()
    child = start(part)
    try:
        part.settle()
        yield identify(child)
    finally:
        _end(part, child)


def start(part: Part) -> subprocess.Popen[bytes]:
    """Start a prepared part and wait until it serves.

    Raises:
        DependencyError: it ended, or was not ready in time; then it does not run.
    """
    child = spawn(
        part.command(), mark=part.mark, environment=part.environment(), log=part.log, cwd=part.home
    )
    process = identify(child)
    deadline = time.monotonic() + part.ready_seconds
    while child.poll() is None and time.monotonic() < deadline:
        if part.is_ready(process):
            return child
        time.sleep(0.05)
    ended = child.poll() is not None
    _end(part, child)
    said = " | ".join(last_lines(part.log, 3))
    raise DependencyError(f"{part.name} {'ended' if ended else 'was not ready in time'}: {said}")


def _end(part: Part, child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        stop({identify(child): part.stop_signal}, grace=part.grace_seconds)
    child.wait()
    sweep(part.mark)
