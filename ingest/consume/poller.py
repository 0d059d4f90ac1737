"""The polling thread: takes records from librdkafka, forms micro-batches, pauses, seeks, commits.

It waits for nothing but librdkafka. What needs PostgreSQL, the staging store or Temporal is done by `ConsumerServices`
elsewhere, and the answers come back as messages (`Poller.call_soon`).
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Collection
from queue import Empty, SimpleQueue
from typing import Any

from confluent_kafka import KafkaError, Message

from corpus.log_limit import LogLimit
from ingest.answers import UNREADABLE
from ingest.consume.assignment import Assignment
from ingest.consume.backpressure import Pressure, memory_state, must_pause
from ingest.consume.client import ConsumerClient
from ingest.consume.partition_state import (
    AssignedPartition,
    MicroBatch,
    PartitionReader,
)
from ingest.consume.services import ConsumerServices, Start
from ingest.consume.sharing import suspend_and_resume
from ingest.consume.silence import Silence, Silent
from ingest.kafka import PartitionKey
from ingest.kafka_record import record_of

logger = logging.getLogger(__name__)
logger.addFilter(LogLimit())

# How long a round waits for a record: briefly while something is buffered or in flight.
_BUSY_SECONDS = 0.003
_IDLE_SECONDS = 0.05
_STOPPING_SECONDS = 0.02
# Errors after which a partition has another log, or the same one at other offsets.
_LOG_CHANGED = frozenset(
    {
        KafkaError._AUTO_OFFSET_RESET,
        KafkaError.OFFSET_OUT_OF_RANGE,
        KafkaError.UNKNOWN_TOPIC_ID,
    }
)


# A damage on the way is gone the next time.
_UNREADABLE_TIMES = 3


class Poller:
    """The polling thread's side.

    Args:
        kafka: librdkafka properties, address and group included.
        services: see `ConsumerServices`.
        start: runs a coroutine of `services` on the event loop; called from the polling thread.
    """

    def __init__(
        self, kafka: dict[str, Any], services: ConsumerServices, start: Start
    ) -> None:
        self._client = ConsumerClient(kafka)
        self._services = services
        self._start = start
        self._messages: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._stopping = threading.Event()
        self.assignment = Assignment(self._client, services, start)
        self.failure: Exception | None = None
        self.handed_over_records = 0
        # Sources of which something is handed over and not yet published, as of the last round.
        self.outstanding: frozenset[str] = frozenset()
        self._silence = Silence()
        self._too_large_answers = 0
        self._pressure = Pressure()
        self._memory = memory_state(0)
        # Partitions that may need something though nothing happens to them, and from which monotonic second on.
        self._waiting: dict[PartitionKey, float] = {}
        self._next_look = math.inf  # the first of these times

    # ── from any thread ─────────────────────────────────────────────────────────────────────────────────────────────

    def call_soon(self, message: Callable[[], None]) -> None:
        """Have the polling thread call `message`."""
        self._messages.put(message)

    def log_in(self, username: str, password: str) -> None:
        """Have the client use another name and password at its next login."""
        self.call_soon(lambda: self._client.log_in(username, password))

    def stop(self) -> None:
        """Make `run` finish and return."""
        self._stopping.set()

    @property
    def is_stopping(self) -> bool:
        """Whether stop() was called."""
        return self._stopping.is_set()

    # ── polling thread ──────────────────────────────────────────────────────────────────────────────────────────────

    def run(self, grace: float) -> None:
        """Poll until `stop` is called, then give what is in flight `grace` seconds.

        `failure` is the error that ended polling, if one did.
        """
        try:
            while not self._stopping.is_set():
                self._run_once()
            self._finish(grace)
        except Exception as error:
            logger.exception(
                "the polling thread ended", extra={"action": "poll_failed"}
            )
            self.failure = error
        finally:
            self._client.close()

    def _run_once(self) -> None:
        """One round: messages, records, seeks, micro-batches, pauses.

        What it costs follows what changed: of thousands of partitions, most have nothing to do.
        """
        self._call_messages()
        for message in self._client.poll(self._poll_seconds()):
            self._receive(message)
        now = time.monotonic()
        keys = self._partitions_to_look_at(now)
        self.assignment.seek(keys)
        self._share_partitions(keys, now)
        for key in keys:
            self._hand_over_if_due(key, now)
        self._pause_and_resume(keys)
        self._note_waiting(keys)

    def _note_waiting(self, keys: Collection[PartitionKey]) -> None:
        """Note when to look at these again."""
        if not keys:
            return
        for key in keys:
            self._waiting.pop(key, None)
            if (at := self._look_again_at(key)) is not None:
                self._waiting[key] = at
        self._next_look = min(self._waiting.values(), default=math.inf)

    def _partitions_to_look_at(self, now: float) -> set[PartitionKey]:
        """Those that changed since the last round, those whose time has come, and those whose source fell behind."""
        changed = self.assignment.take_changed()
        moved = self._pressure.update(self.assignment.partitions, changed)
        keys = set(changed)
        if self._next_look <= now:
            due = [key for key, at in self._waiting.items() if at <= now]
            keys.update(due)
            for key in due:  # also of partitions that are another process's by now
                del self._waiting[key]
        for source in moved:
            keys.update(self.assignment.keys_of(source))
        if changed:
            self.outstanding = self._pressure.outstanding
        return keys & self.assignment.partitions.keys()

    def _look_again_at(self, key: PartitionKey) -> float | None:
        """From when on time alone may change what a partition needs, in monotonic seconds; None: it does not."""
        partition = self.assignment.partitions[key]
        if partition.seek_to is not None:
            return 0.0  # librdkafka refused the seek
        behind = self._pressure.behind
        times: list[float] = []
        for source, reader in partition.readers.items():
            if reader.suspended_at is not None or reader.blocking_since is not None:
                return 0.0
            if reader.buffer and reader.in_flight is None and source not in behind:
                times.append(reader.due_at(self._client.log_end(key)))
        return min(times, default=None)

    def _call_messages(self) -> None:
        while True:
            try:
                message = self._messages.get_nowait()
            except Empty:
                return
            message()

    def _poll_seconds(self) -> float:
        is_busy = self._pressure.held or self.assignment.has_changed
        return _BUSY_SECONDS if is_busy else _IDLE_SECONDS

    def _receive(self, message: Message) -> None:
        """3. Buffer one record in every reader that expects it."""
        key = PartitionKey(message.topic() or "", message.partition() or 0)
        error = message.error()
        if error is not None:
            self._handle_error(key, error, message.offset())
            return
        partition = self.assignment.partitions.get(key)
        if partition is None:
            return
        self.assignment.note_change(key)
        if partition.accepts(message.offset() or 0):
            self._buffer(key, partition, message)

    def _buffer(
        self, key: PartitionKey, partition: AssignedPartition, message: Message
    ) -> None:
        try:
            record = record_of(message)
        except Exception as mistake:  # one record, met again after every restart, must not end the reading of all
            offset = message.offset() or 0
            self._halt_readers(key, partition, offset, mistake)
            return
        now = time.monotonic()
        for reader in partition.readers.values():
            reader.add(record, now)

    def _handle_error(
        self, key: PartitionKey, error: KafkaError, offset: int | None
    ) -> None:
        code = error.code()
        if code == KafkaError._PARTITION_EOF:
            return
        if code in _LOG_CHANGED and key in self.assignment.partitions:
            self.assignment.reopen(key)
            return
        partition = self.assignment.partitions.get(key)
        if code in UNREADABLE and partition is not None:
            self._handle_unreadable(key, partition, error, offset)
            return
        name = error.name()
        extra = {
            "action": "kafka_error",
            "kind": f"{name}/{key.topic}",
            "code": name,
            "topic": key.topic,
        }
        logger.warning("Kafka: %s", error.str(), extra=extra)

    def _handle_unreadable(
        self,
        key: PartitionKey,
        partition: AssignedPartition,
        error: KafkaError,
        offset: int | None,
    ) -> None:
        """Pass a record batch that cannot be read where an operator said so, else halt; it holds up nothing else.

        Args:
            key: of the partition.
            partition: that it is in.
            error: what librdkafka says.
            offset: where the record batch begins; behind a damaged one, librdkafka may name any.
        """
        wanted = partition.read_offset
        if wanted is None or offset is None or offset > wanted:
            return
        self.assignment.note_change(key)
        if partition.count_unreadable(wanted) >= _UNREADABLE_TIMES:
            self._pass_or_halt(key, partition, error.str())

    def _pass_or_halt(
        self, key: PartitionKey, partition: AssignedPartition, why: str
    ) -> None:
        """Pass the record that is to come next, in the readers of sources that were told so; halt the other ones."""
        wanted = partition.read_offset
        assert wanted is not None, "a reader waits for the record"
        now = time.monotonic()
        stopped = [
            (name, reader)
            for name, reader in partition.readers.items()
            if reader.expected_offset == wanted and not reader.pass_unread(now)
        ]
        partition.unreadable_times = 0
        for name, reader in stopped:
            reason = _cannot_be_read(key, wanted, name, why)
            self.assignment.halt_source(name, reader.epoch, reason)
        partition.request_seek()
        self.assignment.note_change(key)

    def find_silent(self) -> list[Silent]:
        """Partitions that are read, and of which nothing came since the last call although their log holds more."""
        answers = self._client.too_large_answers
        is_end_known = answers == self._too_large_answers
        self._too_large_answers = answers
        return self._silence.look(
            self.assignment.partitions, self._client.log_end, is_end_known=is_end_known
        )

    def halt_silent(self, silent: Silent, why: str) -> None:
        """Halt the sources that wait for a record that cannot be read, unless it came meanwhile."""
        key, offset = silent
        partition = self.assignment.partitions.get(key)
        if partition is None or partition.read_offset != offset:
            return
        self._pass_or_halt(key, partition, why)

    def _halt_readers(
        self,
        key: PartitionKey,
        partition: AssignedPartition,
        offset: int,
        mistake: Exception,
    ) -> None:
        where = {"topic": key.topic, "partition": key.partition, "offset": offset}
        extra = {"action": "halt", **where}
        logger.error("a record cannot be read", exc_info=mistake, extra=extra)
        why = f"{type(mistake).__name__}: {mistake}"
        for name, reader in list(partition.readers.items()):
            reason = _cannot_be_read(key, offset, name, why)
            self.assignment.halt_source(name, reader.epoch, reason)

    def _share_partitions(self, keys: Collection[PartitionKey], now: float) -> None:
        """Let the sources of one partition continue where one of them must wait."""
        pressure = self._pressure
        for key in keys:
            partition = self.assignment.partitions[key]
            if _is_shared(partition):
                relieved = partition.readers.keys() - pressure.half_behind
                if suspend_and_resume(partition, pressure.behind, relieved, now):
                    self.assignment.note_change(key)

    def _hand_over_if_due(self, key: PartitionKey, now: float) -> None:
        """4. Give micro-batches away, one at a time per reader."""
        behind = self._pressure.behind
        for source, reader in self.assignment.partitions[key].readers.items():
            if reader.in_flight is not None or not reader.buffer or source in behind:
                continue
            if reader.due_at(self._client.log_end(key)) <= now:
                batch = reader.take_batch(now)
                self._start(self._services.hand_over(key, reader, batch))

    def confirm(
        self, key: PartitionKey, reader: PartitionReader, batch: MicroBatch
    ) -> None:
        """5. The workflow has the micro-batch: commit, unless the reader was closed meanwhile."""
        if reader.confirm(batch, time.monotonic()):
            self.handed_over_records += len(batch.records)
            self.assignment.note_change(key)
            self.assignment.commit([key])

    def _pause_and_resume(self, keys: Collection[PartitionKey]) -> None:
        """6. A partition runs while its readers want more and memory allows."""
        partitions = self.assignment.partitions
        pressure = self._pressure
        memory = memory_state(pressure.held)
        if memory is not self._memory:  # it concerns every partition
            self._memory = memory
            keys = partitions.keys()
        to_pause: list[PartitionKey] = []
        to_resume: list[PartitionKey] = []
        for key in keys:
            partition = partitions[key]
            pause = must_pause(partition, pressure.behind, pressure.held)
            if pause and not partition.paused:
                to_pause.append(key)
            elif not pause and partition.paused:
                to_resume.append(key)
            partition.paused = pause
        self._client.pause(to_pause)
        self._client.resume(to_resume)

    def _finish(self, grace: float) -> None:
        """Take no more records, let what is in flight arrive, commit."""
        deadline = time.monotonic() + grace
        self._client.pause(self.assignment.partitions)
        while time.monotonic() < deadline and self._is_in_flight():
            self._client.poll(_STOPPING_SECONDS)
            self._call_messages()
        self.assignment.commit(list(self.assignment.partitions), wait=True)

    def _is_in_flight(self) -> bool:
        return any(reader.in_flight is not None for reader in self.assignment.readers())


def _cannot_be_read(key: PartitionKey, offset: int, source: str, why: str) -> str:
    return (
        f"record at {key}/{offset} cannot be read: {why}; `freshet source skip {source} --topic {key.topic} "
        f"--partition {key.partition} --offset {offset} --reason TEXT` passes it"
    )


def _is_shared(partition: AssignedPartition) -> bool:
    """Whether a reader of the partition may have to be suspended or resumed."""
    if partition.seek_to is not None:
        return False
    return len(partition.readers) > 1 or partition.read_offset is None
