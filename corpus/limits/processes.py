"""Work on documents in processes with limits: each document has so much time and memory, whatever is done to it.

This is the one place through which parsers, splitters and tokenizers are run. A process that takes longer is ended with
SIGKILL, so it does not matter whether it would have listened; the documents behind the one that took too long continue
in another process.
"""

import signal
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TypeVar

from corpus.errors import DependencyError
from corpus.limits.fair_queue import FairQueue, QueuedBatch
from corpus.limits.fork_server import Channel, ForkServer, fork_server
from corpus.limits.messages import (
    Boxed,
    OutcomeMessage,
    Packer,
    pack_plain,
    unpack_as,
)
from corpus.limits.work import Limit, Overrun, Work

MEGABYTE = 1_000_000
DEFAULT_MEMORY_MB = 4_000
# Handed over together: enough that handing over costs little.
_GROUP_DOCUMENTS = 32
_GROUP_CHARACTERS = 1_000_000
_START_SECONDS = 60.0
# A result is about as long as its document, with numbers beside each word; a message beyond this is none.
_RESULT_BYTES = 64 * MEGABYTE
_RESULT_BYTES_PER_CHARACTER = 64
_SHORT_MESSAGE_BYTES = 1_000
_DETAIL_CHARACTERS = 300

Result = TypeVar("Result")


class LimitedProcesses:
    """Processes that batches share; use it in a `with` statement. They start when they are needed.

    Args:
        processes: side by side.
        memory_mb: address space of each, in megabytes.
        preload: modules that the processes need; they are imported once.
    """

    def __init__(
        self,
        processes: int = 1,
        *,
        memory_mb: int = DEFAULT_MEMORY_MB,
        preload: Sequence[str] = (),
    ) -> None:
        self._memory_mb = memory_mb
        self._preload = preload
        self._modules = frozenset(preload)
        self._places = processes
        self._queue = FairQueue(processes)
        self._lock = threading.Lock()
        self._idle: list[_Process] = []
        self._running: set[_Process] = set()

    def open(self) -> None:
        """Start the program that they are forked from, which takes a second or two; else the first batch waits for it.

        Raises:
            DependencyError: it cannot be started.
        """
        fork_server(self._preload).open()

    def close(self) -> None:
        """End the processes; work that runs in one raises DependencyError. New work starts new ones."""
        with self._lock:
            processes = [*self._idle, *self._running]
            self._idle.clear()
            self._running.clear()
        for process in processes:
            process.end()

    def run(
        self, work: Sequence[Work[Result]], seconds: float, batch: QueuedBatch
    ) -> Generator[Result | Overrun]:
        """Do the work on each document, in order.

        Args:
            work: one per document.
            seconds: for each document.
            batch: for whose sake; its `remaining` is counted down.

        Yields:
            The result of each document, or what kept it from having one. It is yielded while the batch holds a process,
            so do little between two of them.

        Raises:
            DependencyError: the processes were closed, or cannot be started.
        """
        done = 0
        is_retry = False
        while done < len(work):
            group = _next_group(work, done)
            if is_retry:
                group = group[:1]
            outcomes = self._run_group(group, seconds, batch, is_retry)
            with closing(outcomes):
                for outcome in outcomes:
                    # Another program may have ended it: the document is tried once more, alone.
                    has_died = _has_died(outcome)
                    is_retry = has_died and not is_retry
                    if is_retry:
                        break
                    done += 1
                    batch.remaining -= 1
                    yield outcome

    def _run_group(
        self,
        group: Sequence[Work[Result]],
        seconds: float,
        batch: QueuedBatch,
        is_retry: bool,
    ) -> Generator[Result | Overrun]:
        packer = Packer()
        message = packer.pack([Boxed(work) for work in group])
        with (
            self._queue.acquire(batch),
            self._process(packer, batch.source, is_retry) as process,
        ):
            process.hand_over(packer, message)
            for outcome in process.run(group, seconds):
                if _has_died(outcome) and self._is_closed(process):
                    raise DependencyError("the processes for documents were stopped")
                yield outcome

    def _is_closed(self, process: "_Process") -> bool:
        with self._lock:
            return process not in self._running

    @contextmanager
    def _process(
        self, packer: Packer, source: str, is_new: bool
    ) -> Generator["_Process"]:
        """A process that has the modules for what was packed; a new one, where one that waited may have died.

        A process reads documents of one source only: what a document has made of its parser meets no other's.
        """
        with self._lock:
            self._modules |= packer.modules
            process = None if is_new else self._take_idle(source, packer.modules)
            if process is None:
                process = self._start(source, packer)
            self._running.add(process)
        try:
            yield process
        finally:
            with self._lock:
                is_open = process in self._running
                self._running.discard(process)
                if is_open and process.is_idle:
                    self._idle.append(process)
                else:
                    process.end()

    def _take_idle(self, source: str, modules: set[str]) -> "_Process | None":
        """One of the source that waits; it is confined, so it must have imported the modules before."""
        for process in self._idle:
            if process.source == source and process.modules >= modules:
                self._idle.remove(process)
                return process
        return None

    def _start(self, source: str, packer: Packer) -> "_Process":
        """A new process, in the place of the one that has waited longest where there are as many as may be."""
        if self._idle and len(self._idle) + len(self._running) >= self._places:
            self._idle.pop(0).end()
        server = fork_server(self._preload)
        return _Process(source, server, self._memory_mb, self._modules, packer)


def _has_died(outcome: object) -> bool:
    return isinstance(outcome, Overrun) and outcome.limit is Limit.PROCESS


def _next_group(work: Sequence[Work[Result]], first: int) -> Sequence[Work[Result]]:
    """The work that is handed over together: one document at least."""
    characters = 0
    end = first
    for one in work[first : first + _GROUP_DOCUMENTS]:
        characters += one.characters
        if end > first and characters > _GROUP_CHARACTERS:
            break
        end += 1
    return work[first:end]


class _Process:
    """One process, as its parent sees it.

    Attributes:
        source: whose documents it reads.
        modules: that it has imported.
        is_idle: whether it waits for documents.
    """

    def __init__(
        self,
        source: str,
        server: ForkServer,
        memory_mb: int,
        modules: frozenset[str],
        packer: Packer,
    ) -> None:
        self.source = source
        self.modules = modules
        self.is_idle = True
        self._memory_mb = memory_mb
        self._exit_code: int | None = None
        self._has_ended = False
        self._lock = threading.Lock()
        self._server = server
        further = sorted(modules.difference(server.preload))
        server.keep([packer.definition(key) for key in packer.shared])
        self._pid, connection = server.start(memory_mb * MEGABYTE, further)
        self._shared: set[str] = set()  # what it has already
        self._channel = Channel(connection)
        self._has_started = False

    def hand_over(self, packer: Packer, message: bytes) -> None:
        """Wait until the process has the group: a document's time is not spent on what all of them need.

        One that has ended is noticed where outcomes are awaited.

        Raises:
            DependencyError: the process does not start.
        """
        self.is_idle = False
        self._await_start()
        new = [key for key in packer.shared if key not in self._shared]
        definitions = [packer.definition(key) for key in new]
        try:
            self._channel.send(pack_plain(definitions), _START_SECONDS)
            self._channel.send(message, _START_SECONDS)
            self._channel.receive(_START_SECONDS, _SHORT_MESSAGE_BYTES)
        except (EOFError, OSError, ValueError):
            self.end()
        self._shared.update(new)

    def run(
        self, group: Sequence[Work[Result]], seconds: float
    ) -> Iterator[Result | Overrun]:
        """Yield outcomes, until the group is done, its share of time is used, or the process had to be ended."""
        for work in group:
            outcome = self._outcome(work, seconds)
            if isinstance(outcome, Overrun) and outcome.limit is not Limit.ERROR:
                self.end()  # it is dead, or deaf, or may keep the memory it has taken
            is_last = self.is_idle or self._has_ended
            yield outcome
            if is_last:
                return

    def end(self) -> None:
        """Kill it; safe to call again."""
        with self._lock:
            self.is_idle = False
            if not self._has_ended:
                self._has_ended = True
                self._exit_code = self._server.end(self._pid)
                self._channel.close()

    def _await_start(self) -> None:
        if self._has_started:
            return
        try:
            message = self._channel.receive(_START_SECONDS, _SHORT_MESSAGE_BYTES)
            self._shared.update(unpack_as(list[str], message))
        except (EOFError, OSError, ValueError) as error:
            self.end()
            raise DependencyError("a process for documents does not start") from error
        self._has_started = True

    def _outcome(self, work: Work[Result], seconds: float) -> Result | Overrun:
        """The outcome of one document."""
        max_bytes = _RESULT_BYTES + _RESULT_BYTES_PER_CHARACTER * work.characters
        try:
            message = self._channel.receive(seconds, max_bytes)
            outcome = unpack_as(OutcomeMessage, message)
            if outcome.limit is None:
                result: Result = unpack_as(work.results[outcome.kind], outcome.result)
                self.is_idle = outcome.is_last
                return result
        except TimeoutError:
            return Overrun(Limit.TIME, f"{seconds:g}s")
        except (EOFError, OSError):
            return self._death()
        except (ValueError, LookupError):
            return Overrun(Limit.PROCESS, "an answer that is none")
        self.is_idle = outcome.is_last
        if outcome.limit is Limit.MEMORY:
            return Overrun(Limit.MEMORY, f"{self._memory_mb:,} MB")
        return Overrun(outcome.limit, outcome.detail[:_DETAIL_CHARACTERS])

    def _death(self) -> Overrun:
        self.end()  # so that its exit code is known
        code = self._exit_code
        name = f"exit code {code}"
        if code is not None and code < 0:
            name = _signal_name(-code)
        return Overrun(Limit.PROCESS, f"{name}; it may use {self._memory_mb:,} MB")


def _signal_name(number: int) -> str:
    """A process may send itself any signal, also one that has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
