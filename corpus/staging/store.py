"""The staging store (claim check): a folder or an object store, by URL.

A write is atomic (a temporary name, then a move); a read verifies the checksum that came with the pointer. In a folder,
links are not followed (`corpus.staging.folder`). Where payload keys are set, files are encrypted
(`corpus.staging.sealing`).
"""

import hashlib
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotSupportedError
from obstore.store import LocalStore, ObjectStore, from_url

from corpus.batch import BatchRef, StagedFile
from corpus.disclosure.error_text import service_text
from corpus.disclosure.key_ring import SETTING
from corpus.errors import ConfigurationError, DependencyError, StagedFileError
from corpus.staging.folder import Folder
from corpus.staging.sealing import ADDED_BYTES, Sealing, is_sealed

_OWNER_ONLY = 0o700
_SHOWN_DIGITS = 12  # of a checksum, in messages
# The largest file that is read: a record of 128 MB with its headers, and what is made of it.
MAX_FILE_BYTES = 512 * 1024**2


# What a reader needs: a name, a checksum, and how many rows the file has.
Pointer = StagedFile | BatchRef


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
        sealing: encrypts what is put; None: files are plain, and encrypted ones cannot be read.

    Raises:
        ConfigurationError: the URL is wrong, or its folder cannot be created.
    """

    def __init__(self, url: str, sealing: Sealing | None = None) -> None:
        self.url = url
        self._sealing = sealing
        try:
            self._folder = _folder_of(url)
            self._store = _open(url, self._folder)
        except (BaseError, OSError, ValueError) as error:
            raise ConfigurationError(
                f"staging store {url!r} cannot be opened: {service_text(error)}"
            ) from error

    @property
    def is_encrypted(self) -> bool:
        """Whether files are encrypted when they are put."""
        return self._sealing is not None

    def put(self, name: str, content: bytes, *, rows: int) -> StagedFile:
        """Write one file; a repeated write of the same name and content changes nothing that a reader sees.

        The pointer is of the content, whether or not the file is encrypted.

        Raises:
            DependencyError: the store does not accept it (full, gone, not allowed); or no key can be kept for it.
        """
        written = content
        if self._sealing is not None:
            written = self._sealing.seal(name, content)
        with self._errors_translated(f"write {name}"):
            obstore.put(self._store, name, written)
        return StagedFile(
            url=name, sha256=_digest(content), rows=rows, file_bytes=len(content)
        )

    def create(self, name: str, content: bytes) -> None:
        """Write a file where there is none, never encrypted; one that is there stays as it is.

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
            StagedFileError: the file is missing, truncated, altered, too large, or no regular file.
            DependencyError: the store does not answer.
        """
        most = MAX_FILE_BYTES
        if isinstance(pointer, StagedFile):
            most = min(most, pointer.file_bytes)
        content = self.read(pointer.url, most)
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

    def read(self, name: str, max_bytes: int = MAX_FILE_BYTES) -> bytes | None:
        """Read one file without a pointer, so unverified; None: it is not there.

        Raises:
            StagedFileError: it has more bytes, or it is a link, a folder, a pipe or a device; or its key is destroyed.
            DependencyError: the store does not answer; or the file is encrypted, and this process lacks its key.
        """
        content = self._read(name, max_bytes + ADDED_BYTES)
        if content is None:
            return None
        if not is_sealed(content):
            _check_size(name, len(content), max_bytes)
            return content
        if self._sealing is None:
            raise DependencyError(
                f"staged file {name} is encrypted, and this process has no payload keys; set {SETTING}"
            )
        return self._sealing.unseal(name, content)

    def _read(self, name: str, max_bytes: int) -> bytes | None:
        with self._errors_translated(f"read {name}"):
            if self._folder is not None:
                return self._folder.read(name, max_bytes)
            try:
                stored = obstore.get(self._store, name)
            except FileNotFoundError:
                return None
            _check_size(name, stored.meta["size"], max_bytes)
            return bytes(stored.bytes())

    def delete(self, names: Sequence[str]) -> int:
        """Remove files, and before them their keys; a missing file is not an error.

        Returns:
            How many names lead through a link, and were left alone.

        Raises:
            DependencyError: the store does not answer or does not allow it.
        """
        if not names:
            return 0
        if self._sealing is not None:
            self._sealing.destroy(names)
        with self._errors_translated(f"remove {len(names)} files"):
            if self._folder is not None:
                return _delete_in(self._folder, names)
            try:
                obstore.delete(self._store, list(names))
            except FileNotFoundError:
                # It stopped at the first file that is missing and left others behind: remove them one by one.
                for name in names:
                    with suppress(FileNotFoundError):
                        obstore.delete(self._store, name)
        return 0

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
            reason = service_text(error)
            raise DependencyError(
                f"staging store cannot {action}: {reason} ({self.url})"
            ) from error


def _folder_of(url: str) -> Folder | None:
    """The folder of a `file://` URL, which is created; None for any other."""
    parts = urlsplit(url)
    if parts.scheme != "file":
        return None
    path = Path(unquote(parts.path))
    path.mkdir(parents=True, exist_ok=True, mode=_OWNER_ONLY)
    return Folder(path)


def _open(url: str, folder: Folder | None) -> ObjectStore:
    if folder is None:
        return from_url(url)
    return LocalStore(prefix=folder.root)


def _delete_in(folder: Folder, names: Sequence[str]) -> int:
    left = 0
    for name in names:
        try:
            folder.delete(name)
        except StagedFileError:
            left += 1
    return left


def _check_size(name: str, size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise StagedFileError(
            f"staged file {name} has {size:,} bytes; {max_bytes:,} are the most"
        )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
