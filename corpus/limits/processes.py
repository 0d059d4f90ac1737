"""Work on documents in processes with limits: each document has so much time and memory, whatever is done to it.

This is the one place through which parsers, splitters and tokenizers are run. A process that takes longer is ended with
SIGKILL, so it does not matter whether it would have listened; the documents behind the one that took too long continue
in another process.
"""

import fcntl
import multiprocessing
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any, Generic, Protocol, TypeVar, cast

from corpus.errors import DependencyError
from corpus.limits.fair_queue import FairQueue, QueuedBatch

MEGABYTE = 1_000_000
DEFAULT_MEMORY_MB = 4_000
# Handed over together: enough that handing over costs little.
_GROUP_DOCUMENTS = 32
_GROUP_CHARACTERS = 1_000_000
# A process keeps its place for so long and for the document in progress; other batches may be waiting.
_KEEP_PLACE_SECONDS = 1.0
_START_SECONDS = 60.0

Result_co = TypeVar("Result_co", covariant=True)
Result = TypeVar("Result")


class Work(Protocol[Result_co]):
    """What is done to one document; it is sent to another process, so it is pickled."""

    @property
    def characters(self) -> int:
        """Length of the document."""
        ...

    def __call__(self) -> Result_co: ...


class Limit(StrEnum):
    """What ended the work on a document."""

    TIME = "time"
    MEMORY = "memory"
    PROCESS = "process"  # it died, and died again with the same document alone
    ERROR = "error"  # the code raised an error


@dataclass(frozen=True, slots=True)
class Overrun:
    """Why the work on a document has no result."""

    limit: Limit
    detail: str


@dataclass(frozen=True, slots=True)
class _Done(Generic[Result]):
    """The result of one document, as a process sends it."""

    result: Result


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
        self._preload = [__name__, *preload]
        self._queue = FairQueue(processes)
        self._lock = threading.Lock()
        self._idle: list[_Process] = []
        self._running: set[_Process] = set()

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
            outcomes = self._run_group(group, seconds, batch)
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
        self, group: Sequence[Work[Result]], seconds: float, batch: QueuedBatch
    ) -> Generator[Result | Overrun]:
        with self._queue.acquire(batch), self._process() as process:
            for outcome in process.run(group, seconds):
                if _has_died(outcome) and self._is_closed(process):
                    raise DependencyError("the processes for documents were stopped")
                yield outcome

    def _is_closed(self, process: "_Process") -> bool:
        with self._lock:
            return process not in self._running

    @contextmanager
    def _process(self) -> Generator["_Process"]:
        with self._lock:
            process = self._idle.pop() if self._idle else None
            if process is None:
                process = _Process(self._memory_mb, self._preload)
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
    """One process, as its parent sees it."""

    def __init__(self, memory_mb: int, preload: Sequence[str]) -> None:
        self._memory_mb = memory_mb
        context = _context(preload)
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve,
            args=(theirs, memory_mb * MEGABYTE, preload),
            daemon=True,
        )
        self._process.start()
        theirs.close()
        self.is_idle = True

    def run(
        self, group: Sequence[Work[Result]], seconds: float
    ) -> Iterator[Result | Overrun]:
        """Yield outcomes, until the group is done, its share of time is used, or the process had to be ended."""
        self.is_idle = False
        try:
            self._hand_over(group)
            while self._connection.poll(seconds):
                outcome, self.is_idle = self._connection.recv()
                if isinstance(outcome, _Done):
                    yield cast("_Done[Result]", outcome).result
                elif outcome.limit is Limit.MEMORY:
                    self.end()  # what it has taken it may keep
                    yield Overrun(Limit.MEMORY, f"{self._memory_mb:,} MB")
                    return
                else:
                    yield outcome
                if self.is_idle:
                    return
        except (EOFError, OSError):
            yield self._death()
            return
        self.end()
        yield Overrun(Limit.TIME, f"{seconds:g}s")

    def end(self) -> None:
        """Kill it; safe to call again."""
        self.is_idle = False
        self._process.kill()
        self._process.join()
        self._connection.close()

    def _hand_over(self, group: Sequence[Work[Result]]) -> None:
        """Wait until the process has the group: a document's time is not spent on the start of its process."""
        self._connection.send(group)
        if not self._connection.poll(_START_SECONDS):
            raise DependencyError("a process for documents does not start")
        self._connection.recv()

    def _death(self) -> Overrun:
        self._process.join(1)  # so that its exit code is known
        code = self._process.exitcode
        name = f"exit code {code}"
        if code is not None and code < 0:
            name = signal.Signals(-code).name
        return Overrun(Limit.PROCESS, f"{name}; it may use {self._memory_mb:,} MB")


# A fork of a process with threads (this one has them) can hang; the fork server forks from a clean one, preloaded.
def _context(preload: Sequence[str]) -> Any:
    methods = multiprocessing.get_all_start_methods()
    has_fork_server = "forkserver" in methods
    if not has_fork_server:
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    modules = list(preload)
    context.set_forkserver_preload(modules)
    return context


# ── what runs in the process ────────────────────────────────────────────────────────────────────────────────────────


def _serve(connection: Connection, memory_bytes: int, preload: Sequence[str]) -> None:
    """Work on groups until the parent ends."""
    # The fork server has imported them, unless it was started for something else.
    for name in preload:
        import_module(name)
    # One document is worked on by one thread, so that its time is its own; the tokenizers' threads would take more.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when it ends
    _end_with_parent()
    _bound_memory(memory_bytes)
    while True:
        try:
            group = cast("Sequence[Work[Any]]", connection.recv())
            connection.send(None)
            _work_on(group, connection)
        except (EOFError, OSError):
            return


def _work_on(group: Sequence[Work[Any]], connection: Connection) -> None:
    """Send an outcome for each document, and whether it is the last of the group, or of the time for the group."""
    started = time.monotonic()
    last = len(group) - 1
    for number, work in enumerate(group):
        outcome = _done(work)
        is_late = time.monotonic() - started > _KEEP_PLACE_SECONDS
        is_last = is_late or number == last
        connection.send((outcome, is_last))
        if is_last:
            return


def _done(work: Callable[[], Result]) -> _Done[Result] | Overrun:
    try:
        return _Done(work())
    except MemoryError:
        return Overrun(Limit.MEMORY, "")
    except Exception as error:
        return Overrun(Limit.ERROR, f"{type(error).__name__}: {str(error)[:200]}")


def _end_with_parent() -> None:
    """Let the kernel end this process where its parent is killed: the work may be deaf, or never return."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    # A pipe of which only the parent has the other end: its closing raises SIGIO, which ends a process by default.
    sentinel = parent.sentinel
    fcntl.fcntl(sentinel, fcntl.F_SETOWN, os.getpid())
    flags = fcntl.fcntl(sentinel, fcntl.F_GETFL)
    fcntl.fcntl(sentinel, fcntl.F_SETFL, flags | os.O_ASYNC)


def _bound_memory(limit: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
