"""The staging store (claim check): a folder or an object store, by URL.

A put is atomic (temporary name, then moved), a get verifies the checksum that came with the pointer.
"""

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, from_url

from corpus.batch import StagedFile
from corpus.errors import ConfigurationError, DependencyError, StagedFileError


class Pointer(Protocol):
    """What a reader needs: a name and a checksum (`BatchRef` and `StagedFile` both have them)."""

    @property
    def url(self) -> str: ...
    @property
    def sha256(self) -> str: ...


class StagingStore:
    """Files between the steps.

    Args:
        url: `file:///folder`, `s3://bucket/prefix`, or what else obstore knows. A folder is made where it is missing,
            readable by its owner only.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        parts = urlsplit(url)
        try:
            if parts.scheme == "file":
                folder = Path(unquote(parts.path))
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._store = LocalStore(prefix=folder)
            else:
                self._store = from_url(url)
        except (BaseError, OSError, ValueError) as error:
            raise ConfigurationError(f"staging store {url!r} cannot be opened: {error}") from error

    def put(self, name: str, content: bytes, *, rows: int) -> StagedFile:
        """Write one file; the same name with the same content may be written again.

        Raises:
            DependencyError: the store does not take it (full, gone, not allowed).
        """
        try:
            obstore.put(self._store, name, content)
        except (BaseError, OSError) as error:
            raise DependencyError(
                f"staging store {self.url} does not take {name}: {error}"
            ) from error
        return StagedFile(
            url=name, sha256=hashlib.sha256(content).hexdigest(), rows=rows, file_bytes=len(content)
        )

    def get(self, pointer: Pointer) -> bytes:
        """Read one file and verify it.

        Raises:
            StagedFileError: it is missing, cut or altered.
            DependencyError: the store does not answer.
        """
        try:
            content = bytes(obstore.get(self._store, pointer.url).bytes())
        except (NotFoundError, FileNotFoundError) as error:
            raise StagedFileError(
                f"staged file {pointer.url} is missing from {self.url}"
            ) from error
        except (BaseError, OSError) as error:
            raise DependencyError(
                f"staging store {self.url} does not give {pointer.url}: {error}"
            ) from error
        digest = hashlib.sha256(content).hexdigest()
        if digest != pointer.sha256:
            raise StagedFileError(
                f"staged file {pointer.url} was altered: sha256 {digest[:12]}..., expected {pointer.sha256[:12]}..."
            )
        return content

    def delete(self, names: list[str]) -> None:
        """Remove files; missing ones are no error."""
        try:
            try:
                obstore.delete(self._store, names)
            except (NotFoundError, FileNotFoundError):
                # It gave up at the first one that is missing and left others behind: one by one.
                for name in names:
                    with suppress(NotFoundError, FileNotFoundError):
                        obstore.delete(self._store, name)
        except (BaseError, OSError) as error:
            raise DependencyError(
                f"staging store {self.url} does not remove {len(names)} files: {error}"
            ) from error

    def names(self, prefix: str) -> list[str]:
        """Names under a prefix."""
        return [
            entry["path"] for page in obstore.list(self._store, prefix=prefix) for entry in page
        ]
