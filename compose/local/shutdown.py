"""The end of a stack: every part is ended after the parts that need it."""

import signal
from collections.abc import Callable, Mapping
from pathlib import Path

from compose.local.machine.process import ProcessId, kill_marked, stop
from compose.local.parts.part import PartStatus


def end_parts(
    home: Path, statuses: Mapping[str, PartStatus], *, on_stop: Callable[[str], None]
) -> None:
    """End every part that runs, then every process that still carries the stack's mark.

    Args:
        home: state directory.
        statuses: name of a part -> its status.
        on_stop: called with the name of each part just before it is ended.
    """
    running = {name: status for name, status in statuses.items() if status.running}
    while running:
        together: list[PartStatus] = []
        for name in _unneeded(running, statuses):
            on_stop(name)
            together.append(running.pop(name))
        _stop_together(together)
    kill_marked(str(home))


def _unneeded(
    running: Mapping[str, PartStatus], statuses: Mapping[str, PartStatus]
) -> list[str]:
    """The running parts that no other running part needs; all of them if they need each other."""
    needed: set[str] = set()
    for status in running.values():
        needed |= _needs(status, statuses)
    unneeded = [name for name in running if name not in needed]
    if not unneeded:
        return list(running)
    return unneeded


def _needs(status: PartStatus, statuses: Mapping[str, PartStatus]) -> set[str]:
    """What a part needs, also through a task: migrations are between the workers and PostgreSQL."""
    needed = set(status.after)
    for name in status.after:
        between = statuses.get(name)
        if between is not None:
            needed.update(between.after)
    return needed


def _stop_together(parts: list[PartStatus]) -> None:
    signals: dict[ProcessId, signal.Signals] = {}
    grace = 0.0
    for status in parts:
        process = status.process
        if process is None:
            continue
        signals[process] = status.stop_signal
        grace = max(grace, status.grace_seconds)
    stop(signals, grace=grace)
