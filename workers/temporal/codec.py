"""Payload encryption: AES-256-GCM with keys that only the operator holds.

Workflow ids, search attributes and task-queue names stay plain whatever the codec; nothing secret is put there. Key ids
stand in each payload's metadata (and are authenticated), so keys can be rotated: the first key of the file encrypts,
every key decrypts.
"""

import base64
import os
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

from corpus.errors import ConfigurationError

_ENCODING = b"binary/encrypted"
_NONCE_BYTES = 12


class EncryptionCodec(PayloadCodec):
    """Encrypts every payload."""

    def __init__(self, keys: dict[str, bytes]) -> None:
        if not keys:
            raise ConfigurationError("there is no payload key")
        self._ciphers = {name: AESGCM(key) for name, key in keys.items()}
        self._current = next(iter(keys))

    @classmethod
    def from_file(cls, path: str) -> "EncryptionCodec":
        """Read `id=base64 of 32 bytes` a line, newest first."""
        keys: dict[str, bytes] = {}
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"FRESHET_PAYLOAD_KEYS={path!r} cannot be read: {error}"
            ) from error
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.startswith("#"):
                continue
            name, _, encoded = line.strip().partition("=")
            try:
                key = base64.b64decode(encoded, validate=True)
            except ValueError:
                key = b""
            if not name or len(key) != 32:
                raise ConfigurationError(f"{path}:{number}: expected id=base64 of 32 bytes")
            if name in keys:
                raise ConfigurationError(
                    f"{path}:{number}: key {name!r} stands there twice; give a new key a new id"
                )
            keys[name] = key
        return cls(keys)

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypt."""
        return [self._encrypt(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt; plain payloads (from before encryption, from other teams) pass."""
        return [
            self._decrypt(payload) if payload.metadata.get("encoding") == _ENCODING else payload
            for payload in payloads
        ]

    def _encrypt(self, payload: Payload) -> Payload:
        nonce = os.urandom(_NONCE_BYTES)
        name = self._current.encode()
        data = nonce + self._ciphers[self._current].encrypt(
            nonce, payload.SerializeToString(), name
        )
        return Payload(metadata={"encoding": _ENCODING, "key-id": name}, data=data)

    def _decrypt(self, payload: Payload) -> Payload:
        name = payload.metadata.get("key-id", b"")
        cipher = self._ciphers.get(name.decode(errors="replace"))
        if cipher is None:
            raise ConfigurationError(
                f"a payload is encrypted with key {name.decode(errors='replace')!r}, which is not in the key file"
            )
        try:
            plain = cipher.decrypt(payload.data[:_NONCE_BYTES], payload.data[_NONCE_BYTES:], name)
        except InvalidTag as error:
            raise ConfigurationError(
                f"a payload does not decrypt with key {name.decode()!r}: the key is another one"
            ) from error
        return Payload.FromString(plain)
