"""The staging store (claim check): a folder or an object store, by URL.

A write is atomic (a temporary name, then a move); a read verifies the checksum that came with the pointer.
"""

import hashlib
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotSupportedError
from obstore.store import LocalStore, ObjectStore, from_url

from corpus.batch import StagedFile
from corpus.errors import ConfigurationError, DependencyError, StagedFileError

_OWNER_ONLY = 0o700
_SHOWN_DIGITS = 12  # of a checksum, in messages


class Pointer(Protocol):
    """What a reader needs: a name and a checksum (`BatchRef` and `StagedFile` both have them)."""

    @property
    def url(self) -> str: ...
    @property
    def sha256(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file as the store lists it."""

    name: str
    file_bytes: int
    written_at: datetime  # by the store's clock; writing it again makes it young


class StagingStore:
    """Files between the steps.

    Args:
        url: `file:///folder`, `s3://bucket/prefix`, or another URL that obstore knows. A folder that does not exist is
            created, readable by its owner only.

    Raises:
        ConfigurationError: the URL is wrong, or its folder cannot be created.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            self._store = _open(url)
        except (BaseError, OSError, ValueError) as error:
            raise ConfigurationError(
                f"staging store {url!r} cannot be opened: {error}"
            ) from error

    def put(self, name: str, content: bytes, *, rows: int) -> StagedFile:
        """Write one file; a repeated write of the same name and content changes nothing.

        Raises:
            DependencyError: the store does not accept it (full, gone, not allowed).
        """
        with self._errors_translated(f"write {name}"):
            obstore.put(self._store, name, content)
        return StagedFile(
            url=name, sha256=_digest(content), rows=rows, file_bytes=len(content)
        )

    def create(self, name: str, content: bytes) -> None:
        """Write a file where there is none; one that is there stays as it is.

        Raises:
            DependencyError: the store does not accept it (full, gone, not allowed).
        """
        with self._errors_translated(f"write {name}"):
            try:
                obstore.put(self._store, name, content, mode="create")
            except AlreadyExistsError:
                return
            except NotSupportedError:
                # A store without conditional writes: whoever writes last has written.
                obstore.put(self._store, name, content)

    def get(self, pointer: Pointer) -> bytes:
        """Read one file and verify it.

        Raises:
            StagedFileError: the file is missing, truncated or altered.
            DependencyError: the store does not answer.
        """
        content = self.read(pointer.url)
        if content is None:
            raise StagedFileError(
                f"staged file {pointer.url} is missing from {self.url}",
                is_missing=True,
            )
        digest = _digest(content)
        if digest != pointer.sha256:
            raise StagedFileError(
                f"staged file {pointer.url} was altered: its sha256 is {digest[:_SHOWN_DIGITS]}..., "
                f"expected {pointer.sha256[:_SHOWN_DIGITS]}..."
            )
        return content

    def read(self, name: str) -> bytes | None:
        """Read one file without a pointer, so unverified; None: it is not there.

        Raises:
            DependencyError: the store does not answer.
        """
        with self._errors_translated(f"read {name}"):
            try:
                return bytes(obstore.get(self._store, name).bytes())
            except FileNotFoundError:
                return None

    def delete(self, names: Sequence[str]) -> None:
        """Remove files; a missing file is not an error.

        Raises:
            DependencyError: the store does not answer or does not allow it.
        """
        with self._errors_translated(f"remove {len(names)} files"):
            try:
                obstore.delete(self._store, list(names))
            except FileNotFoundError:
                # It stopped at the first file that is missing and left others behind: remove them one by one.
                for name in names:
                    with suppress(FileNotFoundError):
                        obstore.delete(self._store, name)

    def names(self, prefix: str) -> list[str]:
        """Names under a prefix, which is a whole folder name.

        Raises:
            DependencyError: the store does not answer.
        """
        return [file.name for file in self.files(prefix)]

    def files(self, prefix: str) -> list[StoredFile]:
        """Files under a prefix, which is a whole folder name.

        Raises:
            DependencyError: the store does not answer.
        """
        with self._errors_translated(f"list {prefix}"):
            # The stub of `list` names a type of a package that is not installed (arro3).
            pages = obstore.list(self._store, prefix)  # pyright: ignore[reportUnknownMemberType]
            return [
                StoredFile(
                    name=entry["path"],
                    file_bytes=entry["size"],
                    written_at=entry["last_modified"],
                )
                for page in pages
                for entry in page
            ]

    @contextmanager
    def _errors_translated(self, action: str) -> Generator[None]:
        try:
            yield
        except (BaseError, OSError) as error:
            # The first line says it; those that follow repeat it as a structure of the library.
            reason = str(error).partition("\n")[0]
            raise DependencyError(
                f"staging store cannot {action}: {reason} ({self.url})"
            ) from error


def _open(url: str) -> ObjectStore:
    parts = urlsplit(url)
    if parts.scheme != "file":
        return from_url(url)
    folder = Path(unquote(parts.path))
    folder.mkdir(parents=True, exist_ok=True, mode=_OWNER_ONLY)
    return LocalStore(prefix=folder)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
