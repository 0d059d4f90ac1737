"""Payload encryption: AES-256-GCM with keys that only the operator holds.

Workflow ids, search attributes and task-queue names stay plain whatever the codec; nothing secret is put there. The
key's id is in each payload's metadata (and is authenticated), so keys can be rotated: the first key of the file
encrypts, every key decrypts.
"""

import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

from corpus.disclosure.key_ring import KeyRing
from corpus.errors import ConfigurationError

_ENCODING = b"binary/encrypted"
_NONCE_BYTES = 12


class EncryptionCodec(PayloadCodec):
    """Encrypts every payload.

    Args:
        keys: the ring, or 32 bytes by id; the first encrypts, every one decrypts.
    """

    def __init__(self, keys: KeyRing | dict[str, bytes]) -> None:
        if not isinstance(keys, KeyRing):
            keys = KeyRing(keys)
        self._ring = keys

    @classmethod
    def from_file(cls, path: str) -> "EncryptionCodec":
        """With the keys of a file.

        Raises:
            ConfigurationError: it cannot be read, or holds no key, or a line is wrong; the message never shows a key.
        """
        return cls(KeyRing.from_file(path))

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypt."""
        return [self._encrypt(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt; plain payloads (from before encryption, from other teams) pass.

        Raises:
            ConfigurationError: a payload's key is not in the file, or the payload was altered.
        """
        return [self._decode(payload) for payload in payloads]

    def _decode(self, payload: Payload) -> Payload:
        encoding = payload.metadata.get("encoding")
        if encoding != _ENCODING:
            return payload
        return self._decrypt(payload)

    def _encrypt(self, payload: Payload) -> Payload:
        name, key = self._ring.newest()
        key_id = name.encode()
        nonce = os.urandom(_NONCE_BYTES)
        encrypted = AESGCM(key).encrypt(nonce, payload.SerializeToString(), key_id)
        metadata = {"encoding": _ENCODING, "key-id": key_id}
        return Payload(metadata=metadata, data=nonce + encrypted)

    def _decrypt(self, payload: Payload) -> Payload:
        key_id = payload.metadata.get("key-id", b"")
        name = key_id.decode(errors="replace")
        key = self._ring.keys().get(name)
        if key is None:
            raise ConfigurationError(
                f"a payload is encrypted with key {name!r}, which is not in the key file"
            )
        nonce, data = payload.data[:_NONCE_BYTES], payload.data[_NONCE_BYTES:]
        try:
            text = AESGCM(key).decrypt(nonce, data, key_id)
        except (InvalidTag, ValueError) as error:  # ValueError: not even a whole nonce
            raise ConfigurationError(
                f"a payload does not decrypt with key {name!r}: it was altered, or the key is another one"
            ) from error
        return Payload.FromString(text)
