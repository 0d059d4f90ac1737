"""One run: the PEP stream flows slice by slice while its bursts of faults hold, a reader and a watcher look on."""

import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import data
from tests.bench.converge import (
    accounts,
    drain_patiently,
    interleaved,
    late_duplicates,
    produce_patiently,
)
from tests.bench.faults import schedule
from tests.bench.faults.injector import Injected, Injector
from tests.bench.faults.judge import violations
from tests.bench.faults.stack import ProxiedStack
from tests.bench.faults.stalls import HeldFaults, Watcher
from tests.bench.reader import Reader

SOURCE = TOPIC = "peps"
TOML = """
[source.peps]
topics = ["peps"]
partitions = 4
model = "all-MiniLM-L6-v2"
"""
DRAIN_SECONDS = 1800.0
_WORK_SECONDS = 20.0  # a burst waits so long for records to read, so that its faults meet work

Event = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Of a run.

    Attributes:
        seed: of the schedule, the order of the events and the proxies.
        faults: how many.
        documents: how many of the PEPs; None: all.
        most_seconds: the longest that a fault may last.
        fake_embedder: whether texts get a hash for a vector.
        keep: whether the stack's folder stays.
    """

    seed: int
    faults: int = 100
    documents: int | None = None
    most_seconds: float = schedule.FROZEN_SECONDS[1]
    fake_embedder: bool = False
    keep: bool = False

    @property
    def arguments(self) -> str:
        """The command line that repeats the run."""
        words = [f"--seed {self.seed}", f"--faults {self.faults}"]
        if self.documents is not None:
            words.append(f"--documents {self.documents}")
        if self.most_seconds != schedule.FROZEN_SECONDS[1]:
            words.append(f"--most-seconds {self.most_seconds:g}")
        if self.fake_embedder:
            words.append("--fake-embedder")
        return " ".join(words)


def run(options: Options, say: Callable[[str], None]) -> dict[str, Any]:
    """Do it; `say` is called with a line for everything that happens.

    1. start the stack, the reader and the watcher
    2. inject the bursts while the stream flows
    3. let it drain
    4. judge
    """
    bursts = schedule.draw(options.seed, options.faults, most_seconds=options.most_seconds)
    events = stream(options)
    started = time.monotonic()
    with ProxiedStack(
        options.seed, topic=TOPIC, fake_embedder=options.fake_embedder, keep=options.keep
    ) as stack:
        say(f"the stack is ready in {stack.home}; {len(events):,} events, {len(bursts)} bursts")
        stack.apply(TOML)
        faults = HeldFaults()
        watcher = Watcher(stack, faults, lambda source: resume(stack, source, say))
        reader = Reader(stack)
        feeder = Feeder(stack, events, bursts)
        injector = Injector(stack, faults, watcher, say)
        for thread in (watcher, reader, feeder):
            thread.start()
        try:
            _inject(bursts, injector, feeder, watcher, say)
            feeder.finish()
            say(f"all faults are over, {watcher.lag} records are not in the corpus")
            drained = drain_patiently(stack, timeout=DRAIN_SECONDS)
        finally:
            injector.stop()
            watcher.stop()
        seen = reader.stop()
        exported = data.exported(stack.cli("export", "--source", SOURCE))
        with stack.connect() as connection:
            broken = list(
                violations(
                    wanted=data.folded(events),
                    exported=exported,
                    connection=connection,
                    reader=seen,
                    watcher=watcher,
                    injected=injector.injected,
                    count=options.faults,
                    drained=drained,
                )
            )
        return {
            "holds": not broken,
            "violations": broken,
            "repeat": f"make faults ARGS='{options.arguments}'",
            "seconds": round(time.monotonic() - started, 1),
            "events": len(events),
            "documents": len(exported),
            "faults": [row(record, injector.injected, started) for record in injector.injected],
            "standing still": {
                source: {
                    "longest seconds": round(clock.longest, 1),
                    "longest seconds, faults included": round(clock.longest_with_faults, 1),
                }
                for source, clock in watcher.clocks.items()
            },
            "halts": watcher.halts,
            "restarts": stack.restarts(),
            "reader": seen,
            "proxies": stack.proxies.counts(),
            **accounts(stack),
        }


def stream(options: Options) -> list[Event]:
    """The PEP stream in the order in which it is produced: interleaved, and 10 % of the changes repeated late."""
    rng = random.Random(options.seed)
    base = list(data.events("streams/peps.base.jsonl.zst"))
    changes = list(data.events("streams/peps.changes.jsonl.zst"))
    if options.documents is not None:
        wanted = set(list(dict.fromkeys(event["id"] for event in base))[: options.documents])
        base = [event for event in base if event["id"] in wanted]
        changes = [event for event in changes if event["id"] in wanted]
    return interleaved(base, rng) + interleaved(late_duplicates(changes, rng), rng)


def row(record: Injected, others: Sequence[Injected], started: float) -> dict[str, Any]:
    """A fault for the table; times in seconds."""
    recovery = record.recovery_seconds(others)
    return {
        "number": record.fault.number,
        "at": round(record.began - started, 1),
        "kind": str(record.fault.kind),
        "target": record.fault.target,
        "fault": record.fault.name,
        "in a transaction": record.in_transaction,
        "held": round(record.ended - record.began, 1),
        "replaced": round(record.replaced - record.began, 1) if record.replaced else None,
        "recovery": None if recovery is None else round(recovery, 1),
        "problem": record.problem,
    }


def resume(stack: ProxiedStack, source: str, say: Callable[[str], None]) -> None:
    """What an operator does with a halted source; that one is needed is a violation, and the run goes on."""
    say(f"{source} is halted, and resumed: {stack.cli('source', 'resume', source, check=False)}")


def _inject(
    bursts: Sequence[schedule.Burst],
    injector: Injector,
    feeder: "Feeder",
    watcher: Watcher,
    say: Callable[[str], None],
) -> None:
    for number, burst in enumerate(bursts, 1):
        feeder.release()
        deadline = time.monotonic() + _WORK_SECONDS
        while not watcher.lag and time.monotonic() < deadline:
            time.sleep(0.1)
        say(
            f"burst {number} of {len(bursts)}: {len(burst)} faults, {watcher.lag} records to read, "
            f"longest standing still {max((c.longest for c in watcher.clocks.values()), default=0):.0f} s, "
            f"{len(watcher.stalls)} stalls, {len(watcher.halts)} halts"
        )
        injector.burst(burst)


class Feeder(threading.Thread):
    """Produces one slice of the stream per burst, spread over the time that the burst takes."""

    def __init__(
        self, stack: ProxiedStack, events: Sequence[Event], bursts: Sequence[schedule.Burst]
    ) -> None:
        super().__init__(name="feeder", daemon=True)
        self._stack = stack
        self._slices: list[tuple[Path, float]] = []
        bounds = [len(events) * number // len(bursts) for number in range(len(bursts) + 1)]
        for number, burst in enumerate(bursts):
            part = list(events[bounds[number] : bounds[number + 1]])
            path = data.write_events(stack.home / f"slice-{number:03}.jsonl", part)
            self._slices.append((path, len(part) / max(1.0, schedule.length(burst))))
        self._released: queue.Queue[tuple[Path, float] | None] = queue.Queue()

    def run(self) -> None:
        while slice_ := self._released.get():
            path, rate = slice_
            if path.stat().st_size:
                produce_patiently(
                    self._stack, path, topic=TOPIC, options=(f"--rate={max(rate, 0.1):.3f}",)
                )

    def release(self) -> None:
        """Let the next slice flow."""
        self._released.put(self._slices.pop(0))

    def finish(self) -> None:
        """Returns when all that was released is produced."""
        self._released.put(None)
        self.join()
