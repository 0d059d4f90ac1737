"""Documents by http:// and https://: redirects one by one, conditional requests, and what is worth another try."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import Cookie, CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import urljoin

import httpx2

from corpus.fetch.address import check_allowed, parts_of
from corpus.fetch.body import check_sum, read_body
from corpus.fetch.guard import Guard, GuardedTransport
from corpus.fetch.places import BodyPlace
from corpus.fetch.result import (
    Fetched,
    FetchError,
    FetchRequest,
    Result,
    StillTheSame,
    Validators,
    refused,
)
from corpus.specs.fetch import FetchSpec

_MAX_REDIRECTS = 5
# A host that is there takes a connection at once.
_CONNECT_SECONDS = 5.0
# Each has the connections of some of the hosts: a pool looks through all of its connections for each request.
_POOLS = 32
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NOT_MODIFIED = 304
_OK = frozenset({200, 203})
# Too early, too many, or the host is not well: it may answer later.
_MAY_PASS = frozenset({408, 425, 429, 500, 502, 503, 504})
# There is no such document, as far as the host knows.
_MISSING = frozenset({404, 410})
_TOO_MANY = 429
_MAX_RETRY_AFTER = 86_400
_MAX_VALIDATOR = 1_000  # characters; a longer one is not kept
_HEADERS = {
    "User-Agent": "freshet",
    "Accept": "*/*",
    # A body as it is: what its size is, and what its ETag stands for.
    "Accept-Encoding": "identity",
}


class _NoCookies(DefaultCookiePolicy):
    """Takes none: what a document is must not depend on which ones came before it."""

    def set_ok(self, cookie: Cookie, request: Any) -> bool:
        return False


class HttpFetcher:
    """Fetches by HTTP. Use it in an `async with` statement.

    Args:
        spec: of the source.
        max_bytes: of a document.
    """

    def __init__(self, spec: FetchSpec, max_bytes: int) -> None:
        self._spec = spec
        self._max_bytes = max_bytes
        guard = Guard(spec.internal_hosts)
        connect = min(_CONNECT_SECONDS, spec.timeout_seconds)
        # Of all of a document the fetcher takes the time.
        timeout = httpx2.Timeout(None, connect=connect)
        self._clients = [_client(guard, timeout) for _ in range(_POOLS)]

    async def __aenter__(self) -> "HttpFetcher":
        return self

    async def __aexit__(self, *error: object) -> None:
        for client in self._clients:
            await client.aclose()

    async def fetch(self, request: FetchRequest, host: str, place: BodyPlace) -> Result:
        """One document; its caller takes the time.

        Args:
            request: for it.
            host: as it is shown.
            place: of its body.

        Raises:
            FetchError: this try failed.
        """
        url = request.url
        try:
            for _ in range(_MAX_REDIRECTS + 1):
                answer = await self._one(request, url, host, place)
                if isinstance(answer, Result):
                    return answer
                url = answer
        except httpx2.TimeoutException:
            raise FetchError(
                "the host did not answer in time",
                may_pass=True,
                is_slow=True,
                of_host=True,
            ) from None
        except httpx2.ConnectError:
            raise FetchError(
                "the host cannot be reached", may_pass=True, of_host=True
            ) from None
        except httpx2.TransportError as error:
            kind = type(error).__name__
            raise FetchError(f"the host broke off ({kind})", may_pass=True) from None
        except (httpx2.InvalidURL, ValueError):
            raise refused("the address cannot be read") from None
        raise FetchError(f"the host redirects more than {_MAX_REDIRECTS} times")

    async def _one(
        self, request: FetchRequest, url: str, host: str, place: BodyPlace
    ) -> Result | str:
        """What one address answers: the document, or the address of a redirect."""
        parts = parts_of(url)
        if parts.scheme not in ("http", "https"):
            raise refused("the host redirects to an address that is not of the web")
        check_allowed(parts, self._spec)
        headers = _conditions(request.known)
        client = self._clients[hash(host) % _POOLS]
        async with client.stream("GET", url, headers=headers) as response:
            place.answered()
            status = response.status_code
            if status in _REDIRECTS and "location" in response.headers:
                return urljoin(url, response.headers["location"])
            if status == _NOT_MODIFIED and request.known is not None:
                return Result(
                    request, StillTheSame(host=host, validators=request.known)
                )
            if status not in _OK:
                raise _refusal(status, response.headers)
            encoding = response.headers.get("content-encoding", "")
            pieces = response.aiter_raw()
            content = await read_body(pieces, self._max_bytes, encoding, place)
        return Result(request, self._fetched(request, host, response, content), content)

    def _fetched(
        self, request: FetchRequest, host: str, response: Any, content: bytes
    ) -> Fetched:
        headers = response.headers
        return Fetched(
            host=host,
            sha256=check_sum(content, request.sha256),
            size=len(content),
            content_type=headers.get("content-type"),
            validators=Validators(
                etag=_kept(headers.get("etag")),
                last_modified=_kept(headers.get("last-modified")),
            ),
        )


def _client(guard: Guard, timeout: httpx2.Timeout) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        transport=GuardedTransport(guard),
        trust_env=False,
        timeout=timeout,
        headers=_HEADERS,
        cookies=CookieJar(_NoCookies()),
    )


def _conditions(known: Validators | None) -> dict[str, str]:
    headers: dict[str, str] = {}
    if known is None:
        return headers
    if known.etag is not None:
        headers["If-None-Match"] = known.etag
    elif known.last_modified is not None:
        headers["If-Modified-Since"] = known.last_modified
    return headers


def _kept(value: str | None) -> str | None:
    if value is None or len(value) > _MAX_VALIDATOR:
        return None
    if not value.isascii() or not value.isprintable():
        return None
    return value


def _refusal(status: int, headers: Mapping[str, str]) -> FetchError:
    may_pass = status in _MAY_PASS
    seconds = 0
    if may_pass:
        stated = headers.get("retry-after")
        now = datetime.now(UTC)
        seconds = retry_after(stated, now)
    return FetchError(
        f"the host answers {status}",
        may_pass=may_pass,
        retry_after=seconds,
        is_missing=status in _MISSING,
        of_host=status == _TOO_MANY or seconds > 0,
    )


def retry_after(value: str | None, now: datetime) -> int:
    """Seconds until a host wants to be asked again, a day at most; 0: it does not say.

    Args:
        value: of the header, a number of seconds or a date.
        now: with its time zone.
    """
    if value is None:
        return 0
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(int(text[:9]), _MAX_RETRY_AFTER)
    try:
        until = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return 0
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    seconds = math.ceil((until - now).total_seconds())
    return min(max(seconds, 0), _MAX_RETRY_AFTER)
