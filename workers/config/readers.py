"""Readers of settings: a value of the environment, as text, becomes what the program works with.

Each raises ValueError with what is wrong, to be read after the setting's name and value: "is not one of json, text".
"""

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from corpus.disclosure.secret import holds_password
from workers.config.values import ENDPOINT, NAMESPACE

_MAX_NUMBER = 999_999
_MAX_PORT = 65_535
_DEVICE = r"auto|(cpu|cuda|mps|xpu|npu|hpu)(:[0-9]{1,3})?"
# One server of a list: an optional listener's name, a host or an IPv6 address in brackets, an optional port.
_SERVER = r"([A-Za-z_]+://)?(\[[0-9A-Fa-f:.]+\]|[^\s:,/=\[\]]+)(:[0-9]{1,5})?"
_URL = r"[A-Za-z][A-Za-z0-9+.-]*://.+"

Reader = Callable[[str], object]


class HiddenValueError(ValueError):
    """A value is wrong, and holds what no message may show."""


Choice = TypeVar("Choice", bound=str)


def text(value: str) -> str:
    """Any text."""
    return value


def name(value: str) -> str:
    """A name that is not blank."""
    if not value.strip():
        raise ValueError("is blank")
    return value


def one_of(*allowed: str) -> Callable[[str], str]:
    """One of a few words."""

    def read(value: str) -> str:
        if value not in allowed:
            raise ValueError(f"is not one of {', '.join(allowed)}")
        return value

    return read


def some_of(*allowed: str) -> Callable[[str], tuple[str, ...]]:
    """Names of a list, separated by commas; none where it is empty."""

    def read(value: str) -> tuple[str, ...]:
        names = tuple(part.strip() for part in value.split(",")) if value else ()
        for given in names:
            if given not in allowed:
                raise ValueError(
                    f"has {given!r}, which is none of {', '.join(allowed)}"
                )
        return names

    return read


def whole_number(minimum: int) -> Callable[[str], int]:
    """A whole number from `minimum` to 999999, in digits only."""

    def read(value: str) -> int:
        is_number = re.fullmatch("[0-9]{1,6}", value)
        number = int(value) if is_number else -1
        if number < minimum:
            raise ValueError(
                f"is not a whole number of at least {minimum} and at most {_MAX_NUMBER}"
            )
        return number

    return read


def port(value: str) -> int | None:
    """A TCP port; None where none is named."""
    if not value:
        return None
    is_number = re.fullmatch("[0-9]{1,5}", value)
    number = int(value) if is_number else 0
    if not 1 <= number <= _MAX_PORT:
        raise ValueError(f"is not a port from 1 to {_MAX_PORT}")
    return number


def folder(value: str) -> Path:
    """A folder by its absolute path, since processes run in different folders."""
    path = Path(value)
    if not path.is_absolute():
        raise ValueError("is not an absolute path")
    return path


def absolute_path(value: str) -> str:
    """A file by its absolute path; empty: none is named."""
    if value and not Path(value).is_absolute():
        raise ValueError("is not an absolute path")
    return value


def login(value: str) -> str:
    """A user's name and password."""
    if value and not value.partition(":")[2]:
        raise HiddenValueError("is not user:password")
    return value


def web_addresses(value: str) -> str:
    """Addresses by HTTP, separated by commas; none of them holds a password, which messages would show."""
    for address in value.split(",") if value else ():
        parts = urlsplit(address.strip())
        if parts.username or parts.password:
            raise HiddenValueError(
                "holds a login; set FRESHET_SCHEMA_REGISTRY_LOGIN instead"
            )
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("is not an address such as https://registry.example:8081")
        _ = parts.port
    return value


def ip_address(value: str) -> str:
    """An IP address of version 4 or 6."""
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise ValueError("is not an IP address") from None


def device(value: str) -> str:
    """A device as PyTorch names it, or `auto`."""
    if not re.fullmatch(_DEVICE, value):
        raise ValueError("is not a device; write auto, cpu, cuda, cuda:1 or mps")
    return value


def url(value: str) -> str:
    """A URL of any scheme; which ones there are, the staging store knows."""
    if not re.fullmatch(_URL, value):
        raise ValueError("is not a URL; write file:///folder or s3://bucket/prefix")
    if holds_password(value):
        raise HiddenValueError(
            "holds a user, a password or parameters; credentials belong into the variables of the store (AWS_..., ...)"
        )
    return value


def namespace(value: str) -> str:
    """A Temporal namespace."""
    if not re.fullmatch(NAMESPACE, value):
        raise ValueError(
            "is not a namespace: 1 to 200 of the characters a-z A-Z 0-9 _ . -"
        )
    return value


def endpoint(value: str) -> str:
    """A Nexus endpoint."""
    if not re.fullmatch(ENDPOINT, value):
        raise ValueError(
            "is not an endpoint: a letter, then letters, digits and -, 200 in all, and no - at the end"
        )
    return value


def servers(value: str) -> str:
    """Kafka's bootstrap servers: HOST:PORT, separated by commas."""
    for part in value.split(","):
        server = part.strip()
        if not re.fullmatch(_SERVER, server):
            raise ValueError("is not a list of host:port[,host:port]")
    return value


def connection_string(value: str) -> str:
    """A connection string that libpq reads; empty: the PG* variables say it. It is a secret, so no error shows it."""
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        stated = conninfo_to_dict(value)
    except ProgrammingError:
        raise ValueError(
            "is not a connection string; write postgresql://user:password@host:port/database, "
            "or host=... dbname=..."
        ) from None
    # libpq would look for a host named after the rest of the password, and its error would show it.
    if "@" in str(stated.get("host") or ""):
        raise ValueError(
            "is not a connection string: a password in a URL has its special characters escaped, an @ as %40"
        )
    return value


def properties(value: str) -> dict[str, str]:
    """The lines `name=value` of a file, as librdkafka reads them; empty: no file.

    A value may be a password, so no error shows a line.
    """
    if not value:
        return {}
    try:
        # Windows editors put U+FEFF first.
        content = Path(value).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot be read: {error}") from error
    found: dict[str, str] = {}
    # Only line feeds end a line, since a password may hold any other character.
    for number, line in enumerate(content.split("\n"), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            name, property_value = _property(text)
        except ValueError as error:
            raise ValueError(f"is wrong in line {number}: {error}") from error
        found[name] = property_value
    return found


def _property(line: str) -> tuple[str, str]:
    name, equals, value = line.partition("=")
    if not equals or not name.strip():
        raise ValueError("it is not name=value")
    if "\0" in line:
        raise ValueError("it holds the character U+0000")
    if name.strip() == "check.crcs":
        raise ValueError(
            "check.crcs is not supported: librdkafka passes over a damaged record with it, or ends the process"
        )
    return name.strip(), value.strip()
