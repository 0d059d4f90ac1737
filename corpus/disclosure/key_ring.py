"""The payload keys of a file, newest first: the first encrypts, every one decrypts. A changed file is read again."""

import logging
from pathlib import Path

from corpus.disclosure.error_text import public_text
from corpus.disclosure.key_lines import key_lines
from corpus.disclosure.secret import EmptySecretError, SecretFile
from corpus.errors import ConfigurationError

logger = logging.getLogger(__name__)

SETTING = "FRESHET_PAYLOAD_KEYS"
KEY_BYTES = 32


class KeyRing:
    """Keys by their ids.

    Args:
        keys: 32 bytes by id; the first encrypts.

    Raises:
        ConfigurationError: there is none.
    """

    def __init__(self, keys: dict[str, bytes]) -> None:
        if not keys:
            raise ConfigurationError("there is no payload key")
        self._keys = keys
        self._file: SecretFile | None = None
        self._content = ""

    @classmethod
    def from_file(cls, path: str) -> "KeyRing":
        """Read the keys of a file: one `id=base64 of 32 bytes` per line, newest first.

        Raises:
            ConfigurationError: it cannot be read, or holds no key, or a line is wrong; the message never shows a key.
        """
        shown = f"{SETTING}={path!r}"
        try:
            file = SecretFile(Path(path))
        except EmptySecretError as error:
            raise ConfigurationError(f"{shown}: there is no payload key") from error
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"{shown} cannot be read: {public_text(error)}"
            ) from error
        content = file.read()
        ring = cls(_keys_of(content, shown))
        ring._file = file
        ring._content = content
        return ring

    def keys(self) -> dict[str, bytes]:
        """The keys that the file has now; a file that is wrong, as while it is written, changes nothing."""
        if self._file is None:
            return self._keys
        content = self._file.read()
        if content != self._content:
            self._content = content
            self._read_again(content)
        return self._keys

    def newest(self) -> tuple[str, bytes]:
        """Id and key of the one that encrypts."""
        return next(iter(self.keys().items()))

    def _read_again(self, content: str) -> None:
        try:
            self._keys = _keys_of(content, SETTING)
        except ConfigurationError as error:
            logger.warning(
                "payload keys were not read again: %s",
                error,
                extra={"action": "credentials"},
            )


def _keys_of(content: str, shown: str) -> dict[str, bytes]:
    """The keys of a file, by their ids, newest first.

    Raises:
        ConfigurationError: a line is wrong, or there is no key.
    """
    keys: dict[str, bytes] = {}
    for line in key_lines(content):
        place = f"{shown}, line {line.number}"
        name, key = line.name, line.key
        if not name or len(key) != KEY_BYTES:
            raise ConfigurationError(
                f"{place}: expected id=base64 of {KEY_BYTES} bytes"
            )
        if name in keys:
            raise ConfigurationError(
                f"{place}: key {name!r} appears twice; give a new key a new id"
            )
        keys[name] = key
    if not keys:
        raise ConfigurationError(f"{shown}: there is no payload key")
    return keys
