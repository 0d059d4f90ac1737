"""What a person names (files, a folder, a glob, a URL) → the place that is listed."""

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from corpus.errors import ConfigurationError
from ingest.imports.bucket import BucketPlace
from ingest.imports.file import Place
from ingest.imports.folder import FolderPlace

_WILDCARDS = frozenset("*?[")


def place_of(names: Sequence[str], *, root: Path | None, hidden: bool) -> Place:
    """The place.

    Args:
        names: one folder, one glob, one URL, or files.
        root: folder that the paths of files are relative to; None: the current one.
        hidden: whether names that begin with a dot are taken.

    Raises:
        ConfigurationError: a name is none of these, or is not below the root.
    """
    if any("://" in name for name in names):
        return _of_url(_only(names), root, hidden=hidden)
    if any(map(os.path.isdir, names)):
        _refuse_root(root)
        return FolderPlace(Path(_only(names)), hidden=hidden)
    if any(map(_is_glob_of_files, names)):
        _refuse_root(root)
        base, pattern = _split(_only(names))
        return FolderPlace(Path(base or "."), pattern=pattern, hidden=hidden)
    return _of_files(list(map(Path, names)), root, hidden=hidden)


def _only(names: Sequence[str]) -> str:
    if len(names) > 1:
        raise ConfigurationError(
            "give one folder, one glob (in quotes) or one URL, or only files"
        )
    return names[0]


def _refuse_root(root: Path | None) -> None:
    if root is not None:
        raise ConfigurationError(
            "--root is for files; a folder, a glob and a URL have their own"
        )


def _of_url(name: str, root: Path | None, *, hidden: bool) -> Place:
    _refuse_root(root)
    base, pattern = _split(name)
    parts = urlsplit(base)
    if parts.password or parts.query:
        raise ConfigurationError(
            "a URL with credentials would be kept in the documents; give them in the environment, as obstore reads them"
        )
    if parts.scheme == "file":
        path = unquote(parts.path)
        folder = Path(path)
        return FolderPlace(folder, pattern=pattern, hidden=hidden)
    if parts.scheme in ("http", "https"):
        raise ConfigurationError(
            f"{base}: files behind {parts.scheme} cannot be listed; send events with their `content_url`"
        )
    return BucketPlace(base, pattern=pattern, hidden=hidden)


def _of_files(paths: Sequence[Path], root: Path | None, *, hidden: bool) -> Place:
    folder = (root or Path()).absolute()
    only: list[str] = []
    for path in paths:
        if not os.path.lexists(path):
            raise ConfigurationError(f"there is no file {path}")
        inside = Path(os.path.normpath(path.absolute()))
        if not inside.is_relative_to(folder):
            raise ConfigurationError(
                f"{path} is not below {folder}; --root names the folder that its id is relative to"
            )
        only.append(inside.relative_to(folder).as_posix())
    return FolderPlace(folder, only=list(dict.fromkeys(only)), hidden=hidden)


def _is_glob(name: str) -> bool:
    return not _WILDCARDS.isdisjoint(name)


def _is_glob_of_files(name: str) -> bool:
    """Whether it is a glob, and not the name of a file that looks like one."""
    return _is_glob(name) and not os.path.lexists(name)


def _split(name: str) -> tuple[str, list[str]]:
    """The part before the first wildcard, and the parts of the pattern from it on."""
    parts = name.split("/")
    for number, part in enumerate(parts):
        if _is_glob(part):
            base = "/".join(parts[:number])
            is_top = number == 1 and not parts[0]
            return ("/" if is_top else base), parts[number:]
    return name, []
