"""Put change events on a topic: from JSON Lines files, or as they are made."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from corpus.errors import ConfigurationError, DependencyError
from ingest.event_file import LINE_BREAK, UTF8_MARK, ResumeFile, key_of, lines_of
from ingest.kafka import MAX_MESSAGE_BYTES

_FLUSH_SECONDS = 120
_SAVE_SECONDS = 1.0
_PROGRESS_SECONDS = 0.2
_NO_HEADERS: Mapping[str, str] = {}


@dataclass(slots=True, kw_only=True)
class Produced:
    """What was done."""

    topic: str
    records: int = 0  # acknowledged by the broker
    value_bytes: int = 0
    skipped: int = 0  # acknowledged by an earlier run (--resume)
    seconds: float = 0.0
    files: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True, kw_only=True)
class ProduceProgress:
    """How far the work is, for a display."""

    file: str
    sent: int  # records handed to the client, in this run
    acknowledged: int  # records acknowledged by the broker, in this run
    acknowledged_bytes: int
    seconds: float  # since this file was begun
    is_read: bool  # the whole file is read; only acknowledgements are waited for


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordToSend:
    """A record as it is made."""

    key: bytes
    value: bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


class FileProducer:
    """Sends files, or records, to one topic with an idempotent producer.

    Args:
        kafka: librdkafka properties, address included.
        topic: the topic's name.
        raw: send every line as it is, without a key, whatever it holds.
        rate: records per second at most; 0 for as fast as possible.
        limit: records at most; None for all.
        progress: called about every 0.2 s.
        headers: of every record.
    """

    def __init__(
        self,
        kafka: dict[str, Any],
        topic: str,
        *,
        raw: bool = False,
        rate: float = 0,
        limit: int | None = None,
        progress: Callable[[ProduceProgress], None] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        properties = {
            "enable.idempotence": True,
            "message.max.bytes": MAX_MESSAGE_BYTES,
            "linger.ms": 5,
            "compression.type": "lz4",
            "batch.size": 1_000_000,
            "queue.buffering.max.kbytes": 131_072,
            "queue.buffering.max.messages": 50_000,
            "delivery.timeout.ms": 120_000,
            **kafka,
        }
        self._producer = Producer(properties)
        self._max_line_bytes = int(properties["message.max.bytes"]) + len(LINE_BREAK)
        self._raw = raw
        self._rate = rate
        self._limit = limit
        self._progress = progress
        self._headers: dict[str, str | bytes | None] = dict(headers or {})
        self.result = Produced(topic=topic)
        self._sent = 0
        self._failure: KafkaError | None = None
        self._acknowledged = _Contiguous()

    def send(self, path: str, *, resume_folder: Path | None = None) -> None:
        """Send one file (`-` is standard input; `.zst` is decompressed).

        1. skip the lines that an earlier run had acknowledged
        2. send the others
        3. wait for their acknowledgements, also after an error, and remember how far they reach

        Args:
            path: the file.
            resume_folder: where to remember the lines that are acknowledged, and to look up those of an earlier run;
                None: send all lines and remember nothing.

        Raises:
            ConfigurationError: the file cannot be read, or a line is not an event; the lines before it are sent.
            DependencyError: Kafka does not take the records.
        """
        resume = None
        if resume_folder is not None and path != "-":
            resume = ResumeFile(path, self.result.topic, resume_folder)
        first = 0 if resume is None else resume.read()
        self.result.skipped += first
        self.result.files.append(path)
        self._acknowledged = _Contiguous(first)
        run = _Run(path, resume)
        try:
            self._send_lines(run, first)  # 1, 2
        finally:
            unacknowledged = self._end(run)  # 3
        self._require_acknowledged(unacknowledged)

    def send_records(self, name: str, records: Iterable[RecordToSend]) -> None:
        """Send records as they are made, and wait for their acknowledgements, also after an error.

        Args:
            name: what they are of, for messages.
            records: each is made when the ones before it are handed over.

        Raises:
            ConfigurationError: Kafka does not take a record of this size; those before it are sent.
            DependencyError: Kafka does not take the records.
        """
        run = _Run(name, None)
        self._acknowledged = _Contiguous()
        try:
            for number, record in enumerate(records, 1):
                self._wait_for_rate(run, number - 1)
                key = record.key
                where = f"{name}: document {key.decode()!r}"
                self._send_value(number, where, key, record.value, record.headers)
                self._keep_current(run)
        finally:
            unacknowledged = self._end(run)
        self._require_acknowledged(unacknowledged)

    def _end(self, run: "_Run") -> int:
        """Wait for acknowledgements; returns how many records have none."""
        unacknowledged = self._flush(run)
        self.result.seconds += run.seconds()
        self._save(run)
        self._show(run, is_read=True)
        return unacknowledged

    def _require_acknowledged(self, unacknowledged: int) -> None:
        self._raise_failure()
        if unacknowledged:
            raise DependencyError(
                f"Kafka did not acknowledge {unacknowledged} records within {_FLUSH_SECONDS} s"
            )

    def _send_lines(self, run: "_Run", first: int) -> None:
        before = self._sent
        for number, line in enumerate(lines_of(run.path, self._max_line_bytes), 1):
            if number <= first:
                continue
            if self._limit is not None and self._sent >= self._limit:
                break
            self._wait_for_rate(run, self._sent - before)
            self._send_line(number, line, run.path)
            self._keep_current(run)

    def _send_line(self, number: int, line: bytes, path: str) -> None:
        if number == 1 and not self._raw:
            line = line.removeprefix(UTF8_MARK)
        if not line.strip():
            self._acknowledged.add(number)
            return
        key = None if self._raw else key_of(line, number, path)
        value = line.rstrip(LINE_BREAK)
        self._send_value(number, f"{path}:{number}", key, value)

    def _send_value(
        self,
        number: int,
        where: str,
        key: bytes | None,
        value: bytes,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> None:
        def acknowledged(error: KafkaError | None, _: Any) -> None:
            if error is not None:
                self._failure = self._failure or error
                return
            self._acknowledged.add(number)
            self.result.records += 1
            self.result.value_bytes += len(value)

        try:
            self._enqueue(key, value, headers, acknowledged)
        except KafkaException as error:
            raise ConfigurationError(
                f"{where}: Kafka does not take these {len(value):,} bytes: "
                f"{error.args[0].str()}"
            ) from error
        self._sent += 1
        self._producer.poll(0)
        self._raise_failure()

    def _enqueue(
        self,
        key: bytes | None,
        value: bytes,
        headers: Mapping[str, str],
        acknowledged: Callable[..., None],
    ) -> None:
        """Hand a record to the client, and wait while its queue is full."""
        while True:
            try:
                self._producer.produce(
                    self.result.topic,
                    key=key,
                    value=value,
                    headers={**self._headers, **headers},
                    on_delivery=acknowledged,
                )
                return
            except BufferError:
                self._producer.poll(0.1)
            self._raise_failure()

    def _flush(self, run: "_Run") -> int:
        """Wait for acknowledgements; returns how many records have none."""
        deadline = time.monotonic() + _FLUSH_SECONDS
        while unacknowledged := self._producer.flush(_PROGRESS_SECONDS):
            self._keep_current(run, is_read=True)
            is_over = time.monotonic() > deadline
            if is_over:
                break
        return unacknowledged

    def _wait_for_rate(self, run: "_Run", sent: int) -> None:
        if not self._rate:
            return
        while (ahead := sent / self._rate - run.seconds()) > 0:
            self._producer.poll(min(ahead, 0.1))
            self._keep_current(run)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            hint = _HINTS.get(self._failure.code(), "")
            raise DependencyError(
                f"Kafka does not take records for topic {self.result.topic}: "
                f"{self._failure.str()}{hint}"
            )

    def _keep_current(self, run: "_Run", *, is_read: bool = False) -> None:
        if run.show.is_due():
            self._show(run, is_read=is_read)
        if run.save.is_due():
            self._save(run)

    def _show(self, run: "_Run", *, is_read: bool) -> None:
        if self._progress is None:
            return
        progress = ProduceProgress(
            file=run.path,
            sent=self._sent,
            acknowledged=self.result.records,
            acknowledged_bytes=self.result.value_bytes,
            seconds=run.seconds(),
            is_read=is_read,
        )
        self._progress(progress)

    def _save(self, run: "_Run") -> None:
        if run.resume is not None:
            run.resume.write(self._acknowledged.upto)


_HINTS = {
    KafkaError._MSG_TIMED_OUT: "; does the broker run, and does the topic exist (--create-topic creates it)?",
    KafkaError._UNKNOWN_TOPIC: "; create it with --create-topic, or with `freshet apply`",
    KafkaError.UNKNOWN_TOPIC_OR_PART: "; create it with --create-topic, or with `freshet apply`",
    KafkaError.MSG_SIZE_TOO_LARGE: "; raise the topic's max.message.bytes",
}


class _Interval:
    """Says once in so many seconds that something is due."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = time.monotonic() + seconds

    def is_due(self) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True


class _Run:
    """One file on its way."""

    def __init__(self, path: str, resume: ResumeFile | None) -> None:
        self.path = path
        self.resume = resume
        self.show = _Interval(_PROGRESS_SECONDS)
        self.save = _Interval(_SAVE_SECONDS)
        self._started = time.monotonic()

    def seconds(self) -> float:
        return time.monotonic() - self._started


class _Contiguous:
    """The line up to which every one is acknowledged, in whatever order the acknowledgements come."""

    def __init__(self, upto: int = 0) -> None:
        self.upto = upto
        self._later: set[int] = set()

    def add(self, number: int) -> None:
        self._later.add(number)
        while self.upto + 1 in self._later:
            self.upto += 1
            self._later.remove(self.upto)
