"""A TCP proxy before a server. It delays replies, cuts connections in the middle of one, or never answers.

Requests always pass at once, unless a black hole swallows them, too: what the server does is done, and only its reply
is late or lost. That is the case in which a client must not guess.
"""

import asyncio
import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

_CHUNK_BYTES = 65_536
_QUEUED_CHUNKS = 256  # replies of a connection that are on their way: 16 MiB
_ANSWER_SECONDS = 10.0
_FLUSH_SECONDS = 5.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plain:
    """Everything passes at once."""


@dataclass(frozen=True, slots=True)
class Delay:
    """Each reply arrives so many seconds late, drawn anew for each; the order of a connection's bytes stays."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Cut:
    """A reply is, with this chance, forwarded by half; then its connection is dropped."""

    chance: float


@dataclass(frozen=True, slots=True)
class BlackHole:
    """Connections are accepted, and no reply passes. A connection that lost bytes is dropped when the hole closes."""

    swallow_requests: bool = False  # else they reach the server, and only the reply is lost


Behaviour = Plain | Delay | Cut | BlackHole


class Proxy:
    """Listens on a port of loopback and connects each client to the server.

    Attributes:
        counts: connections, replies, and what was done to them.
        punctual: set while replies are not late.
    """

    def __init__(self, port: int, server_port: int, rng: random.Random) -> None:
        self.port = port
        self.counts: Counter[str] = Counter()
        self.punctual = asyncio.Event()
        self.punctual.set()
        self._server_port = server_port
        self._rng = rng
        self._behaviour: Behaviour = Plain()
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def behaviour(self) -> Behaviour:
        """What it does now."""
        return self._behaviour

    @property
    def open_connections(self) -> int:
        """Connections that have not ended."""
        return len(self._connections)

    def behave(self, behaviour: Behaviour) -> None:
        """Change what it does, for connections that are open as well; in the proxy's own event loop."""
        self._behaviour = behaviour
        if isinstance(behaviour, Delay):
            self.punctual.clear()
        else:
            self.punctual.set()
        if not isinstance(behaviour, BlackHole):
            for connection in [one for one in self._connections if one.lost_bytes]:
                connection.drop()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", self.port, limit=_CHUNK_BYTES
        )

    async def stop(self) -> None:
        """Listen no more, and drop all connections."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.drop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.counts["connections"] += 1
        try:
            to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:  # the server is away: the client sees that its connection ends
            self.counts["refused"] += 1
            writer.transport.abort()
            return
        connection = _Connection(self, self._rng, (reader, writer), to_server)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            connection.drop()
            self._connections.discard(connection)


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Connection:
    """One client and its connection to the server."""

    def __init__(self, proxy: Proxy, rng: random.Random, client: Streams, server: Streams) -> None:
        self._proxy = proxy
        self._rng = rng
        self._client_reader, self._client_writer = client
        self._server_reader, self._server_writer = server
        # (when it is due, bytes); None: the server has ended the connection.
        self._replies: asyncio.Queue[tuple[float, bytes] | None] = asyncio.Queue(_QUEUED_CHUNKS)
        self._due = 0.0
        self._asked = True  # since the last reply: the next bytes of the server begin another one
        self._cut = False
        self._dropped = asyncio.Event()
        self.lost_bytes = False

    async def run(self) -> None:
        """Forward until either side ends."""
        pumps = [
            asyncio.create_task(pump)
            for pump in (self._forward_requests(), self._read_replies(), self._write_replies())
        ]
        try:
            # The replies are written to the end, also where the client has said all it had to say.
            await asyncio.wait(pumps[1:], return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    def drop(self) -> None:
        """End both sides at once."""
        self._dropped.set()
        self._client_writer.transport.abort()
        self._server_writer.transport.abort()

    async def _forward_requests(self) -> None:
        with contextlib.suppress(OSError):
            while data := await self._client_reader.read(_CHUNK_BYTES):
                self._asked = True
                hole = self._proxy.behaviour
                if isinstance(hole, BlackHole) and hole.swallow_requests:
                    self._lose("requests swallowed")
                    continue
                self._server_writer.write(data)
                await self._server_writer.drain()
            if self._server_writer.can_write_eof():
                self._server_writer.write_eof()
            return
        self.drop()

    async def _read_replies(self) -> None:
        with contextlib.suppress(OSError):
            while data := await self._server_reader.read(_CHUNK_BYTES):
                if self._asked:
                    self._begin_reply()
                await self._replies.put((self._due, data))
        await self._replies.put(None)

    def _begin_reply(self) -> None:
        """Draw what becomes of the reply whose first bytes have come."""
        self._asked = False
        self._proxy.counts["replies"] += 1
        match self._proxy.behaviour:
            case Delay(low, high):
                self._proxy.counts["delayed"] += 1
                self._due = max(self._due, time.monotonic() + self._rng.uniform(low, high))
            case Cut(chance):
                self._cut = self._rng.random() < chance
            case _:
                pass

    async def _write_replies(self) -> None:
        while reply := await self._replies.get():
            due, data = reply
            await self._wait_until(due)
            if isinstance(self._proxy.behaviour, BlackHole):
                self._lose("replies swallowed")
                continue
            if self._cut:
                data = data[: len(data) // 2]
            try:
                self._client_writer.write(data)
                await self._client_writer.drain()
            except OSError:
                break
            if self._cut:
                self._proxy.counts["cut"] += 1
                break
        if self.lost_bytes:  # the client must not see an end where it sees no reply
            await self._dropped.wait()
        self._client_writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            await asyncio.wait_for(self._client_writer.wait_closed(), _FLUSH_SECONDS)
        raise _EndedError

    async def _wait_until(self, due: float) -> None:
        """Until a reply is due, or replies are no longer late."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._proxy.punctual.wait(), max(0.0, due - time.monotonic()))

    def _lose(self, what: str) -> None:
        self._proxy.counts[what] += 1
        self.lost_bytes = True


class _EndedError(Exception):
    """All replies of a connection are written."""


class Proxies:
    """Proxies by name, in an event loop and a thread of their own; use it in a `with` statement."""

    def __init__(self, proxies: dict[str, Proxy]) -> None:
        self._proxies = proxies
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)

    def __enter__(self) -> "Proxies":
        self._thread.start()
        for proxy in self._proxies.values():
            self._wait(proxy.start())
        return self

    def __exit__(self, *_: object) -> None:
        for proxy in self._proxies.values():
            self._wait(proxy.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_ANSWER_SECONDS)
        self._loop.close()

    def __getitem__(self, name: str) -> Proxy:
        return self._proxies[name]

    def behave(self, name: str, behaviour: Behaviour) -> None:
        """Change what one does; returns when it does so."""

        async def change() -> None:
            self._proxies[name].behave(behaviour)

        self._wait(change())

    def counts(self) -> dict[str, dict[str, int]]:
        """What each has done."""
        return {name: dict(proxy.counts) for name, proxy in self._proxies.items()}

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_ANSWER_SECONDS)
