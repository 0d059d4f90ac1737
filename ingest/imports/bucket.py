"""The files of a bucket: `s3://`, `gs://`, `az://`, and whatever else obstore lists."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url

from corpus.disclosure.error_text import service_text
from corpus.errors import ConfigurationError, DependencyError
from ingest.imports.file import (
    FileStamp,
    ListedFile,
    Listing,
    UnreadableFileError,
    is_hidden,
    matches,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ERRORS = (BaseError, OSError)


class BucketPlace:
    """A bucket, or what is below a prefix of it.

    Args:
        url: of it; credentials come from the environment, as obstore documents it.
        pattern: parts of a glob below it; empty: every object.
        hidden: whether names that begin with a dot are taken.

    Raises:
        ConfigurationError: obstore does not know such a URL.
    """

    def __init__(
        self, url: str, *, pattern: Sequence[str] = (), hidden: bool = False
    ) -> None:
        self.address = url.rstrip("/")
        self._pattern = pattern
        self._hidden = hidden
        try:
            self._store = from_url(self.address)
        except (*_ERRORS, ValueError) as error:
            raise ConfigurationError(
                f"{self.address} cannot be opened: {service_text(error)}"
            ) from error

    def covers(self, path: str) -> bool:
        """Whether the listing has this path, if the object is there."""
        if is_hidden(path) and not self._hidden:
            return False
        return matches(path, self._pattern)

    def uri(self, path: str) -> str:
        """The address of an object."""
        return f"{self.address}/{path}"

    def list_files(self) -> Listing:
        """The objects in the order of their paths.

        Raises:
            DependencyError: the store does not answer, or does not allow it; a part of a listing is none.
        """
        listing = Listing()
        try:
            # The stub of `list` names a type of a package that is not installed (arro3).
            pages = obstore.list(self._store)  # pyright: ignore[reportUnknownMemberType]
            for entry in itertools.chain.from_iterable(pages):
                stamp = _stamp(entry["size"], entry["last_modified"], entry["e_tag"])
                self._take(listing, ListedFile(path=entry["path"], stamp=stamp))
        except _ERRORS as error:
            raise DependencyError(
                f"{self.address} cannot be listed: {service_text(error)}"
            ) from error
        listing.files.sort(key=lambda file: file.path)
        return listing

    def read(self, file: ListedFile) -> tuple[bytes, FileStamp]:
        """The bytes of an object, and its stamp when they were read.

        Raises:
            UnreadableFileError: it cannot be read, or grew meanwhile.
        """
        try:
            stored = obstore.get(self._store, file.path)
            meta = stored.meta
            size = meta["size"]
            modified = meta["last_modified"]
            stamp = _stamp(size, modified, meta["e_tag"])
            if stamp.size > file.stamp.size:
                raise UnreadableFileError(
                    "it grew since it was listed; import it again"
                )
            return bytes(stored.bytes()), stamp
        except _ERRORS as error:
            raise UnreadableFileError(service_text(error)) from error

    def _take(self, listing: Listing, file: ListedFile) -> None:
        if is_hidden(file.path) and not self._hidden:
            listing.hidden += 1
        elif matches(file.path, self._pattern):
            listing.files.append(file)


def _stamp(size: int, modified: datetime, etag: str | None) -> FileStamp:
    since_epoch = modified - _EPOCH
    modified_us = since_epoch // timedelta(microseconds=1)
    return FileStamp(size=size, modified_us=modified_us, etag=_quoted(etag or ""))


def _quoted(etag: str) -> str:
    """As HTTP has it: listings of Azure leave the quotes out, and every file would seem to differ from the read one."""
    if not etag or '"' in etag:
        return etag
    return f'"{etag}"'
