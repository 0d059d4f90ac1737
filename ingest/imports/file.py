"""A file that may be imported, where it comes from, and the mark by which the corpus knows it again."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Protocol

# The field of a document's metadata, and the header of its record.
MARK = "import"
MARK_HEADER = "freshet.import"


class UnreadableFileError(Exception):
    """A file cannot be read now; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStamp:
    """What a listing says of a file: while it stays the same, the file is taken for unchanged."""

    size: int  # bytes
    modified_us: int  # epoch microseconds UTC
    etag: str = ""  # of an object store; a folder has none


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedFile:
    """A file of a listing."""

    path: str  # below the root, with "/"
    stamp: FileStamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What an import leaves in the metadata of a document."""

    root: str  # name of the root that brought it
    stamp: FileStamp
    sha256: str  # of the file's bytes, hex
    prefix: str = ""  # that the import put before its path

    def to_json(self) -> dict[str, Any]:
        """The mark as it is stored."""
        own = {"root": self.root, "prefix": self.prefix, "sha256": self.sha256}
        return own | asdict(self.stamp)

    @classmethod
    def from_json(cls, stored: Any) -> "Mark | None":
        """The mark; None where it is none, or is one of another version of Freshet."""
        try:
            stamp = FileStamp(
                size=int(stored["size"]),
                modified_us=int(stored["modified_us"]),
                etag=str(stored["etag"]),
            )
            root, sha256 = str(stored["root"]), str(stored["sha256"])
            prefix = str(stored.get("prefix", ""))
        except (KeyError, TypeError, ValueError):
            return None
        return cls(root=root, stamp=stamp, sha256=sha256, prefix=prefix)


@dataclass(slots=True, kw_only=True)
class Listing:
    """What a place holds, and what of it is no file to import."""

    files: list[ListedFile] = field(default_factory=list[ListedFile])
    hidden: int = 0  # files and folders whose names begin with a dot
    links: list[str] = field(default_factory=list[str])  # that are not followed
    special: list[str] = field(default_factory=list[str])  # pipes, sockets, devices
    # Folders and files of which nothing is known, with the reason.
    unreadable: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def is_whole(self) -> bool:
        """Whether a file that is not in it is gone: it has files, and nothing kept it from having more."""
        return bool(self.files) and not self.unreadable


class Place(Protocol):
    """Where files are: a folder, or a bucket."""

    address: str  # a URL; the name of the root, unless another one is given

    def list_files(self) -> Listing: ...

    def read(self, file: ListedFile) -> tuple[bytes, FileStamp]: ...

    def uri(self, path: str) -> str: ...

    def covers(self, path: str) -> bool: ...


def is_hidden(path: str) -> bool:
    """Whether a name of a path begins with a dot."""
    return any(part.startswith(".") for part in path.split("/"))


def matches(path: str, pattern: Sequence[str]) -> bool:
    """Whether a path is one of a pattern; `**` stands for any folders, an empty pattern for every path.

    Args:
        path: below the root.
        pattern: parts of a glob.
    """
    return not pattern or _match(path.split("/"), pattern)


def _match(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern:
        return not parts
    first, *rest = pattern
    if first == "**":
        starts = range(len(parts) + 1)
        return any(_match(parts[start:], rest) for start in starts)
    if not parts or not fnmatchcase(parts[0], first):
        return False
    return _match(parts[1:], rest)
