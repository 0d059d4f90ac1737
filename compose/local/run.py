"""One part for the length of a block, for tests and tools that need no supervisor."""

import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager

from compose.local.machine.process import (
    ProcessId,
    identify,
    kill_marked,
    last_lines,
    spawn,
    stop,
)
from compose.local.parts.part import Part
from corpus.errors import DependencyError

_POLL_SECONDS = 0.05


@contextmanager
def running(part: Part) -> Generator[ProcessId, None, None]:
    """Install, prepare and start a part; end it and all its children with the block.

    Raises:
        FreshetError: the part did not become ready; the message ends with the last lines of its log.
    """
    part.install()
    part.prepare()
    child = start(part)
    try:
        part.after_ready()
        yield identify(child)
    finally:
        _end(part, child)


def start(part: Part) -> subprocess.Popen[bytes]:
    """Start a prepared part and wait until it is ready.

    Raises:
        DependencyError: the part ended, or was not ready in time; it does not run then.
    """
    child = spawn(
        part.command(),
        mark=part.mark,
        environment=part.environment(),
        log=part.log,
        cwd=part.home,
        inherits=part.inherits,
    )
    process = identify(child)
    deadline = time.monotonic() + part.ready_seconds
    while child.poll() is None and time.monotonic() < deadline:
        if part.is_ready(process):
            return child
        time.sleep(_POLL_SECONDS)
    reason = "was not ready in time" if child.returncode is None else "ended"
    _end(part, child)
    output = " | ".join(last_lines(part.log, 3))
    raise DependencyError(f"{part.name} {reason}: {output}")


def _end(part: Part, child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        stop({identify(child): part.stop_signal}, grace=part.grace_seconds)
    child.wait()
    kill_marked(part.mark)
