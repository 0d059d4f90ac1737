"""A staging store that is a folder: nothing outside of it is read or removed, and nothing is waited for."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from corpus.batch import StagedFile
from corpus.errors import StagedFileError
from corpus.staging import folder as folder_module
from corpus.staging.folder import Folder
from corpus.staging.store import MAX_FILE_BYTES, StagingStore
from tests.support.orders import DIGEST

NAME = "events/s/t/0/0-1-00.parquet"
SECRET = b"of another source"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder of a store, beside a file that is none of it."""
    root = tmp_path / "staging"
    (root / NAME).parent.mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / Path(NAME).name).write_bytes(SECRET)
    return root


def link_the_file(root: Path) -> None:
    (root / NAME).symlink_to(root.parent / "outside" / Path(NAME).name)


def link_its_folder(root: Path) -> None:
    parent = (root / NAME).parent
    parent.rmdir()
    parent.symlink_to(root.parent / "outside")


def make_a_folder(root: Path) -> None:
    (root / NAME).mkdir()


def make_a_pipe(root: Path) -> None:
    os.mkfifo(root / NAME)


def make_a_socket(root: Path) -> None:
    here = Path.cwd()
    os.chdir((root / NAME).parent)  # the path of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(Path(NAME).name)
    finally:
        os.chdir(here)


TRAPS = [link_the_file, link_its_folder, make_a_folder, make_a_pipe, make_a_socket]


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.__name__)
def test_what_is_no_file_below_the_folder_is_refused(
    trap: Callable[[Path], None], root: Path
) -> None:
    trap(root)
    store = StagingStore(root.as_uri())
    pointer = StagedFile(url=NAME, sha256=DIGEST, rows=1, file_bytes=100)
    with pytest.raises(StagedFileError, match=r"link|folder, pipe or device"):
        store.get(pointer)


def test_nothing_is_removed_through_a_link(root: Path) -> None:
    link_its_folder(root)
    assert StagingStore(root.as_uri()).delete([NAME, "../outside/x"]) == 2
    assert (root.parent / "outside" / Path(NAME).name).read_bytes() == SECRET


def test_the_root_may_be_reached_through_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    store = StagingStore((tmp_path / "link").as_uri())
    assert store.get(store.put(NAME, b"content", rows=1)) == b"content"
    assert store.delete([NAME]) == 0
    assert store.read(NAME) is None


@pytest.mark.parametrize("name", ["../outside/x", "/etc/passwd", "a//b", "a/./b", "", "a\0b"])
def test_a_name_is_below_the_folder(name: str, root: Path) -> None:
    with pytest.raises(StagedFileError, match="no name below the store"):
        Folder(root).read(name, MAX_FILE_BYTES)


def test_a_larger_file_than_stated_is_not_read(root: Path) -> None:
    store = StagingStore(root.as_uri())
    staged = store.put(NAME, b"content", rows=1)
    os.truncate(root / NAME, 10 * 1024**3)  # it takes no room on the disk
    with pytest.raises(StagedFileError, match="10,737,418,240 bytes; 51 are the most"):
        store.get(staged)
    with pytest.raises(StagedFileError, match="are the most"):
        store.read(NAME)


def test_a_file_that_grows_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / NAME).write_bytes(b"content")
    fstat = os.fstat

    def then_grow(descriptor: int) -> os.stat_result:
        status = fstat(descriptor)
        with (root / NAME).open("ab") as file:
            file.write(b"more")
        return status

    monkeypatch.setattr(folder_module.os, "fstat", then_grow)
    with pytest.raises(StagedFileError, match="changes while it is read"):
        Folder(root).read(NAME, MAX_FILE_BYTES)
