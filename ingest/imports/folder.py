"""The files of a folder on this machine. Links do not lead out of it, and nothing but regular files is opened."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from corpus.errors import ConfigurationError
from ingest.imports.file import (
    FileStamp,
    ListedFile,
    Listing,
    UnreadableFileError,
    is_hidden,
    matches,
)

_OPENED = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class FolderPlace:
    """A folder.

    Args:
        root: the folder.
        pattern: parts of a glob below it; empty: every file.
        only: paths below it; None: every file of the pattern.
        hidden: whether names that begin with a dot are taken.

    Raises:
        ConfigurationError: there is no such folder.
    """

    def __init__(
        self,
        root: Path,
        *,
        pattern: Sequence[str] = (),
        only: Sequence[str] | None = None,
        hidden: bool = False,
    ) -> None:
        try:
            self._root = root.resolve(strict=True)
        except (OSError, RuntimeError) as error:
            raise ConfigurationError(f"there is no folder {root}") from error
        self._pattern = pattern
        self._only = only
        self._hidden = hidden
        self.address = self._root.as_uri()

    def covers(self, path: str) -> bool:
        """Whether the listing has this path, if the file is there."""
        if self._only is not None or (is_hidden(path) and not self._hidden):
            return False
        return matches(path, self._pattern)

    def uri(self, path: str) -> str:
        """The address of a file."""
        return (self._root / path).as_uri()

    def list_files(self) -> Listing:
        """The files in the order of their paths."""
        listing = Listing()
        if self._only is None:
            self._walk(listing)
        else:
            for path in self._only:
                found = self._root / path
                self._take(listing, found, path)
        listing.files.sort(key=lambda file: file.path)
        return listing

    def read(self, file: ListedFile) -> tuple[bytes, FileStamp]:
        """The bytes of a file, and its stamp when they were read.

        Raises:
            UnreadableFileError: it cannot be read, or changed meanwhile.
        """
        try:
            return self._read(file)
        except (OSError, RuntimeError) as error:
            raise UnreadableFileError(_reason(error)) from error

    def _read(self, file: ListedFile) -> tuple[bytes, FileStamp]:
        path = (self._root / file.path).resolve(strict=True)
        if not path.is_relative_to(self._root):
            raise UnreadableFileError("it is a link that leads out of the folder")
        descriptor = os.open(path, _OPENED)
        with os.fdopen(descriptor, "rb") as opened:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise UnreadableFileError("it is no regular file any more")
            # One byte more than the file has shows that it grows.
            content = opened.read(before.st_size + 1)
            after = os.fstat(descriptor)
        read = _stamp(after)
        if read != _stamp(before) or len(content) != read.size:
            raise UnreadableFileError("it changed while it was read; import it again")
        if read.size > file.stamp.size:
            raise UnreadableFileError("it grew since it was listed; import it again")
        return content, read

    # ── listing ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _walk(self, listing: Listing) -> None:
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            try:
                with os.scandir(self._root / folder) as opened:
                    entries = list(opened)
            except OSError as error:
                listing.unreadable[_shown(folder) or "."] = _reason(error)
                continue
            for entry in entries:
                name = entry.name
                path = f"{folder}{name}"
                if is_hidden(name) and not self._hidden:
                    listing.hidden += 1
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{path}/")
                elif matches(path, self._pattern):
                    self._take(listing, Path(entry.path), path)

    def _take(self, listing: Listing, found: Path, path: str) -> None:
        """Add a file, or say why it is none."""
        shown = _shown(path)
        if shown != path:
            listing.unreadable[shown] = "its name is not UTF-8"
            return
        try:
            target = found.resolve(strict=True)
            status = target.stat()
        except (OSError, RuntimeError) as error:
            listing.unreadable[path] = _reason(error)
            return
        is_link = target != found
        if is_link and not _is_file_inside(target, self._root):
            listing.links.append(path)
        elif stat.S_ISREG(status.st_mode):
            listing.files.append(ListedFile(path=path, stamp=_stamp(status)))
        else:
            listing.special.append(path)


def _is_file_inside(target: Path, root: Path) -> bool:
    """Whether a link may be followed. The files of a folder inside are listed where they are."""
    return target.is_relative_to(root) and not target.is_dir()


def _stamp(status: os.stat_result) -> FileStamp:
    return FileStamp(size=status.st_size, modified_us=status.st_mtime_ns // 1_000)


def _shown(path: str) -> str:
    """A path as text; bytes of a name that are not UTF-8 become escapes."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "its links lead in a circle"
