"""Can a process for documents reach anything? Each way is tried from inside one."""

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.errors import DependencyError
from corpus.limits import confinement
from corpus.limits.fair_queue import QueuedBatch
from corpus.limits.processes import LimitedProcesses
from corpus.limits.work import Overrun

_SECONDS = 10.0
_LOOPBACK = ("127.0.0.1", 9)


@dataclass(frozen=True, slots=True)
class Findings:
    """What a process for documents found out about itself."""

    walls: tuple[confinement.Wall, ...]
    """That this machine has."""
    reached: tuple[str, ...]
    """What it should not have reached."""


def probe() -> Findings:
    """Start a process for documents and let it try.

    Raises:
        DependencyError: no such process can be started, or it did not end its attempts.
    """
    processes = LimitedProcesses()
    batch = QueuedBatch("doctor", 0, 1)
    try:
        outcomes = processes.run([Probe()], _SECONDS, batch)
        findings: Findings | Overrun = next(outcomes)
    finally:
        processes.close()
    if isinstance(findings, Overrun):
        raise DependencyError(
            f"a process for documents failed: {findings.limit}: {findings.detail}"
        )
    return findings


@dataclass(frozen=True, slots=True)
class Probe:
    """Tries everything that a process for documents must not be able to do; each attempt by itself is harmless."""

    characters: int = 0

    @property
    def results(self) -> tuple[type[Any], ...]:
        """Its own."""
        return (Findings,)

    def __call__(self) -> Findings:
        """What it found out."""
        reached: list[str] = []
        for name, attempt in _ATTEMPTS.items():
            with suppress(OSError):
                attempt()
                reached.append(name)
        return Findings(confinement.in_effect(), tuple(reached))


def _read_a_file() -> None:
    Path("/etc/hosts").read_bytes()


def _write_a_file() -> None:
    Path("/tmp").touch()


def _list_a_folder() -> None:
    list(Path("/").iterdir())


def _connect() -> None:
    with socket.socket() as connection, suppress(ConnectionRefusedError):
        connection.connect(_LOOPBACK)


def _send_a_packet() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as connection:
        connection.sendto(b"", _LOOPBACK)


def _signal_its_parent() -> None:
    os.kill(os.getppid(), 0)


def _start_a_process() -> None:
    if os.fork() == 0:
        os._exit(0)


def _duplicate_a_descriptor() -> None:
    os.close(os.dup(0))


_ATTEMPTS: dict[str, Callable[[], None]] = {
    "read a file": _read_a_file,
    "write a file": _write_a_file,
    "list a folder": _list_a_folder,
    "connect": _connect,
    "send a packet": _send_a_packet,
    "signal another process": _signal_its_parent,
    "start a process": _start_a_process,
    "make a descriptor": _duplicate_a_descriptor,
}
