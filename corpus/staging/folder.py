"""Read and remove files of a staging store that is a folder, without following a link out of it.

An object store has no links, devices or folders. A folder has, and a library that opens a path follows them. So each
part of a name is opened below the one before, and only a regular file is read.
"""

import errno
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from corpus.errors import StagedFileError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
# Without waiting: opening a pipe would wait for its writer.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
_NO_FOLDER = frozenset({errno.ELOOP, errno.ENOTDIR})


class Folder:
    """The folder of a store; it may itself be reached through a link, what is below may not.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, name: str, max_bytes: int) -> bytes | None:
        """Read one file; None: it is not there.

        Raises:
            StagedFileError: it is not a regular file below the folder, is too large, or grows while it is read.
            OSError: the folder cannot be read.
        """
        try:
            with self._parent_of(name) as (parent, last):
                return _read(
                    parent,
                    last,
                    name,
                    max_bytes,
                )
        except FileNotFoundError:
            return None

    def delete(self, name: str) -> None:
        """Remove one file, which may be missing; a link is removed, not what it leads to.

        Raises:
            StagedFileError: the way to it leads through a link.
            OSError: the folder does not allow it.
        """
        try:
            with self._parent_of(name) as (parent, last):
                os.unlink(last, dir_fd=parent)
        except FileNotFoundError:
            return

    @contextmanager
    def _parent_of(self, name: str) -> Generator[tuple[int, str]]:
        """The open folder that a file is in, and the file's name in it."""
        *parents, last = _parts_of(name)
        folder = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for part in parents:
                inner = _open_below(folder, part, name)
                os.close(folder)
                folder = inner
            yield folder, last
        finally:
            os.close(folder)


def _parts_of(name: str) -> list[str]:
    parts = name.split("/")
    if any(part in {"", ".", ".."} or "\x00" in part for part in parts):
        raise StagedFileError(f"staged file {name!r} is no name below the store")
    return parts


def _open_below(folder: int, part: str, name: str) -> int:
    try:
        return os.open(part, _FOLDER, dir_fd=folder)
    except OSError as error:
        if error.errno in _NO_FOLDER:
            raise StagedFileError(
                f"staged file {name}: {part} is a link or no folder; it is not followed"
            ) from error
        raise


def _read(parent: int, last: str, name: str, max_bytes: int) -> bytes:
    # Looked at before it is opened: to open a device may do something.
    _check(os.stat(last, dir_fd=parent, follow_symlinks=False), name, max_bytes)
    with os.fdopen(os.open(last, _FILE, dir_fd=parent), "rb") as file:
        status = os.fstat(file.fileno())
        _check(status, name, max_bytes)
        content = file.read(status.st_size + 1)
    if len(content) != status.st_size:
        raise StagedFileError(f"staged file {name} changes while it is read")
    return content


def _check(status: os.stat_result, name: str, max_bytes: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = stat.filemode(status.st_mode)[0]
        raise StagedFileError(
            f"staged file {name} is a link, folder, pipe or device ({kind}), not a file"
        )
    size = status.st_size
    is_too_large = size > max_bytes
    if is_too_large:
        raise StagedFileError(
            f"staged file {name} has {size:,} bytes; {max_bytes:,} are the most"
        )
