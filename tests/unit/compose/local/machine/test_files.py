"""Files are private and whole, and a lock has one holder."""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from compose.local.machine.files import (
    cache_home,
    locked,
    make_private_folder,
    try_lock,
    write_private,
)
from corpus.errors import ConfigurationError

_HOLDER = """
import fcntl, os, sys
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(descriptor, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_folder_and_its_files_are_for_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "secret"
    before = os.umask(0)
    try:
        write_private(path, "päßword\n")
        make_private_folder(tmp_path / "c")
    finally:
        os.umask(before)
    assert path.read_text(encoding="utf-8") == "päßword\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "c").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("kind", "says"),
    [("link", "a link is refused"), ("file", "no folder"), ("open", "others can write to")],
)
def test_what_another_user_may_have_put_in_the_way_is_refused(
    tmp_path: Path, kind: str, says: str
) -> None:
    path = tmp_path / "home"
    match kind:
        case "link":
            (tmp_path / "theirs").mkdir()
            path.symlink_to(tmp_path / "theirs")
        case "file":
            path.write_text("")
        case _:
            path.mkdir()
            path.chmod(0o1777)
    with pytest.raises((ConfigurationError, FileExistsError)) as caught:
        make_private_folder(path)
    assert says in str(caught.value) or isinstance(caught.value, FileExistsError)


def test_a_folder_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(ConfigurationError, match="belongs to user"):
        make_private_folder(tmp_path)


def test_links_in_the_place_of_files_are_not_followed(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_text("theirs")
    (tmp_path / "lock").symlink_to(theirs)
    with pytest.raises(OSError, match="symbolic links"):
        try_lock(tmp_path / "lock")
    (tmp_path / "file").symlink_to(theirs)
    write_private(tmp_path / "file", "ours")
    assert theirs.read_text() == "theirs"
    assert not (tmp_path / "file").is_symlink()


def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "stack.json"
    write_private(path, "old")

    def fail(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write_private(path, "new" * 1000)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["stack.json"]


def test_readers_see_one_whole_text(tmp_path: Path) -> None:
    path = tmp_path / "file"
    texts = [letter * 20_000 for letter in "abc"]
    write_private(path, texts[0])
    done = threading.Event()

    def write() -> None:
        for number in range(60):
            write_private(path, texts[number % 3])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        assert path.read_text() in texts
    writer.join()


def test_a_link_is_replaced_and_its_target_is_not_written(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("untouched")
    link = tmp_path / "link"
    link.symlink_to(target)
    write_private(link, "new")
    assert (link.read_text(), target.read_text()) == ("new", "untouched")


def test_a_lock_has_one_holder_until_it_is_released(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lock"
    first = try_lock(path)
    assert first is not None
    assert try_lock(path) is None
    os.close(first)
    again = try_lock(path)
    assert again is not None
    os.close(again)


def test_a_killed_holder_releases_its_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert try_lock(path) is None
        holder.kill()
        holder.wait()
    with locked(path):  # does not wait
        assert try_lock(path) is None


def test_a_block_that_fails_releases_its_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with pytest.raises(ZeroDivisionError), locked(path):
        raise ZeroDivisionError
    descriptor = try_lock(path)
    assert descriptor is not None
    os.close(descriptor)


def test_the_cache_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_home() == tmp_path / "freshet"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache_home() == Path.home() / ".cache" / "freshet"
