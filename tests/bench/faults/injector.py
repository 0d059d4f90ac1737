"""Carries out a schedule on a stack: faults of a burst overlap, and the stack recovers before the next burst."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil

from tests.bench.faults.moments import Moments
from tests.bench.faults.proxy import Behaviour, BlackHole, Cut, Delay, Plain
from tests.bench.faults.schedule import OF_PROXIES, ROLES, Burst, Fault, Kind
from tests.bench.faults.stack import ProxiedStack
from tests.bench.faults.stalls import LIMIT_SECONDS, HeldFaults, Watcher
from tests.bench.stack import thaw

RETURN_SECONDS = (
    240.0  # within which the supervisor has a part back, its servers being faulty meanwhile
)
_POLL_SECONDS = 0.1
_BEYOND_LIMIT_SECONDS = 5.0  # so that the watcher has seen a stall before the next burst hides it


@dataclass(kw_only=True)
class Injected:
    """A fault as it was carried out; times in seconds of the monotonic clock, 0: not yet.

    Attributes:
        fault: what the schedule says.
        began: when it was injected.
        replaced: when the replacement of a frozen role worked.
        ended: when it no longer held.
        progressed: when every source had moved again, or had nothing to do.
        in_transaction: whether a role was hit in a transaction; of a kill, whether it had one just before.
        problem: why it could not be carried out, or what did not come back.
    """

    fault: Fault
    began: float = 0.0
    replaced: float = 0.0
    ended: float = 0.0
    progressed: float = 0.0
    in_transaction: bool = False
    problem: str = ""

    @property
    def name(self) -> str:
        """Its number and what it is."""
        return f"#{self.fault.number} {self.fault.name}"

    @property
    def described(self) -> str:
        """The same, and where it was hit."""
        return f"{self.name}, in a transaction" if self.in_transaction else self.name

    def recovery_seconds(self, others: Sequence["Injected"] = ()) -> float | None:
        """From its end to progress, without the time in which one of the others held; None where there was none."""
        if not self.progressed:
            return None
        recovery, until = 0.0, self.ended
        for other in sorted(others, key=lambda one: one.began):
            if other is not self and other.began < self.progressed and other.ended > until:
                recovery += max(0.0, other.began - until)
                until = min(other.ended, self.progressed)
        return recovery + max(0.0, self.progressed - until)


class Injector:
    """Injects bursts one after the other.

    Attributes:
        injected: what was done, in the order of the schedule.
    """

    def __init__(
        self,
        stack: ProxiedStack,
        faults: HeldFaults,
        watcher: Watcher,
        say: Callable[[str], None],
    ) -> None:
        self._stack = stack
        self._moments = Moments(stack)
        self._faults = faults
        self._watcher = watcher
        self._say = say
        self._stopping = threading.Event()
        self.injected: list[Injected] = []

    def stop(self) -> None:
        """End what holds, and begin nothing more."""
        self._stopping.set()

    def burst(self, burst: Burst) -> None:
        """Inject the faults of a burst, and wait until the stack has recovered, or has shown that it does not."""
        records = [Injected(fault=fault) for fault in burst]
        self.injected += records
        threads: list[threading.Thread] = []
        offset = 0.0
        for record in records:
            offset += record.fault.after
            thread = threading.Thread(target=self._hold, args=(record, offset), daemon=True)
            thread.start()
            threads.append(thread)
        while self._goes_on(records, threads):
            for record in records:
                if record.ended and not record.progressed:
                    self._note_progress(record)
            time.sleep(_POLL_SECONDS)
        for thread in threads:
            thread.join()

    def _goes_on(self, records: list[Injected], threads: list[threading.Thread]) -> bool:
        """Whether there is still something to wait for."""
        if any(thread.is_alive() for thread in threads):
            return True
        if all(record.progressed for record in records):
            return False
        last = max((record.ended for record in records), default=0.0)
        waited = time.monotonic() - last
        return waited < LIMIT_SECONDS + _BEYOND_LIMIT_SECONDS and not self._stopping.is_set()

    def _note_progress(self, record: Injected) -> None:
        if self._watcher.progressed_since(record.ended):
            record.progressed = max(clock.progressed_at for clock in self._watcher.clocks.values())
            seconds = record.recovery_seconds(self.injected)
            self._say(f"recovered from {record.name} in {seconds:.1f} s")

    def _hold(self, record: Injected, offset: float) -> None:
        """One fault from its beginning to its end; it begins in `offset` seconds."""
        fault = record.fault
        if self._stopping.wait(offset):
            return
        if fault.kind not in OF_PROXIES and not self._wait_ready(fault.target):
            record.problem = f"{fault.target} was not back after {RETURN_SECONDS:.0f} s"
        if fault.in_transaction:
            stop = self._stack.pid(fault.target) if fault.kind is Kind.FREEZE else None
            record.in_transaction = self._moments.wait(fault.target, stop=stop)
        self._faults.begin(record.name)
        record.began = time.monotonic()
        try:
            self._hold_kind(fault, record)
        except Exception as error:  # a thread that ends must not leave a fault that nobody reports
            record.problem = f"{type(error).__name__}: {error}"
        finally:
            self._faults.end(record.name)
            record.ended = time.monotonic()

    def _hold_kind(self, fault: Fault, record: Injected) -> None:
        match fault.kind:
            case Kind.FREEZE:
                self._hold_frozen(fault, record)
            case Kind.KILL:
                self._hold_ended(fault, record, self._stack.kill)
            case Kind.RESTART:
                self._hold_ended(fault, record, self._stack.ask_to_end)
            case Kind.JOIN:
                self._hold_joined(fault, record)
            case Kind.GROW:
                self._say(record.described)
                self._stack.add_partition(RETURN_SECONDS)
            case _:
                self._hold_proxy(fault, record)

    def _hold_proxy(self, fault: Fault, record: Injected) -> None:
        self._say(record.described)
        self._stack.proxies.behave(fault.target, behaviour_of(fault))
        self._stopping.wait(fault.seconds)
        self._stack.proxies.behave(fault.target, Plain())

    def _hold_ended(self, fault: Fault, record: Injected, end: Callable[[str], bool]) -> None:
        ended = self._stack.pid(fault.target)
        if not end(fault.target):
            record.problem = f"{fault.target} had no process to {fault.kind}"
        self._say(record.described)
        if not self._wait_ready(fault.target, other_than=ended):
            record.problem = (
                f"{fault.target} was not back {RETURN_SECONDS:.0f} s after its {fault.kind}"
            )

    def _hold_joined(self, fault: Fault, record: Injected) -> None:
        """A second process of a role works for a while; neither its coming nor its leaving stops a source for long."""
        second = self._stack.replacement(fault.target, fault.number)
        second.start()
        self._say(record.described)
        try:
            deadline = time.monotonic() + RETURN_SECONDS
            while not second.ready and not self._stopping.is_set():
                if time.monotonic() > deadline:
                    record.problem = f"the second {fault.target} did not work"
                    return
                self._stopping.wait(_POLL_SECONDS)
            self._stopping.wait(fault.seconds)
        finally:
            second.stop()

    def _hold_frozen(self, fault: Fault, record: Injected) -> None:
        frozen = self._stack.freeze(fault.target)
        if not frozen:
            record.problem = f"{fault.target} had no process to freeze"
        self._say(record.described)
        try:
            if fault.target in ROLES:
                self._sleep_replaced(record, frozen)
            else:
                self._stopping.wait(fault.seconds)
        finally:
            thaw(frozen)

    def _sleep_replaced(self, record: Injected, frozen: Sequence[psutil.Process]) -> None:
        """A role is frozen beside its replacement, and wakes beside it.

        As soon as the replacement works, the frozen process is no reason to stand still.
        """
        fault = record.fault
        replacement = self._stack.replacement(fault.target, fault.number)
        replacement.start()
        wakes_at = time.monotonic() + fault.seconds
        try:
            while not self._stopping.is_set() and time.monotonic() < wakes_at:
                if not record.replaced and replacement.ready:
                    record.replaced = time.monotonic()
                    self._faults.end(record.name)
                self._stopping.wait(min(_POLL_SECONDS, max(0.0, wakes_at - time.monotonic())))
            self._faults.begin(record.name)
            thaw(frozen)
            self._stopping.wait(fault.overlap)
        finally:
            replacement.stop()

    def _wait_ready(self, part: str, *, other_than: int | None = None) -> bool:
        """Wait until a part serves, by another process than one that was killed."""
        deadline = time.monotonic() + RETURN_SECONDS
        while not self._stack.ready(part) or self._stack.pid(part) in (None, other_than):
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True


def behaviour_of(fault: Fault) -> Behaviour:
    """What the proxy of the fault's target does."""
    match fault.kind:
        case Kind.DELAY:
            return Delay(fault.low, fault.high)
        case Kind.CUT:
            return Cut(fault.low)
        case Kind.BLACK_HOLE:
            return BlackHole(swallow_requests=fault.swallows)
        case _:
            return Plain()
