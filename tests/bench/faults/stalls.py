"""The rule that no source stands still, and the watcher that applies it.

A source stands still while its row says `active`, records of its topics are not in the corpus, and nothing of it moves:
no position, no batch, no text that gets its vector. The time counts from the last of: its last progress, the moment it
became active with records to read, and the end of the last fault. So the time in which a fault holds is not counted;
it is reported beside it. A kill holds until the supervisor has the part back. A frozen role holds until its
replacement works, and again from its wake-up until the replacement has left: in between, the frozen process may not
hold up its source.
"""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from psycopg.rows import namedtuple_row

from corpus.database import Connection
from corpus.errors import FreshetError
from ingest.kafka import Cluster
from tests.bench.stack import Stack

LIMIT_SECONDS = 60.0
_LOOK_SECONDS = 0.5
_STATEMENT_SECONDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A source at one moment.

    Attributes:
        at: seconds of a monotonic clock.
        state: of its row.
        reason: of its state.
        lag: records that are not in the corpus.
        moved: whatever changes with progress.
    """

    at: float
    state: str
    lag: int
    moved: tuple[int, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """A source that stood still for longer than the limit."""

    source: str
    since: float  # seconds of the monotonic clock
    seconds: float
    lag: int
    last_fault: str  # that had ended before


@dataclass
class StallClock:
    """How long one source stands still.

    Attributes:
        stalls: times over the limit, each once.
        longest: seconds of the longest time without progress that counts.
        longest_with_faults: the same with the time in which faults held.
        progressed_at: when progress was last seen, or there was nothing to do.
    """

    source: str
    limit: float = LIMIT_SECONDS
    stalls: list[Stall] = field(default_factory=list[Stall])
    longest: float = 0.0
    longest_with_faults: float = 0.0
    progressed_at: float = 0.0
    _moved: tuple[int, ...] | None = None
    _in_stall: bool = False

    def look(
        self, look: Look, *, faults_hold: bool, lifted_at: float, last_fault: str = ""
    ) -> None:
        """Take a look at the source.

        Args:
            look: the source.
            faults_hold: whether a fault holds now.
            lifted_at: when the last fault ended; 0 if there was none.
            last_fault: its name.
        """
        if look.moved != self._moved or look.state != "active" or look.lag <= 0:
            self._moved = look.moved
            self.progressed_at = look.at
            self._in_stall = False
            return
        self.longest_with_faults = max(self.longest_with_faults, look.at - self.progressed_at)
        if faults_hold:
            return
        since = max(self.progressed_at, lifted_at)
        seconds = look.at - since
        self.longest = max(self.longest, seconds)
        if seconds <= self.limit:
            return
        stall = Stall(
            source=self.source, since=since, seconds=seconds, lag=look.lag, last_fault=last_fault
        )
        if self._in_stall:
            self.stalls[-1] = stall
        else:
            self.stalls.append(stall)
        self._in_stall = True


class HeldFaults:
    """Which faults hold, and when the last one ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: set[str] = set()
        self.lifted_at = 0.0
        self.last = ""

    def begin(self, name: str) -> None:
        """It holds from now on."""
        with self._lock:
            self._held.add(name)

    def end(self, name: str) -> None:
        """It has ended."""
        with self._lock:
            self._held.discard(name)
            self.lifted_at = time.monotonic()
            self.last = name

    @property
    def any(self) -> bool:
        """Whether one holds."""
        return bool(self._held)


class Watcher(threading.Thread):
    """Looks at all sources, directly at PostgreSQL and Kafka, until it is stopped.

    Attributes:
        clocks: by source.
        looks: the newest, by source.
        halts: (source, reason) of each time that a source was seen to halt.
    """

    def __init__(self, stack: Stack, faults: HeldFaults, on_halt: Callable[[str], None]) -> None:
        super().__init__(name="watcher", daemon=True)
        self._stack = stack
        self._faults = faults
        self._on_halt = on_halt
        self._ends = LogEnds(stack)
        self._ended = threading.Event()
        self.clocks: dict[str, StallClock] = {}
        self.looks: dict[str, Look] = {}
        self.halts: list[tuple[str, str]] = []

    def run(self) -> None:
        self._ends.start()
        connection: Connection | None = None
        while not self._ended.wait(_LOOK_SECONDS):
            try:
                connection = connection or self._connect()
                self._look(connection)
            except Exception:  # the database is away: the next look says whether anything moved
                if connection is not None:
                    connection.close()
                connection = None
        self._ends.stop()

    def stop(self) -> None:
        """Returns when it has ended."""
        self._ended.set()
        self.join()

    @property
    def lag(self) -> int:
        """Records that are not in the corpus, of all sources, at the newest look."""
        return sum(look.lag for look in self.looks.values())

    @property
    def stalls(self) -> list[Stall]:
        """Of all sources."""
        return [stall for clock in self.clocks.values() for stall in clock.stalls]

    def progressed_since(self, moment: float) -> bool:
        """Whether every source has moved since, or has nothing to do."""
        return bool(self.clocks) and all(
            clock.progressed_at > moment for clock in self.clocks.values()
        )

    def _connect(self) -> Connection:
        connection = self._stack.connect()
        connection.execute(f"SET statement_timeout = '{_STATEMENT_SECONDS}s'".encode())
        return connection

    def _look(self, connection: Connection) -> None:
        with connection.cursor(row_factory=namedtuple_row) as cursor:
            rows: list[Any] = cursor.execute(_SOURCES).fetchall()
        # A fault that ended while the rows were read may explain what they say.
        lifted_at, last, held = self._faults.lifted_at, self._faults.last, self._faults.any
        for row in rows:
            look = Look(
                at=time.monotonic(),
                state=row.state,
                reason=row.state_reason or "",
                lag=self._ends.lag(row.topics, row.positions),
                moved=(row.next_offsets, row.last_batch, row.epoch, row.embedded),
            )
            self._note_halt(row.source, look)
            self.looks[row.source] = look
            clock = self.clocks.setdefault(row.source, StallClock(row.source))
            clock.look(look, faults_hold=held, lifted_at=lifted_at, last_fault=last)

    def _note_halt(self, source: str, look: Look) -> None:
        before = self.looks.get(source)
        if look.state == "halted" and (before is None or before.state != "halted"):
            self.halts.append((source, look.reason))
            self._on_halt(source)


class LogEnds(threading.Thread):
    """The ends of the sources' partitions, as Kafka last said."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(name="log ends", daemon=True)
        self._stack = stack
        self._ended = threading.Event()
        self._topics: set[str] = set()
        self._ends: dict[str, int] = {}  # "topic/partition" -> end

    def run(self) -> None:
        login = self._stack.kafka_client()
        cluster = Cluster(login.pop("bootstrap.servers"), login)
        while not self._ended.wait(_LOOK_SECONDS):
            try:
                self._read(cluster)
            except FreshetError:  # Kafka is away: what it said last still holds
                continue

    def stop(self) -> None:
        """Returns when it has ended."""
        self._ended.set()
        self.join()

    def lag(self, topics: Iterable[str], positions: dict[str, int]) -> int:
        """Records of these topics beyond the positions."""
        self._topics.update(topics)
        wanted = tuple(f"{topic}/" for topic in topics)
        return sum(
            max(0, end - positions.get(partition, 0))
            for partition, end in list(self._ends.items())
            if partition.startswith(wanted)
        )

    def _read(self, cluster: Cluster) -> None:
        states = cluster.topics(sorted(self._topics))
        partitions = [
            (state.topic, number) for state in states.values() for number in range(state.partitions)
        ]
        for (topic, partition), (_, end) in cluster.offsets(partitions).items():
            self._ends[f"{topic}/{partition}"] = end


_SOURCES = """
SELECT s.source, s.state, s.state_reason, s.epoch, s.last_batch, s.spec -> 'topics' AS topics,
       coalesce(p.next_offsets, 0)::bigint AS next_offsets, coalesce(p.positions, '{}') AS positions,
       (SELECT coalesce(sum(b.texts_embedded), 0)::bigint FROM freshet.batch b WHERE b.source = s.source)
       + (SELECT coalesce(sum(u.texts), 0)::bigint FROM freshet.uncounted_texts u WHERE u.source = s.source) AS embedded
FROM freshet.source s
LEFT JOIN LATERAL (
    SELECT sum(next_offset) AS next_offsets, jsonb_object_agg(topic || '/' || partition, next_offset) AS positions
    FROM freshet.source_position p WHERE p.source = s.source) p ON true
WHERE s.state <> 'retired'
"""
