"""A disk that is full: a file system of a few megabytes in memory."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_BALLAST = "ballast"


class SmallDisk:
    """A mounted file system.

    Attributes:
        folder: where it is mounted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, *, leave: int = 0) -> None:
        """Leave only so many bytes, and less than a block more."""
        state = os.statvfs(self.folder)
        free = state.f_bavail * state.f_frsize
        with (self.folder / _BALLAST).open("ab") as ballast:
            ballast.write(bytes(max(0, free - leave)))

    def free(self) -> None:
        """Take away what `fill` has written."""
        (self.folder / _BALLAST).unlink()


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Mount it for the length of the block; this needs root, or sudo without a password."""
    folder.mkdir(mode=0o700)
    _administer("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "tmpfs", str(folder))
    try:
        _administer("chown", str(os.getuid()), str(folder))
        yield SmallDisk(folder)
    finally:
        _administer("umount", "--lazy", str(folder))


def _administer(*command: str) -> None:
    as_root = () if os.geteuid() == 0 else ("sudo", "-n")
    done = subprocess.run([*as_root, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"this test mounts a file system, which needs root: {done.stderr.strip()}")
