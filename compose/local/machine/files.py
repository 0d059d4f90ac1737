"""Files of the local stack: readable by their owner only, replaced as a whole, locked by one process at a time."""

import fcntl
import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


def make_private_folder(path: Path) -> Path:
    """Make a folder that only its owner can read: it holds a password and documents."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def write_private(path: Path, text: str) -> None:
    """Replace a file by one that only its owner can read.

    A reader sees the old text or the new text, never a part of it, also after a crash.
    """
    make_private_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
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
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
