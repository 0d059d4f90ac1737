"""A value that no output shows: neither `repr`, nor `str`, nor JSON, nor a trace has it."""

import hmac
import logging
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from typing_extensions import override

from corpus.disclosure.error_text import public_text

logger = logging.getLogger(__name__)

HIDDEN = "***"


class Secret:
    """A secret text; `reveal` is called where it is used, each time.

    Args:
        read: returns the text. It may change: a secret in a file is read again.
    """

    __slots__ = ("_read",)

    def __init__(self, read: Callable[[], str]) -> None:
        self._read = read

    @classmethod
    def of(cls, text: str) -> "Secret":
        """A secret that does not change."""
        return cls(lambda: text)

    def reveal(self) -> str:
        """The text itself, for the library that needs it."""
        return self._read()

    def map(self, change: Callable[[str], str]) -> "Secret":
        """A secret that is made of this one, whenever it is revealed."""
        return Secret(lambda: change(self.reveal()))

    def __repr__(self) -> str:
        return HIDDEN

    def __format__(self, format_spec: str) -> str:
        return format(HIDDEN, format_spec)

    def __bool__(self) -> bool:
        return bool(self.reveal())

    def __eq__(self, other: object) -> bool:
        """Whether the texts are equal, in a time that does not depend on where they differ."""
        if isinstance(other, Secret):
            other = other.reveal()
        if not isinstance(other, str):
            return NotImplemented
        return hmac.compare_digest(self.reveal().encode(), other.encode())

    def __hash__(self) -> int:
        return hash(self.reveal())

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not written down")

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, _memo: object) -> "Secret":
        return self


def revealed(text: str | Secret) -> str:
    """The text of what may be a secret."""
    if isinstance(text, Secret):
        return text.reveal()
    return text


class EmptySecretError(ValueError):
    """A file holds no secret."""


class SecretFile:
    """A secret in a file, read again when the file changes.

    A file that cannot be read, or is empty, as while it is being replaced, leaves the secret as it was.

    Args:
        path: of the file; a line break at its end is no part of the secret.

    Raises:
        OSError: the file cannot be read.
        EmptySecretError: it is empty.
        ValueError: it is not UTF-8.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp = self._stamp_of_file()
        self._text = self._read_file()

    def read(self) -> str:
        """The secret as the file has it now."""
        with self._lock:
            try:
                stamp = self._stamp_of_file()
                if stamp != self._stamp:
                    self._text = self._read_file()
                    self._stamp = stamp
            except (OSError, ValueError) as error:
                extra = {"action": "secret_not_read", "file": str(self._path)}
                logger.warning(
                    "a secret was not read again: %s", public_text(error), extra=extra
                )
            return self._text

    def _stamp_of_file(self) -> tuple[int, int, int]:
        status = self._path.stat()
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _read_file(self) -> str:
        # Windows editors put U+FEFF first.
        text = self._path.read_text(encoding="utf-8-sig").rstrip("\r\n")
        if not text:
            raise EmptySecretError
        return text


class HiddenValues(dict[str, str]):
    """Properties of which some are secrets: their names are shown, no value is."""

    @override
    def __repr__(self) -> str:
        return repr(dict.fromkeys(self, HIDDEN))


_PASSWORD_OF_SETTINGS = re.compile(
    r"((?:ssl)?password\s*=\s*)('(?:[^'\\]|\\.)*'?|\S+)", re.IGNORECASE
)
_SCHEME = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]*://")
_PASSWORD_OF_QUERY = re.compile(r"([?&](?:ssl)?password=)[^&]*", re.IGNORECASE)


def without_password(address: str) -> str:
    """An address for people: a password in a URL or a connection string becomes `***`."""
    if _SCHEME.match(address) is None:
        return _PASSWORD_OF_SETTINGS.sub(rf"\1{HIDDEN}", address)
    address = _PASSWORD_OF_QUERY.sub(rf"\1{HIDDEN}", address)
    scheme, _, rest = address.partition("://")
    # A password that holds a slash or an @ is not escaped as it should be; no part of it is shown.
    user_and_password, at, host = rest.rpartition("@")
    user, colon, _ = user_and_password.partition(":")
    if not at or not colon:
        return address
    return f"{scheme}://{user}:{HIDDEN}@{host}"


def holds_password(url: str) -> bool:
    """Whether a URL has a user, a password or parameters, each of which may be a credential."""
    parts = urlsplit(url)
    return "@" in parts.netloc or bool(parts.query)
