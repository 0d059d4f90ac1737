"""A registry, or what answers at its address, takes no more memory and time than an answer may."""

import gzip
import itertools
import json
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager

import pytest

from corpus.errors import DependencyError
from ingest.decode.fields import FieldError
from ingest.decode.registry import schemas
from ingest.decode.registry.schemas import RegistryAccess, SchemaRegistry

HEAD = b"HTTP/1.1 200 OK\r\n"
TYPES = b'["AVRO"]'
SECONDS = 0.4
BOMB = gzip.compress(b" " * 50_000_000)


def _body_without_end(_path: str) -> Iterator[bytes]:
    yield HEAD + b"\r\n"
    yield from itertools.repeat(b" " * 65_536)


def _headers_without_end(_path: str) -> Iterator[bytes]:
    yield HEAD
    yield from itertools.repeat(b"x: y\r\n" * 100)


def _bomb(_path: str) -> Iterator[bytes]:
    yield HEAD + b"content-encoding: gzip\r\n"
    yield b"content-length: %d\r\n\r\n" % len(BOMB) + BOMB


def _slow_body(_path: str) -> Iterator[bytes]:
    yield HEAD + b"\r\n"
    yield from _slowly(b" ")


def _slow_headers(_path: str) -> Iterator[bytes]:
    yield HEAD
    yield from _slowly(b"x: y\r\n")


def _slowly(piece: bytes) -> Iterator[bytes]:
    never = threading.Event()
    while not never.wait(SECONDS / 8):
        yield piece


def _large_schema(path: str) -> Iterator[bytes]:
    body = TYPES
    if "/ids/" in path:
        body = json.dumps({"schema": "x" * schemas.MAX_ANSWER_BYTES}).encode()
    yield HEAD + b"content-length: %d\r\n\r\n" % len(body) + body


@contextmanager
def _served(answer: Callable[[str], Iterable[bytes]]) -> Generator[str]:
    """A server that answers each question with some bytes, then ends the connection; yields its address."""

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                path = connection.recv(65_536).split(b" ")[1].decode()
                for piece in answer(path):
                    connection.sendall(piece)
            except OSError:
                return  # the client has had enough

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (_body_without_end, "more than 6,100,000 bytes"),
        (_headers_without_end, "does not answer"),
        (_bomb, "compressed"),
    ],
)
def test_an_address_that_sends_for_ever_takes_no_memory(
    answer: Callable[[str], Iterable[bytes]], words: str
) -> None:
    with _served(answer) as url:
        registry = SchemaRegistry(RegistryAccess(url=url))
        tracemalloc.start()
        try:
            with pytest.raises(DependencyError, match=words):
                registry.schema(1)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            registry.close()
    # The answer, and what joins its pieces.
    assert peak < 4 * schemas.MAX_ANSWER_BYTES
    assert registry.failure


@pytest.mark.parametrize("answer", [_slow_body, _slow_headers])
def test_an_address_that_sends_slowly_takes_no_time(
    answer: Callable[[str], Iterable[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schemas, "ANSWER_SECONDS", SECONDS)
    with _served(answer) as url:
        registry = SchemaRegistry(RegistryAccess(url=url))
        began = time.monotonic()
        with pytest.raises(DependencyError, match="does not answer"):
            registry.schema(1)
        assert time.monotonic() - began < SECONDS + 5
        registry.close()


def test_a_schema_that_is_too_large_is_the_records_fault() -> None:
    with _served(_large_schema) as url:
        registry = SchemaRegistry(RegistryAccess(url=url))
        with pytest.raises(FieldError, match="schema 7 is larger than 1,000,000 bytes"):
            registry.schema(7)
        assert not registry.failure
        registry.close()
