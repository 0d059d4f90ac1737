"""A file of JSON Lines: its lines, the key of each, and how many of them a topic has acknowledged."""

import hashlib
import os
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Protocol

import msgspec

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from corpus.errors import ConfigurationError

UTF8_MARK = (
    b"\xef\xbb\xbf"  # some editors write a byte order mark before the first line
)
LINE_BREAK = b"\r\n"


class _Event(msgspec.Struct):
    id: str


_event_reader = msgspec.json.Decoder(_Event)


class _HasLines(Protocol):
    def readline(self, size: int, /) -> bytes: ...


def key_of(line: bytes, number: int, path: str) -> bytes:
    """The id of the event in a line, as the record's key.

    Raises:
        ConfigurationError: the line is not an event with a text `id`.
    """
    try:
        event = _event_reader.decode(line)
        return event.id.encode()
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ConfigurationError(
            f"{path}:{number}: not an event with a text `id`: {error}. --raw sends lines as they are."
        ) from error


def lines_of(path: str, max_bytes: int) -> Iterator[bytes]:
    """Lines with their ends. A longer line than Kafka takes is never in memory as a whole.

    Args:
        path: the file; `-` is standard input; `.zst` is decompressed, frame after frame.
        max_bytes: of a line with its end.

    Raises:
        ConfigurationError: the file cannot be read, is cut off or damaged, or has a longer line.
    """
    try:
        with _opened(path) as file:
            number = 1
            while line := file.readline(max_bytes + 1):
                if len(line) > max_bytes:
                    raise ConfigurationError(
                        f"{path}:{number}: the line is longer than the {max_bytes - len(LINE_BREAK):,} "
                        "bytes that Kafka takes (message.max.bytes)"
                    )
                yield line
                number += 1
    except EOFError as error:
        raise ConfigurationError(
            f"{path} is cut off: it ends inside a zstd frame; what came before is sent"
        ) from error
    except zstd.ZstdError as error:
        raise ConfigurationError(
            f"{path} is not zstd, or is damaged: {error}"
        ) from error
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error


@contextmanager
def _opened(path: str) -> Generator[_HasLines]:
    if path == "-":
        yield sys.stdin.buffer
    elif path.endswith(".zst"):
        with zstd.open(path, "rb") as file:
            yield file
    else:
        with Path(path).open("rb") as file:
            yield file


# ── resuming ────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Resume(msgspec.Struct):
    file: str  # identity of the contents
    lines: Annotated[int, msgspec.Meta(ge=0)]


_resume_reader = msgspec.json.Decoder(_Resume)


class ResumeFile:
    """Lines of a file that a topic has acknowledged: one small file per (file, topic).

    It belongs to the contents: a file whose size or first 64 KiB changed is sent from its first line.

    Raises:
        ConfigurationError: the file cannot be read, or the folder cannot be made.
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
        name = hashlib.sha256(f"{Path(path).resolve()}\0{topic}".encode()).hexdigest()[
            :16
        ]
        self._path = folder / f"{name}.json"
        self._identity = hashlib.sha256(beginning + str(size).encode()).hexdigest()[:16]

    def read(self) -> int:
        """Lines acknowledged by earlier runs.

        Raises:
            ConfigurationError: the resume file is damaged.
        """
        try:
            stored = _resume_reader.decode(self._path.read_bytes())
        except FileNotFoundError:
            return 0
        except (OSError, msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise ConfigurationError(
                f"{self._path} cannot be read ({error}); remove it to start from the first line"
            ) from error
        if stored.file != self._identity:
            return 0
        return stored.lines

    def write(self, lines: int) -> None:
        """Remember, atomically.

        Raises:
            ConfigurationError: the resume file cannot be written.
        """
        temporary = self._path.with_suffix(f".{os.getpid()}")
        try:
            temporary.write_bytes(
                msgspec.json.encode(_Resume(file=self._identity, lines=lines))
            )
            temporary.replace(self._path)
        except OSError as error:
            raise ConfigurationError(
                f"{self._path} cannot be written: {error.strerror}; "
                "--resume would send these lines again"
            ) from error
