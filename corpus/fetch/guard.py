"""Which addresses a connection may go to: they are checked as they are resolved, and the checked one is connected to.

A record can point anywhere, so without this whoever may write to a topic could read what only this machine can reach:
internal services, and the credentials that clouds give at fixed addresses. A name is resolved once per connection, so
that a second look-up cannot give another address (DNS rebinding), and each redirect makes a connection of its own.
"""

import ipaddress
import socket
import ssl
from collections.abc import Iterable
from functools import lru_cache, partial
from typing import Any

import httpcore2
import httpx2

from corpus.fetch.result import FetchError, refused
from corpus.fetch.threads import Threads

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Of a site; deprecated (RFC 3879), and still routed inside of some. Python takes it for global.
_SITE_LOCAL = ipaddress.ip_network("fec0::/10")
# Where clouds answer with credentials; some of them look like public addresses.
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        (
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "fd00:ec2::254",
            "fd20:ce::254",
        ),
    )
)
# A look-up whose name servers are silent takes up to half a minute, and cannot be ended.
_NAMES = Threads(512)
_NAME_SECONDS = 5.0
# That a client keeps open for the next document.
_MAX_IDLE = 8
_IDLE_SECONDS = 5.0


def is_public(text: str) -> bool:
    """Whether an address is one that anybody can reach."""
    address = _embedded(ipaddress.ip_address(text))
    if address in _METADATA or address in _SITE_LOCAL or not address.is_global:
        return False
    return not (address.is_multicast or address.is_reserved)


def is_internal(text: str) -> bool:
    """Whether an address is one that a source may name as internal: no metadata, link-local or multicast address."""
    address = _embedded(ipaddress.ip_address(text))
    if address in _METADATA or address.is_link_local:
        return False
    return not (address.is_multicast or address.is_unspecified)


def _embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, where it stands for one."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        last_bits = int(address) & 0xFFFFFFFF
        return ipaddress.IPv4Address(last_bits)
    teredo = address.teredo
    if teredo is not None:
        return teredo[1]
    return address.ipv4_mapped or address.sixtofour or address


class Guard(httpcore2.AsyncNetworkBackend):
    """Connects to checked addresses only.

    Args:
        internal: hosts, each as `host` or `host:port`, that may have addresses which are not public.
    """

    def __init__(self, internal: Iterable[str] = ()) -> None:
        self._internal = frozenset(name.lower() for name in internal)
        backend: Any = httpcore2.AnyIOBackend()
        self._backend = backend

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first address of a host that answers, if all of them are allowed."""
        addresses = await self._allowed(host, port)
        last: Exception | None = None
        for address in addresses:
            try:
                return await self._backend.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                last = error
        assert last is not None, "a host has an address"
        raise last

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Refuse: a path is no host."""
        raise refused("a socket of this machine is no host")

    async def sleep(self, seconds: float) -> None:
        """Wait, as the client asks."""
        await self._backend.sleep(seconds)

    async def _allowed(self, host: str, port: int) -> list[str]:
        addresses = await _resolved(host, port)
        name = host.lower()
        check = is_public
        if name in self._internal or f"{name}:{port}" in self._internal:
            check = is_internal
        if not all(map(check, addresses)):
            raise refused(
                "the host has an address that is not public; a source names hosts that it may reach inside as "
                "fetch.internal_hosts (addresses of cloud metadata are never allowed)"
            )
        return addresses


async def _resolved(host: str, port: int) -> list[str]:
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    try:
        found = await _NAMES.run(look_up, _NAME_SECONDS)
    except TimeoutError:
        raise FetchError(
            f"the host's name servers did not answer within {_NAME_SECONDS:g} s",
            may_pass=True,
            is_slow=True,
            of_host=True,
        ) from None
    except (OSError, UnicodeError) as error:
        is_unknown = isinstance(error, UnicodeError)
        raise FetchError(
            "the host's name cannot be resolved",
            may_pass=not is_unknown,
            of_host=True,
        ) from error
    # Without the scope of a link-local address, which no check knows.
    return list(dict.fromkeys(str(each[4][0]).partition("%")[0] for each in found))


class GuardedTransport(httpx2.AsyncHTTPTransport):
    """Of a client whose connections are guarded; settings of proxies in the environment count nothing.

    Args:
        guard: of its connections.
    """

    def __init__(self, guard: Guard) -> None:
        context = _tls()
        super().__init__(verify=context, trust_env=False)
        self._pool = httpcore2.AsyncConnectionPool(
            network_backend=guard,
            ssl_context=context,
            # As many as there are places (`corpus.fetch.places`): a document never waits for a connection.
            max_connections=None,
            max_keepalive_connections=_MAX_IDLE,
            keepalive_expiry=_IDLE_SECONDS,
        )


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    """By the certificates of this system, which take a while to read (`SSL_CERT_FILE` names others)."""
    return ssl.create_default_context()
