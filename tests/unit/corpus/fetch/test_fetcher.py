"""Documents by reference: limits on size and time, tries that help, redirects, the guard; on loopback only."""

import asyncio
import gzip
import hashlib
import ipaddress
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from corpus.dead_letter import DeadLetterReason
from corpus.fetch import fetcher as fetching
from corpus.fetch.address import host_of, keepable
from corpus.fetch.body import MAX_MEMBERS, read_body
from corpus.fetch.fetcher import Fetcher
from corpus.fetch.guard import is_internal, is_public
from corpus.fetch.http import retry_after
from corpus.fetch.result import (
    Fetched,
    FetchError,
    FetchRequest,
    NotFetched,
    Result,
    StillTheSame,
    Validators,
)
from corpus.specs.fetch import FetchSpec
from tests.support.reference_server import (
    Server,
    endless,
    failing_first,
    late,
    lies,
    redirect,
    seconds_of,
    serving,
    silent,
    status,
    trickling,
)

FAILED, REFUSED = DeadLetterReason.FETCH_FAILED, DeadLetterReason.FETCH_REFUSED
WAITS, TOO_LARGE = DeadLetterReason.FETCH_WAITS, DeadLetterReason.TOO_LARGE


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


def allowing(*servers: Server, **settings: Any) -> FetchSpec:
    hosts = tuple(server.host for server in servers)
    given: dict[str, Any] = {"internal_hosts": hosts, "plain_http": True, **settings}
    return FetchSpec(**given)


def fetch(spec: FetchSpec, *urls: str, max_bytes: int = 100_000, **each: Any) -> list[Result]:
    requests = [FetchRequest(row=row, url=url, **each) for row, url in enumerate(urls)]
    results = Fetcher(spec, max_bytes).fetch(requests)
    return sorted(results, key=lambda result: result.request.row)


def reason(spec: FetchSpec, url: str, **each: Any) -> tuple[DeadLetterReason, str]:
    [result] = fetch(spec, url, **each)
    assert isinstance(result.outcome, NotFetched), result.outcome
    return result.outcome.reason, result.outcome.detail


def test_a_document_comes_with_what_its_origin_says_of_it(server: Server) -> None:
    [result] = fetch(allowing(server), server.url("/plain/a"))
    assert isinstance(result.outcome, Fetched)
    assert result.content == b"The document /plain/a says that the weir was open."
    assert result.outcome.content_type == "text/plain; charset=utf-8"
    assert result.outcome.sha256 == hashlib.sha256(result.content).digest()
    known = result.outcome.validators
    [again] = fetch(allowing(server), server.url("/plain/a"), known=known)
    assert again.outcome == StillTheSame(host=server.host, validators=known)
    server.texts["/plain/a"] = "Another."
    [changed] = fetch(allowing(server), server.url("/plain/a"), known=known)
    assert changed.content == b"Another."
    other = Validators(etag='"other"')
    [unknown] = fetch(allowing(server), server.url("/plain/a"), known=other)
    assert unknown.content == b"Another."


@pytest.mark.parametrize(
    ("answer", "expected", "words"),
    [
        (status(404), FAILED, "answers 404"),
        (status(401), FAILED, "answers 401"),
        (status(410), FAILED, "answers 410"),
        (status(204), FAILED, "answers 204"),
        (status(503), WAITS, "answers 503"),
        (endless, TOO_LARGE, "max_document_bytes"),
        (lies(5, b"x" * 90_000), None, ""),
        (lies(90_000, b"short"), WAITS, "broke off"),
        (lies(10**9, b"x" * 200_000), TOO_LARGE, "max_document_bytes"),
        (trickling, WAITS, "within fetch.timeout"),
        (silent, WAITS, "time"),
        (redirect("/odd/a"), FAILED, "redirects more than"),
        (redirect("file:///etc/passwd"), REFUSED, "not of the web"),
        (redirect("http://user:pw@127.0.0.1/"), REFUSED, "user name"),
        (redirect("http://169.254.169.254/latest/"), REFUSED, "not public"),
        (redirect("http://[::ffff:10.0.0.1]/"), REFUSED, "not public"),
        (redirect("http://[/"), REFUSED, "cannot be read"),
    ],
)
def test_what_is_no_document_has_a_reason(
    server: Server, answer: Any, expected: DeadLetterReason | None, words: str
) -> None:
    server.answers["odd"] = answer
    spec = allowing(server, timeout_seconds=1.0)
    [result] = fetch(spec, server.url("/odd/a"))
    if expected is None:
        assert result.content == b"x" * 5
        return
    assert isinstance(result.outcome, NotFetched)
    assert result.outcome.reason is expected
    assert words in result.outcome.detail
    assert result.outcome.may_pass is (expected is WAITS)
    assert result.outcome.is_missing is (words in ("answers 404", "answers 410"))


def test_a_redirect_is_followed(server: Server) -> None:
    server.answers["old"] = redirect("/plain/new", 308)
    [result] = fetch(allowing(server), server.url("/old/a"))
    assert result.content.startswith(b"The document /plain/new")


def test_no_document_decides_what_another_one_is(server: Server) -> None:
    """What an origin sets with one document is not sent with the next, nor behind a redirect."""
    server.answers["set"] = lambda handler: handler.send(b"set", Set_Cookie="a=1; Path=/")
    server.answers["away"] = lambda handler: handler.send(
        b"", 302, Set_Cookie="b=1; Path=/", Location="/told/a"
    )
    server.answers["told"] = lambda handler: handler.send(
        repr(sorted({name.lower() for name in handler.headers})).encode()
    )
    paths = ("/told/a", "/set/a", "/told/b", "/away/a", "/told/c")
    results = fetch(allowing(server, per_host=1), *map(server.url, paths))
    told = {result.content for result in results if result.content != b"set"}
    assert len(told) == 1
    assert b"cookie" not in told.pop()


def test_tries_that_help(server: Server) -> None:
    server.answers["flaky"] = failing_first(2)
    server.answers["missing"] = status(404)
    server.answers["busy"] = status(429, Retry_After="120")
    results = fetch(
        allowing(server), server.url("/flaky/a"), server.url("/missing/a"), server.url("/busy/a")
    )
    assert isinstance(results[0].outcome, Fetched)
    assert server.requests == {"/flaky/a": 3, "/missing/a": 1, "/busy/a": 1}
    assert isinstance(results[2].outcome, NotFetched)
    assert results[2].outcome.retry_after_seconds == 120


def test_a_checksum_is_verified(server: Server) -> None:
    wrong = hashlib.sha256(b"other").digest()
    assert reason(allowing(server), server.url("/plain/a"), sha256=wrong)[0] is FAILED
    right = hashlib.sha256(b"The document /plain/a says that the weir was open.").digest()
    [result] = fetch(allowing(server), server.url("/plain/a"), sha256=right)
    assert isinstance(result.outcome, Fetched)


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_body_of_several_members_is_read_to_its_end(size: int) -> None:
    members = gzip.compress(b"first ") + gzip.compress(b"") + gzip.compress(b"second") + b"\0\0"
    assert asyncio.run(read_body(in_pieces(members, size), 100, "gzip")) == b"first second"
    for damaged, why in ((members + b"none", "is damaged"), (members[:-12], "ends too early")):
        with pytest.raises(FetchError, match=why):
            asyncio.run(read_body(in_pieces(damaged, size), 100, "gzip"))
    with pytest.raises(FetchError, match="max_document_bytes = 11"):
        asyncio.run(read_body(in_pieces(members, size), 11, "gzip"))


def test_a_body_of_very_many_members_is_refused() -> None:
    members = gzip.compress(b"") * (MAX_MEMBERS + 1)
    with pytest.raises(FetchError, match="more than 10,000 members"):
        asyncio.run(read_body(in_pieces(members, 65_536), 100, "gzip"))


async def in_pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    for first in range(0, len(body), size):
        yield body[first : first + size]


def test_a_body_that_grows_when_it_is_inflated(server: Server) -> None:
    small, large = gzip.compress(b"inflated"), gzip.compress(b"0" * 50_000_000)
    server.answers["small"] = lambda handler: handler.send(small, Content_Encoding="gzip")
    server.answers["bomb"] = lambda handler: handler.send(large, Content_Encoding="gzip")
    server.answers["odd"] = lambda handler: handler.send(large, Content_Encoding="br")
    server.answers["cut"] = lambda handler: handler.send(small[:-9], Content_Encoding="gzip")
    spec = allowing(server)
    assert fetch(spec, server.url("/small/a"))[0].content == b"inflated"
    assert reason(spec, server.url("/bomb/a"))[0] is TOO_LARGE
    assert reason(spec, server.url("/odd/a"))[0] is FAILED
    assert reason(spec, server.url("/cut/a"))[0] is WAITS


def test_a_slow_host_delays_no_other(server: Server) -> None:
    with serving() as slow:
        slow.answers["plain"] = late(30.0)
        spec = allowing(server, slow, timeout_seconds=4.0)
        urls = [slow.url(f"/plain/{n}") for n in range(40)]
        urls += [server.url(f"/plain/{n}") for n in range(40)]
        requests = [FetchRequest(row=row, url=url) for row, url in enumerate(urls)]
        results = Fetcher(spec, 100_000).fetch(requests)
        first: list[Result] = []
        seconds = seconds_of(lambda: first.extend(next(results) for _ in range(40)))
        assert all(isinstance(result.outcome, Fetched) for result in first)
        assert seconds < 3.9
        rest: list[Result] = []
        assert seconds_of(lambda: rest.extend(results)) < 8.0
        waits = [one.outcome for one in rest if isinstance(one.outcome, NotFetched)]
        assert len(waits) == 40
        assert all(one.may_pass and one.host == slow.host for one in waits)
        assert slow.asked <= 12


def test_a_host_that_answers_slowly_is_left_alone(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corpus.fetch.hosts.SLOW_AFTER_SECONDS", 0.5)
    monkeypatch.setattr("corpus.fetch.hosts.MIN_PER_SECOND", 20.0)
    server.answers["plain"] = late(0.4)
    urls = [server.url(f"/plain/{n}") for n in range(60)]
    results = fetch(allowing(server), *urls)
    waits = [one.outcome for one in results if isinstance(one.outcome, NotFetched)]
    assert 40 < len(waits) < 60
    assert "its host is slow" in waits[-1].detail


def test_closing_ends_what_is_in_progress(server: Server) -> None:
    server.answers["plain"] = silent
    results = Fetcher(allowing(server), 100).fetch(
        [FetchRequest(row=0, url="file:///x"), FetchRequest(row=1, url=server.url("/plain/a"))]
    )
    next(results)
    assert seconds_of(results.close) < 2


def test_results_wait_where_none_takes_them(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_MAX_WAITING_BYTES", 100)
    urls = [server.url(f"/plain/{n}") for n in range(50)]
    results = Fetcher(allowing(server), 100_000).fetch(
        [FetchRequest(row=row, url=url) for row, url in enumerate(urls)]
    )
    next(results)
    assert server.asked < 20
    assert len(list(results)) == 49


# ── what may be fetched ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "0.0.0.0", "[::]", "[::1]"),
        *("[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::127.0.0.1]"),
        *("169.254.169.254", "100.64.0.1", "10.0.0.1", "[fe80::1]", "[fd00::1]", "192.0.2.1"),
        *("168.63.129.16", "[fd00:ec2::254]", "100.100.100.200", "192.168.1.1", "224.0.0.1"),
    ],
)
def test_no_address_inside_is_reached(host: str) -> None:
    spec = FetchSpec(plain_http=True, timeout_seconds=2.0)
    assert reason(spec, f"http://{host}:9/")[0] is REFUSED


def test_a_named_host_is_reached_and_no_other(server: Server) -> None:
    spec = FetchSpec(internal_hosts=(server.host,), plain_http=True)
    assert isinstance(fetch(spec, server.url("/plain/a"))[0].outcome, Fetched)
    other_port = FetchSpec(internal_hosts=("127.0.0.1:9",), plain_http=True)
    assert reason(other_port, server.url("/plain/a"))[0] is REFUSED
    assert "plain_http" in reason(FetchSpec(), server.url("/plain/a"))[1]
    metadata = FetchSpec(internal_hosts=("169.254.169.254",), plain_http=True)
    assert reason(metadata, "http://169.254.169.254/latest")[0] is REFUSED


def test_public_and_internal_addresses() -> None:
    assert is_public("93.184.216.34") and is_public("2606:2800:220:1::1")
    assert not is_public(str(ipaddress.ip_address("64:ff9b::a00:1")))
    assert not is_public("fec0::1") and not is_public("feff::1")
    assert is_internal("10.0.0.1") and is_internal("127.0.0.1")
    assert not is_internal("169.254.1.1") and not is_internal("0.0.0.0")


def test_no_message_quotes_an_address(server: Server) -> None:
    secret = "s3cr3t"
    for url in (
        f"http://user:{secret}@{server.host}/plain/a",
        server.url(f"/missing/{secret}?token={secret}"),
        f"http://127.0.0.1:1/{secret}",
        f"file:///{secret}",
        f"s3://bucket/{secret}",
        f"ftp://host/{secret}",
        f"http://[{secret}/",
    ):
        server.answers["missing"] = status(404)
        _, detail = reason(allowing(server), url)
        assert secret not in detail
    assert host_of(f"http://user:{secret}@h/") == "?"
    assert host_of("https://H.example:8443/a?b") == "h.example:8443"
    assert keepable(f"https://h/a?token={secret}") is None
    assert keepable("https://h/a") == "https://h/a"


def test_files_below_named_folders_only(tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "a b.txt").write_text("inside")
    (tmp_path / "outside.txt").write_text("outside")
    (allowed / "link.txt").symlink_to(tmp_path / "outside.txt")
    spec = FetchSpec(folders=(str(allowed),))
    [result] = fetch(spec, f"file://{allowed}/a%20b.txt")
    assert result.content == b"inside"
    assert reason(FetchSpec(), f"file://{allowed}/a%20b.txt")[0] is REFUSED
    assert reason(spec, f"file://{allowed}/../outside.txt")[0] is not WAITS
    assert reason(spec, f"file://{allowed}/%2e%2e/outside.txt")[0] is not WAITS
    assert reason(spec, f"file://{tmp_path}/outside.txt")[0] is REFUSED
    assert reason(spec, f"file://{allowed}-other/x")[0] is REFUSED
    assert reason(spec, f"file://{allowed}/link.txt")[0] is FAILED
    assert reason(spec, f"file://{allowed}/missing.txt")[0] is FAILED
    assert reason(spec, f"file://host{allowed}/a%20b.txt")[0] is REFUSED


@pytest.mark.parametrize(
    "url",
    [
        "s3://other/docs/a",
        "s3://bucket/private/a",
        "s3://bucket/docs/../private/a",
        "gs://bucket/docs/a",
    ],
)
def test_stores_that_are_not_named_are_not_read(url: str) -> None:
    spec = FetchSpec(stores=("s3://bucket/docs/",))
    assert reason(spec, url)[0] is REFUSED


def test_when_a_host_wants_to_be_asked_again() -> None:
    now = datetime(2026, 11, 26, 12, tzinfo=UTC)
    assert retry_after("17", now) == 17
    assert retry_after("Thu, 26 Nov 2026 12:01:00 GMT", now) == 60
    assert retry_after("Thu, 26 Nov 2026 11:00:00 GMT", now) == 0
    assert retry_after("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", now) == 0
    assert retry_after("999999999999999999999", now) == 86_400
    assert [retry_after(value, now) for value in (None, "soon", "-1", "")] == [0, 0, 0, 0]
