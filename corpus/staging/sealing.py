"""Staged files that are encrypted: each with a key of its own, which goes when the file goes.

The key is in the database, encrypted with the newest payload key, and nowhere else. So whoever has a copy of the
staging store needs the database of that time and the payload keys; what was removed since, also for an erasure, is
unreadable in every copy of the store (crypto-shredding).
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from psycopg.rows import class_row
from psycopg_pool import ConnectionPool

from corpus.database import Connection, database_errors_translated, fetch_one
from corpus.disclosure.key_ring import KEY_BYTES, SETTING, KeyRing
from corpus.errors import DependencyError, StagedFileError
from corpus.sql import query

_MARK = b"freshet sealed 1"  # no Parquet file begins so
_NONCE_BYTES = 12
_TAG_BYTES = 16
ADDED_BYTES = len(_MARK) + _NONCE_BYTES + _TAG_BYTES
"""By which an encrypted file is larger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _SealedKey:
    """A row of `freshet.staged_key`."""

    key_id: str
    sealed_key: bytes


class Sealing:
    """Encrypts and decrypts staged files.

    Args:
        pool: of connections of its own: a file is read while its reader holds a connection of another pool.
        ring: the payload keys.
    """

    def __init__(self, pool: ConnectionPool[Connection], ring: KeyRing) -> None:
        self._pool = pool
        self._ring = ring

    def seal(self, name: str, content: bytes) -> bytes:
        """Encrypt a file. A repeated write of a name uses the key that the name has.

        Raises:
            DependencyError: PostgreSQL does not answer, or this process lacks the payload key.
        """
        key_id, payload_key = self._ring.newest()
        key = os.urandom(KEY_BYTES)
        values = {
            "name": name,
            "key_id": key_id,
            "sealed_key": _encrypted(payload_key, key, name),
        }
        with database_errors_translated(), self._pool.connection() as connection:
            row = fetch_one(connection, class_row(_SealedKey), "staged_key", values)
        assert row is not None, "the row is made where it is missing"
        return _MARK + _encrypted(self._unsealed(row, name), content, name)

    def unseal(self, name: str, content: bytes) -> bytes:
        """Decrypt a file that `seal` made.

        Raises:
            StagedFileError: its key is destroyed, since the file was removed; or it was altered.
            DependencyError: PostgreSQL does not answer, or this process lacks the payload key.
        """
        values = {"name": name}
        with database_errors_translated(), self._pool.connection() as connection:
            row = fetch_one(connection, class_row(_SealedKey), "find_key", values)
        if row is None:
            raise StagedFileError(
                f"staged file {name} was removed, and its key with it", is_missing=True
            )
        return _decrypted(self._unsealed(row, name), content[len(_MARK) :], name)

    def destroy(self, names: Sequence[str]) -> None:
        """Remove the keys of files, before the files.

        Raises:
            DependencyError: PostgreSQL does not answer.
        """
        values = {"names": list(names)}
        with database_errors_translated(), self._pool.connection() as connection:
            connection.execute(query("destroy_keys"), values)

    def _unsealed(self, row: _SealedKey, name: str) -> bytes:
        payload_key = self._ring.keys().get(row.key_id)
        if payload_key is None:
            raise DependencyError(
                f"staged file {name} needs payload key {row.key_id!r}, which is not in the file of {SETTING}"
            )
        return _decrypted(payload_key, row.sealed_key, name)


def is_sealed(content: bytes) -> bool:
    """Whether a file is encrypted."""
    return content.startswith(_MARK)


def _encrypted(key: bytes, content: bytes, name: str) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, content, name.encode())


def _decrypted(key: bytes, content: bytes, name: str) -> bytes:
    nonce, data = content[:_NONCE_BYTES], content[_NONCE_BYTES:]
    try:
        return AESGCM(key).decrypt(nonce, data, name.encode())
    except (InvalidTag, ValueError) as error:  # ValueError: not even a whole nonce
        raise StagedFileError(
            f"staged file {name} does not decrypt: it was altered, or its key is another one"
        ) from error
