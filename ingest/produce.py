"""Put change events from JSON Lines files on a topic: for trying things, tests, and small imports."""

import hashlib
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import msgspec
from confluent_kafka import KafkaError, KafkaException, Producer

from corpus.errors import ConfigurationError, DependencyError
from ingest.kafka import MAX_MESSAGE_BYTES

_FLUSH_SECONDS = 120
_SAVE_SECONDS = 1.0
_COMPRESSED_BYTES = 16_384  # taken at a time: what they hold, however well compressed, is in memory


@dataclass(slots=True, kw_only=True)
class Produced:
    """What was done."""

    topic: str
    records: int = 0  # acknowledged by the broker
    value_bytes: int = 0
    skipped: int = 0  # acknowledged by an earlier run (--resume)
    seconds: float = 0.0
    files: list[str] = field(default_factory=list)


class _Event(msgspec.Struct):
    id: str


_reader = msgspec.json.Decoder(_Event)


class FileProducer:
    """Sends files to one topic with an idempotent producer.

    Args:
        kafka: librdkafka properties, address included.
        topic: where to.
        raw: send every line as it is, without a key, whatever it holds.
        rate: records a second at most; 0 for as fast as it goes.
        limit: records at most; None for all.
        progress: called about every 0.2 s with what was done.
    """

    def __init__(
        self,
        kafka: dict[str, Any],
        topic: str,
        *,
        raw: bool = False,
        rate: float = 0,
        limit: int | None = None,
        progress: Callable[[Produced], None] | None = None,
    ) -> None:
        self._producer = Producer(
            {
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
        )
        self._raw, self._rate, self._limit, self._progress = raw, rate, limit, progress
        self.result = Produced(topic=topic)
        self._sent = 0
        self._failure: KafkaError | None = None
        self._acknowledged = _Contiguous()

    def send(self, path: str, *, resume_folder: Path | None = None) -> None:
        """Send one file (`-` is standard input; `.zst` is decompressed).

        Args:
            path: the file.
            resume_folder: where to remember what was acknowledged, and to look what an earlier run had; None: start anew.

        Raises:
            ConfigurationError: it cannot be read, or a line is no event; what came before is sent.
            DependencyError: Kafka does not take it.
        """
        state = (
            ResumeFile(path, self.result.topic, resume_folder)
            if resume_folder and path != "-"
            else None
        )
        first = state.read() if state else 0
        self.result.skipped += first
        self.result.files.append(path)
        self._acknowledged = _Contiguous(first)
        started = saved = told = time.monotonic()
        before = self._sent
        try:
            for number, line in enumerate(_lines(path), 1):
                if number <= first:
                    continue
                if self._limit is not None and self._sent >= self._limit:
                    break
                self._wait_for_rate(started, self._sent - before)
                self._send_line(number, line, path)
                now = time.monotonic()
                if self._progress and now - told > 0.2:
                    told = now
                    self._progress(self.result)
                if state and now - saved > _SAVE_SECONDS:
                    saved = now
                    state.write(self._acknowledged.upto)
        finally:
            left = self._producer.flush(_FLUSH_SECONDS)
            self.result.seconds += time.monotonic() - started
            if state:
                state.write(self._acknowledged.upto)
            if self._progress:
                self._progress(self.result)
        self._raise_failure()
        if left:
            raise DependencyError(
                f"Kafka did not acknowledge {left} records within {_FLUSH_SECONDS} s"
            )

    def _send_line(self, number: int, line: bytes, path: str) -> None:
        if not line.strip():
            self._acknowledged.add(number)
            return
        key = None if self._raw else _key(line, number, path)
        value = line.rstrip(b"\r\n")

        def acknowledged(error: KafkaError | None, _: Any) -> None:
            if error is not None:
                self._failure = self._failure or error
                return
            self._acknowledged.add(number)
            self.result.records += 1
            self.result.value_bytes += len(value)

        while True:
            try:
                self._producer.produce(
                    self.result.topic, key=key, value=value, on_delivery=acknowledged
                )
                break
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                raise ConfigurationError(
                    f"{path}:{number}: {len(value):,} bytes are too large for Kafka: {error.args[0].str()}"
                ) from error
            self._raise_failure()
        self._sent += 1
        self._producer.poll(0)
        self._raise_failure()

    def _wait_for_rate(self, started: float, sent: int) -> None:
        if self._rate:
            while (ahead := started + sent / self._rate - time.monotonic()) > 0:
                self._producer.poll(min(ahead, 0.1))

    def _raise_failure(self) -> None:
        if self._failure is not None:
            hint = _HINTS.get(self._failure.code(), "")
            raise DependencyError(
                f"Kafka does not take records for topic {self.result.topic}: {self._failure.str()}{hint}"
            )


_HINTS = {
    KafkaError._MSG_TIMED_OUT: "; is the broker up, and is the topic there (--create-topic makes it)?",
    KafkaError._UNKNOWN_TOPIC: "; create it with --create-topic, or with `freshet apply`",
    KafkaError.UNKNOWN_TOPIC_OR_PART: "; create it with --create-topic, or with `freshet apply`",
    KafkaError.MSG_SIZE_TOO_LARGE: "; raise the topic's max.message.bytes",
}


def _key(line: bytes, number: int, path: str) -> bytes:
    try:
        return _reader.decode(line).id.encode()
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ConfigurationError(
            f"{path}:{number}: not an event with a text `id`: {error}. --raw sends lines as they are."
        ) from error


@contextmanager
def _opened(path: str) -> Iterator[IO[bytes]]:
    if path == "-":
        yield sys.stdin.buffer
        return
    with Path(path).open("rb") as file:
        if not path.endswith(".zst"):
            yield file
            return
        yield io.BufferedReader(_Frames(file, path), 1 << 20)


class _Frames(io.RawIOBase):
    """Decompresses zstd frame after frame. `zstandard`'s own reader takes a file that ends inside a frame for a whole one."""

    def __init__(self, file: IO[bytes], path: str) -> None:
        import zstandard

        self._file, self._path = file, path
        self._decompressor = zstandard.ZstdDecompressor()
        self._frame = self._decompressor.decompressobj()
        self._waiting = memoryview(b"")
        self._between = False  # the last frame is whole, and nothing of another one was read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._waiting:
            compressed = (self._frame.unused_data if self._frame.eof else b"") or self._file.read(
                _COMPRESSED_BYTES
            )
            if not compressed:
                if not self._between:
                    raise ConfigurationError(f"{self._path} is cut: it ends inside a zstd frame")
                return 0
            if self._frame.eof:
                self._frame = self._decompressor.decompressobj()
            self._waiting = memoryview(self._frame.decompress(compressed))
            self._between = self._frame.eof and not self._frame.unused_data
        size = min(len(buffer), len(self._waiting))
        buffer[:size], self._waiting = self._waiting[:size], self._waiting[size:]
        return size


def _lines(path: str) -> Iterator[bytes]:
    try:
        with _opened(path) as file:
            yield from file
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    except Exception as error:
        if type(error).__module__.startswith("zstandard"):
            raise ConfigurationError(f"{path} is not zstd, or is cut: {error}") from error
        raise


class _Contiguous:
    """The line up to which every one is acknowledged, whatever order acknowledgements come in."""

    def __init__(self, upto: int = 0) -> None:
        self.upto = upto
        self._later: set[int] = set()

    def add(self, number: int) -> None:
        self._later.add(number)
        while self.upto + 1 in self._later:
            self.upto += 1
            self._later.remove(self.upto)


class ResumeFile:
    """Lines of a file that a topic has acknowledged, one small file a (file, topic).

    It belongs to the contents: a file whose size or beginning changed starts anew.
    """

    def __init__(self, path: str, topic: str, folder: Path) -> None:
        try:
            with Path(path).open("rb") as file:
                beginning = file.read(65_536)
                size = os.fstat(file.fileno()).st_size
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"{error.filename or path} cannot be read: {error.strerror}"
            ) from error
        where = hashlib.sha256(f"{Path(path).resolve()}\0{topic}".encode()).hexdigest()[:16]
        self._path = folder / f"{where}.json"
        self._identity = hashlib.sha256(beginning + str(size).encode()).hexdigest()[:16]

    def read(self) -> int:
        """Lines acknowledged by earlier runs."""
        try:
            stored = json.loads(self._path.read_text(encoding="utf-8"))
            return int(stored["lines"]) if stored["file"] == self._identity else 0
        except FileNotFoundError:
            return 0
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"{self._path} cannot be read ({error}); remove it to start from the first line"
            ) from error

    def write(self, lines: int) -> None:
        """Remember, atomically."""
        temporary = self._path.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps({"file": self._identity, "lines": lines}), encoding="utf-8")
        temporary.replace(self._path)
