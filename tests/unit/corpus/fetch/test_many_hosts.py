"""Many hosts that do not answer, or send little, hold up none that does; and no batch waits without end."""

import asyncio
import socket
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from corpus.dead_letter import DeadLetterReason
from corpus.fetch import fetcher as fetching
from corpus.fetch.fetcher import Fetcher
from corpus.fetch.hosts import Patience
from corpus.fetch.places import MAX_LARGE, SMALL_BODY_BYTES
from corpus.fetch.result import Fetched, FetchRequest, NotFetched, Result
from corpus.fetch.threads import Threads
from corpus.specs.fetch import FetchSpec
from tests.support.reference_server import (
    Answer,
    Handler,
    Server,
    lies,
    seconds_of,
    serving,
    status,
)

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 90000000\r\n\r\n"


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


@contextmanager
def holes(count: int, says: bytes = b"") -> Generator[list[str]]:
    """Addresses of hosts that take a connection, say something, and then nothing more."""
    taken: list[socket.socket] = []
    with socket.create_server(("", 0), backlog=1_000) as listening:
        listening.settimeout(0.1)
        is_over = threading.Event()

        def accept() -> None:
            while not is_over.is_set():
                try:
                    connection, _ = listening.accept()
                except TimeoutError:
                    continue
                connection.settimeout(None)
                taken.append(connection)
                connection.sendall(says)

        thread = threading.Thread(target=accept)
        thread.start()
        port = listening.getsockname()[1]
        try:
            yield [f"127.1.0.{number + 1}:{port}" for number in range(count)]
        finally:
            is_over.set()
            thread.join()
            for connection in taken:
                connection.close()


def requests_of(hosts: list[str], *urls: str) -> list[FetchRequest]:
    every = [*(f"http://{host}/" for host in hosts), *urls]
    return [FetchRequest(row=row, url=url) for row, url in enumerate(every)]


def allowing(hosts: list[str], timeout: float) -> FetchSpec:
    inside = ("127.0.0.1", *hosts)
    return FetchSpec(internal_hosts=inside, plain_http=True, timeout_seconds=timeout)


@pytest.mark.parametrize(
    "says", [b"", HEAD, HEAD + b"x" * 1_000], ids=["silence", "head", "some_bytes"]
)
def test_hosts_that_say_nothing_more_hold_up_no_other(server: Server, says: bytes) -> None:
    with holes(100, says) as hosts:
        requests = requests_of(hosts, *(server.url(f"/plain/{n}") for n in range(4)))
        results = Fetcher(allowing(hosts, 60.0), 100_000_000).fetch(requests)
        first: list[Result] = []
        seconds = seconds_of(lambda: first.extend(islice(results, 4)))
        results.close()
    assert all(isinstance(one.outcome, Fetched) for one in first)
    assert seconds < 50


def test_more_hosts_than_are_asked_at_once_have_less_time_to_begin(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "max_asked", lambda: 20)
    monkeypatch.setattr(fetching, "HASTY_SECONDS", 2.0)
    server.answers["plain"] = lambda handler: plain_after(handler, 2.5)
    with holes(25) as hosts:
        requests = requests_of(hosts, server.url("/plain/a"))
        results = list(Fetcher(allowing(hosts, 60.0), 1_000).fetch(requests))
    late = [one.outcome for one in results if isinstance(one.outcome, NotFetched)]
    assert len(late) == 25
    assert all("begin to answer within 2 s" in one.detail for one in late)
    [last] = [one for one in results if one.request.row == 25]
    assert last.content.startswith(b"The document")


def plain_after(handler: Handler, seconds: float) -> None:
    """Begins to answer at once, and takes its time."""
    server: Any = handler.server
    body = b"The document."
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.flush()
    server.closing.wait(seconds)
    handler.wfile.write(body)


def test_large_bodies_wait_for_a_place_and_not_against_the_clock(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_MAX_WAITING_BYTES", 1)
    body = b"x" * (SMALL_BODY_BYTES * 8)
    server.answers["large"] = lambda handler: handler.send(body)
    requests = requests_of([], *(server.url(f"/large/{n}") for n in range(MAX_LARGE * 2)))
    hosts = ("127.0.0.1",)
    spec = FetchSpec(internal_hosts=hosts, plain_http=True, timeout_seconds=4.0, per_host=40)
    results = Fetcher(spec, len(body)).fetch(requests)
    first = next(results)
    # Nobody takes a result for longer than a document may take.
    server.closing.wait(5.0)
    sizes = [len(result.content) for result in (first, *results)]
    assert sizes == [len(body)] * len(requests)


def test_a_batch_that_has_waited_in_vain_asks_no_more(server: Server) -> None:
    requests = requests_of([], *(server.url(f"/plain/{n}") for n in range(5)))
    spec = allowing([], 5.0)
    for over in (Patience(61.0, 3), Patience(1_000.0, 900)):
        results = list(Fetcher(spec, 1_000, patience=over).fetch(requests))
        outcomes = [one.outcome for one in results if isinstance(one.outcome, NotFetched)]
        assert [one.reason for one in outcomes] == [DeadLetterReason.FETCH_WAITS] * 5
        assert all("the batch has waited" in one.detail for one in outcomes)
    assert server.asked == 0
    for goes_on in (Patience(59.0, 0), Patience(1_000.0, 1_100)):
        assert len(list(Fetcher(spec, 1_000, patience=goes_on).fetch(requests))) == 5
    assert server.asked == 10


def test_patience_counts_what_is_waited_for_and_what_need_not_be(server: Server) -> None:
    server.answers["missing"], server.answers["busy"] = status(404), status(503)
    patience = Patience(0.0, 0, seconds=0.5)
    urls = (server.url("/plain/a"), server.url("/missing/a"), server.url("/busy/a"))
    list(Fetcher(allowing([], 5.0), 1_000, patience=patience).fetch(requests_of([], *urls)))
    assert patience.waited >= 1.0  # of the tries of the busy one
    assert patience.why_over() == ""
    list(Fetcher(allowing([], 5.0), 1_000, patience=patience).fetch(requests_of([], urls[2])))
    assert "2 documents came" in patience.why_over()


# ── names, files ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_names_whose_servers_are_silent_hold_up_no_other(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up, is_over = socket.getaddrinfo, threading.Event()

    def silent(host: Any, *given: Any, **named: Any) -> Any:
        if "silent" in str(host):
            is_over.wait(60)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return look_up(host, *given, **named)

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    monkeypatch.setattr("corpus.fetch.guard._NAME_SECONDS", 4.0)
    (tmp_path / "a.txt").write_text("A file.")
    spec = FetchSpec(
        internal_hosts=("127.0.0.1",),
        plain_http=True,
        folders=(str(tmp_path),),
        timeout_seconds=30.0,
    )
    hosts = [f"silent{number}.test" for number in range(100)]
    urls = (server.url("/plain/a"), f"file://{tmp_path}/a.txt")
    results = list(Fetcher(spec, 1_000).fetch(requests_of(hosts, *urls)))
    is_over.set()
    assert {one.request.row for one in results[:2]} == {100, 101}
    assert all(isinstance(one.outcome, Fetched) for one in results[:2])
    late = [one.outcome for one in results if isinstance(one.outcome, NotFetched)]
    assert len(late) == 100
    assert all("name servers did not answer within 4 s" in one.detail for one in late)


def test_a_thread_that_is_given_up_is_room_again_when_it_ends() -> None:
    threads, may_end = Threads(1), threading.Event()

    async def given_up() -> str:
        with pytest.raises(TimeoutError):
            await threads.run(may_end.wait, 0.1)
        waiting = asyncio.create_task(threads.run(lambda: "done", 10.0))
        await asyncio.wait([waiting], timeout=0.3)
        assert not waiting.done()
        may_end.set()
        with pytest.raises(ZeroDivisionError):
            await threads.run(lambda: 1 / 0)
        return await waiting

    assert asyncio.run(given_up()) == "done"


# ── one host: some of its documents do not come ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "answer", [status(500), status(503), lies(90_000, b"x")], ids=["500", "503", "breaks_off"]
)
def test_pages_that_always_fail_keep_no_other_page_of_their_host_out(
    server: Server, answer: Answer
) -> None:
    server.answers["bad"] = answer
    urls = [*(f"/bad/{n}" for n in range(6)), *(f"/plain/{n}" for n in range(20))]
    results = list(
        Fetcher(allowing([], 5.0), 100_000).fetch(requests_of([], *map(server.url, urls)))
    )
    came = {one.request.row for one in results if isinstance(one.outcome, Fetched)}
    assert came == set(range(6, 26))


def test_a_host_that_answers_everything_badly_is_asked_once_for_each(server: Server) -> None:
    server.answers["bad"] = status(500)
    urls = [server.url(f"/bad/{n}") for n in range(100)]
    list(Fetcher(allowing([], 5.0), 1_000).fetch(requests_of([], *urls)))
    assert len(server.requests) == 100
    assert server.asked <= 100 + 2 * 12


def test_who_was_not_asked_for_is_told_from_who_was_in_vain(server: Server) -> None:
    server.answers["busy"] = status(429, Retry_After="60")
    urls = [server.url("/plain/a"), *(server.url(f"/busy/{n}") for n in range(9))]
    spec = FetchSpec(internal_hosts=("127.0.0.1",), plain_http=True, per_host=1)
    results = list(Fetcher(spec, 1_000).fetch(requests_of([], *urls)))
    waits = [one.outcome for one in results if isinstance(one.outcome, NotFetched)]
    assert [one.was_asked for one in waits] == [True] * 4 + [False] * 5
    with holes(1) as hosts:
        dead = requests_of(hosts * 9)
        results = list(Fetcher(allowing(hosts, 0.5), 1_000).fetch(dead))
    silent = [one.outcome for one in results if isinstance(one.outcome, NotFetched)]
    assert [one.was_asked for one in silent] == [True] * 9
    [over] = Fetcher(spec, 1_000, patience=Patience(61.0, 0)).fetch(requests_of([], urls[0]))
    assert isinstance(over.outcome, NotFetched)
    assert not over.outcome.was_asked


def test_names_that_can_never_be_had_do_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    monkeypatch.setenv("AWS_REGION", "none")
    spec = FetchSpec(stores=("s3://bucket/docs",), folders=(str(tmp_path),))
    (tmp_path / "file").write_text("x")
    urls = (
        "s3://bucket/docs//a//b",
        "s3://bucket/docs/%00a",
        f"file://{tmp_path}/{'x' * 300}",
        f"file://{tmp_path}/{'x/' * 3_000}y",
        f"file://{tmp_path}/file/below",
    )
    results = Fetcher(spec, 1_000).fetch(requests_of([], *urls))
    outcomes = {one.request.row: one.outcome for one in results}
    reasons = {row: one.reason for row, one in outcomes.items() if isinstance(one, NotFetched)}
    assert reasons == dict.fromkeys(range(5), DeadLetterReason.FETCH_FAILED)
