"""What one answer of the schema registry may take: bytes and seconds, of headers and body, however it is sent.

Confluent's client reads an answer to its end, and waits for each piece of it: an address that streams for ever would
take all memory, and one that sends a byte per second all time. So the connections of its session count for themselves.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

import httpcore2
import httpx2


class TooLargeError(Exception):
    """An answer has more bytes than it may have, or is compressed, so that nobody knows how many."""


class Bounds:
    """What is left for the answer that is read now; one answer at a time.

    Args:
        max_bytes: of an answer, with its headers.
        seconds: from the question to the end of the answer.
    """

    def __init__(
        self,
        max_bytes: int,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._clock = clock
        self._bytes = 0
        self._until = clock() + seconds

    def begin(self, _question: object = None) -> None:
        """A question is sent."""
        self._bytes = 0
        self._until = self._clock() + self._seconds

    def seconds_left(self) -> float:
        """How long the next step may take.

        Raises:
            ReadTimeout: no time is left.
        """
        left = self._until - self._clock()
        if left <= 0:
            raise httpcore2.ReadTimeout(f"no whole answer in {self._seconds:g} s")
        return left

    def count(self, received: int) -> None:
        """Some bytes were received.

        Raises:
            TooLargeError: they are too many.
        """
        self._bytes += received
        if self._bytes > self._max_bytes:
            raise TooLargeError


def bind(session: Any, bounds: Bounds) -> None:
    """Let each answer of a session keep to its bounds, over whichever proxy it comes.

    Args:
        session: `httpx2.Client`, which follows no redirect.
        bounds: of each answer.
    """
    # A body that is inflated has no size that could be seen before.
    session.headers["Accept-Encoding"] = "identity"
    session.event_hooks = {
        "request": [bounds.begin],
        "response": [_refuse_compressed],
    }
    transports = [session._transport, *session._mounts.values()]
    for transport in filter(None, transports):
        transport._pool._network_backend = _Backend(bounds)


def _refuse_compressed(response: httpx2.Response) -> None:
    encoding = response.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise TooLargeError


class _Backend(httpcore2.NetworkBackend):
    """Connects as httpcore does; what is received is counted."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._plain = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        """Connect, in the time that is left."""
        timeout = self._bounds.seconds_left()
        stream = self._plain.connect_tcp(
            host, port, timeout, local_address, socket_options
        )
        return _Stream(stream, self._bounds)

    def sleep(self, seconds: float) -> None:
        """Wait, as the client asks."""
        self._plain.sleep(seconds)


class _Stream(httpcore2.NetworkStream):
    """A connection whose answers are counted."""

    def __init__(
        self,
        stream: httpcore2.NetworkStream,
        bounds: Bounds,
    ) -> None:
        self._stream = stream
        self._bounds = bounds

    def read(
        self,
        max_bytes: int,
        timeout: float | None = None,
    ) -> bytes:
        """Some bytes; empty: the connection has ended."""
        received = self._stream.read(max_bytes, self._bounds.seconds_left())
        self._bounds.count(len(received))
        return received

    def write(
        self,
        buffer: bytes,
        timeout: float | None = None,
    ) -> None:
        """Send."""
        self._stream.write(buffer, self._bounds.seconds_left())

    def close(self) -> None:
        """End the connection."""
        self._stream.close()

    def start_tls(
        self,
        ssl_context: Any,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        """The same connection, encrypted."""
        seconds = self._bounds.seconds_left()
        stream = self._stream.start_tls(ssl_context, server_hostname, seconds)
        return _Stream(stream, self._bounds)

    def get_extra_info(self, info: str) -> Any:
        """What the connection says of itself."""
        return self._stream.get_extra_info(info)
