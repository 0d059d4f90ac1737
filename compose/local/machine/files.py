"""Files of the local stack: readable by their owner only, replaced as a whole, locked by one process at a time."""

import fcntl
import os
import pwd
import stat
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from corpus.errors import ConfigurationError

OWNER_ONLY = 0o700
_WRITABLE_BY_OTHERS = 0o022


def make_private_folder(path: Path) -> Path:
    """Make a folder that only its owner can read: it holds a password and documents.

    Raises:
        ConfigurationError: it is there already, and belongs to others, or is a link, or others can write to it.
    """
    path.mkdir(parents=True, exist_ok=True, mode=OWNER_ONLY)
    require_own(path, *_helpers())
    return path


def require_own(path: Path, *owners: int) -> None:
    """Refuse what another user may have put in the way: where its name is known, anyone can be there first.

    Args:
        path: of a folder.
        owners: user ids that it may belong to, beside that of this process.

    Raises:
        ConfigurationError: it is a link, belongs to another user, or others can write to it.
    """
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise ConfigurationError(
            f"{path} is no folder (a link is refused); remove it, or choose another place"
        )
    if status.st_uid not in (os.geteuid(), *owners):
        raise ConfigurationError(
            f"{path} belongs to user {status.st_uid}, not to you; choose another place"
        )
    if status.st_mode & _WRITABLE_BY_OTHERS:
        mode = stat.S_IMODE(status.st_mode)
        raise ConfigurationError(
            f"others can write to {path} (mode {mode:o}); `chmod 700 {path}`, or choose another place"
        )


def nobody() -> int:
    """The user that PostgreSQL runs as where root cannot run it otherwise."""
    return pwd.getpwnam("nobody").pw_uid


def _helpers() -> tuple[int, ...]:
    """Users beside this process's that may own its folders: root gives `nobody` the one of PostgreSQL."""
    if os.geteuid() != 0:
        return ()
    return (nobody(),)


def write_private(path: Path, text: str) -> None:
    """Replace a file by one that only its owner can read.

    A reader sees the old text or the new text, never a part of it, also after a crash.
    """
    make_private_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    temporary.unlink(missing_ok=True)  # of a process before with the same number
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(temporary, flags, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as output:
            output.write(text)
            output.flush()
            os.fsync(output.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def try_lock(path: Path) -> int | None:
    """Take a lock file without waiting.

    The system releases the lock when its holder ends, however it ends.

    Returns:
        The descriptor, which releases the lock when it is closed; None if another process holds the lock.
    """
    descriptor = _open_lock(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def locked(path: Path) -> Generator[None, None, None]:
    """Wait for a lock file and hold it for the length of the block."""
    descriptor = _open_lock(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def cache_home() -> Path:
    """The folder of downloads that all stacks of a user share: XDG's cache directory."""
    cache = os.environ.get("XDG_CACHE_HOME")
    parent = Path(cache) if cache else Path.home() / ".cache"
    return parent / "freshet"


def _open_lock(path: Path) -> int:
    make_private_folder(path.parent)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
