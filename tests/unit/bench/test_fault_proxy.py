"""The proxy of the fault driver: late, cut and lost replies, and connections that get over them."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from compose.local.machine.ports import free_port
from tests.bench.faults.proxy import BlackHole, Cut, Delay, Plain, Proxies, Proxy
from tests.support.polling import until

LARGE = b"x" * 3_000_000


@dataclass
class Echo:
    """A server that answers each line by the line, or by a large reply; and the proxy before it."""

    proxy: Proxy
    requests: list[bytes] = field(default_factory=list[bytes])
    writers: list[asyncio.StreamWriter] = field(default_factory=list[asyncio.StreamWriter])

    async def connect(self, port: int = 0) -> "Client":
        """A client of the proxy, or of another port."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port or self.proxy.port, limit=2**23
        )
        self.writers.append(writer)
        return Client(reader, writer)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        while line := await reader.readline():
            self.requests.append(line)
            writer.write(LARGE + b"\n" if line == b"large\n" else line)
            await writer.drain()
        writer.close()


@dataclass
class Client:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, line: bytes) -> bytes:
        """The reply to a line; what of it came where the connection ended before."""
        self.writer.write(line)
        return await self.reader.readline()


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    server_port = free_port()
    made = Echo(Proxy(free_port({server_port}), server_port, random.Random(1)))
    server = await asyncio.start_server(made.answer, "127.0.0.1", server_port)
    await made.proxy.start()
    yield made
    for writer in made.writers:
        writer.transport.abort()
    await made.proxy.stop()
    server.close()
    await server.wait_closed()
    await until(lambda: all(writer.transport.is_closing() for writer in made.writers), seconds=5)


async def test_everything_passes_unchanged_and_in_order(echo: Echo) -> None:
    client = await echo.connect()
    assert await client.ask(b"large\n") == LARGE + b"\n"
    assert [await client.ask(line) for line in (b"one\n", b"two\n")] == [b"one\n", b"two\n"]


async def test_the_end_of_a_request_reaches_the_server_and_its_replies_the_client(
    echo: Echo,
) -> None:
    client = await echo.connect()
    client.writer.write(b"last\n")
    client.writer.write_eof()
    assert await client.reader.read() == b"last\n"


async def test_a_delayed_reply_is_late_and_its_request_is_not(echo: Echo) -> None:
    client = await echo.connect()
    echo.proxy.behave(Delay(0.4, 0.5))
    started = time.monotonic()
    client.writer.write(b"one\n")
    await until(lambda: echo.requests, seconds=5)
    assert time.monotonic() - started < 0.4
    assert await client.reader.readline() == b"one\n"
    assert time.monotonic() - started >= 0.4


async def test_a_reply_of_many_pieces_is_delayed_once(echo: Echo) -> None:
    client = await echo.connect()
    echo.proxy.behave(Delay(0.3, 0.3))
    started = time.monotonic()
    assert await client.ask(b"large\n") == LARGE + b"\n"
    assert 0.3 <= time.monotonic() - started < 2


async def test_late_replies_arrive_when_the_delay_ends(echo: Echo) -> None:
    client = await echo.connect()
    echo.proxy.behave(Delay(50, 60))
    client.writer.write(b"one\n")
    await until(lambda: echo.proxy.counts["delayed"] == 1, seconds=5)
    echo.proxy.behave(Plain())
    assert await asyncio.wait_for(client.reader.readline(), 5) == b"one\n"


async def test_a_connection_is_cut_in_the_middle_of_a_reply(echo: Echo) -> None:
    client = await echo.connect()
    echo.proxy.behave(Cut(1.0))
    client.writer.write(b"1234567\n")
    assert await client.reader.read() == b"1234"
    echo.proxy.behave(Plain())
    assert await (await echo.connect()).ask(b"again\n") == b"again\n"


@pytest.mark.parametrize("swallows", [False, True], ids=["replies", "requests and replies"])
async def test_a_black_hole_never_answers_and_drops_the_connection_at_its_end(
    echo: Echo, *, swallows: bool
) -> None:
    echo.proxy.behave(BlackHole(swallow_requests=swallows))
    client = await echo.connect()
    client.writer.write(b"one\n")
    lost = "requests swallowed" if swallows else "replies swallowed"
    await until(lambda: echo.proxy.counts[lost] == 1, seconds=5)
    assert echo.requests == ([] if swallows else [b"one\n"])
    assert not client.reader.at_eof()
    echo.proxy.behave(Plain())
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await client.reader.readexactly(1)
    assert await (await echo.connect()).ask(b"again\n") == b"again\n"


async def test_a_connection_that_lost_nothing_survives_a_black_hole(echo: Echo) -> None:
    client = await echo.connect()
    assert await client.ask(b"before\n") == b"before\n"
    echo.proxy.behave(BlackHole())
    echo.proxy.behave(Plain())
    assert await client.ask(b"after\n") == b"after\n"


async def test_a_client_that_leaves_a_black_hole_leaves_nothing_behind(echo: Echo) -> None:
    echo.proxy.behave(BlackHole())
    client = await echo.connect()
    client.writer.write(b"one\n")
    await until(lambda: echo.proxy.counts["replies swallowed"] == 1, seconds=5)
    client.writer.transport.abort()
    echo.proxy.behave(Plain())
    await until(lambda: echo.proxy.open_connections == 0, seconds=5)


async def test_a_server_that_is_away_ends_the_connection(echo: Echo) -> None:
    proxy = Proxy(free_port(), 1, random.Random(1))
    await proxy.start()
    client = await echo.connect(proxy.port)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await client.reader.readexactly(1)
    await proxy.stop()


async def test_proxies_run_in_a_thread_of_their_own(echo: Echo) -> None:
    port = free_port()
    proxy = Proxy(port, echo.proxy.port, random.Random(1))
    with Proxies({"echo": proxy}) as proxies:
        proxies.behave("echo", Cut(1.0))
        client = await echo.connect(port)
        client.writer.write(b"1234567\n")
        assert await client.reader.read() == b"1234"
        assert proxies.counts()["echo"]["cut"] == 1
