"""Payload encryption: AES-256-GCM with keys that only the operator holds.

Workflow ids, search attributes and task-queue names stay plain whatever the codec; nothing secret is put there. The
key's id is in each payload's metadata (and is authenticated), so keys can be rotated: the first key of the file
encrypts, every key decrypts.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

from corpus.disclosure.error_text import public_text
from corpus.disclosure.key_lines import key_lines
from corpus.disclosure.secret import EmptySecretError, SecretFile
from corpus.errors import ConfigurationError

logger = logging.getLogger(__name__)

_ENCODING = b"binary/encrypted"
_NONCE_BYTES = 12
_KEY_BYTES = 32


class EncryptionCodec(PayloadCodec):
    """Encrypts every payload.

    Args:
        keys: 32 bytes by id; the first encrypts, every one decrypts.
    """

    def __init__(self, keys: dict[str, bytes]) -> None:
        self._file: SecretFile | None = None
        self._content = ""
        self._use(keys)

    def _use(self, keys: dict[str, bytes]) -> None:
        if not keys:
            raise ConfigurationError("there is no payload key")
        self._ciphers = {name: AESGCM(key) for name, key in keys.items()}
        self._current = next(iter(keys))

    def _look(self) -> None:
        """Use the keys that the file has now; one that is wrong, as while it is written, changes nothing."""
        if self._file is None:
            return
        content = self._file.read()
        if content == self._content:
            return
        self._content = content
        try:
            self._use(_keys_of(content, "FRESHET_PAYLOAD_KEYS"))
        except ConfigurationError as error:
            logger.warning(
                "payload keys were not read again: %s",
                error,
                extra={"action": "credentials"},
            )

    @classmethod
    def from_file(cls, path: str) -> "EncryptionCodec":
        """Read the keys of a file: one `id=base64 of 32 bytes` per line, newest first.

        Raises:
            ConfigurationError: it cannot be read, or holds no key, or a line is wrong; the message never shows a key.
        """
        shown = f"FRESHET_PAYLOAD_KEYS={path!r}"
        try:
            file = SecretFile(Path(path))
        except EmptySecretError as error:
            raise ConfigurationError(f"{shown}: there is no payload key") from error
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"{shown} cannot be read: {public_text(error)}"
            ) from error
        content = file.read()
        codec = cls(_keys_of(content, shown))
        codec._file = file
        codec._content = content
        return codec

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypt."""
        self._look()
        return [self._encrypt(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt; plain payloads (from before encryption, from other teams) pass.

        Raises:
            ConfigurationError: a payload's key is not in the file, or the payload was altered.
        """
        self._look()
        return [self._decode(payload) for payload in payloads]

    def _decode(self, payload: Payload) -> Payload:
        encoding = payload.metadata.get("encoding")
        if encoding != _ENCODING:
            return payload
        return self._decrypt(payload)

    def _encrypt(self, payload: Payload) -> Payload:
        key_id = self._current.encode()
        cipher = self._ciphers[self._current]
        nonce = os.urandom(_NONCE_BYTES)
        encrypted = cipher.encrypt(nonce, payload.SerializeToString(), key_id)
        metadata = {"encoding": _ENCODING, "key-id": key_id}
        return Payload(metadata=metadata, data=nonce + encrypted)

    def _decrypt(self, payload: Payload) -> Payload:
        key_id = payload.metadata.get("key-id", b"")
        name = key_id.decode(errors="replace")
        cipher = self._ciphers.get(name)
        if cipher is None:
            raise ConfigurationError(
                f"a payload is encrypted with key {name!r}, which is not in the key file"
            )
        nonce, data = payload.data[:_NONCE_BYTES], payload.data[_NONCE_BYTES:]
        try:
            text = cipher.decrypt(nonce, data, key_id)
        except (InvalidTag, ValueError) as error:  # ValueError: not even a whole nonce
            raise ConfigurationError(
                f"a payload does not decrypt with key {name!r}: it was altered, or the key is another one"
            ) from error
        return Payload.FromString(text)


def _keys_of(content: str, shown: str) -> dict[str, bytes]:
    """The keys of a file, by their ids, newest first.

    Raises:
        ConfigurationError: a line is wrong, or there is no key.
    """
    keys: dict[str, bytes] = {}
    for line in key_lines(content):
        place = f"{shown}, line {line.number}"
        name, key = line.name, line.key
        if not name or len(key) != _KEY_BYTES:
            raise ConfigurationError(
                f"{place}: expected id=base64 of {_KEY_BYTES} bytes"
            )
        if name in keys:
            raise ConfigurationError(
                f"{place}: key {name!r} appears twice; give a new key a new id"
            )
        keys[name] = key
    if not keys:
        raise ConfigurationError(f"{shown}: there is no payload key")
    return keys
