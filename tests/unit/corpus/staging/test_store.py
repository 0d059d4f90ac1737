"""The staging store on a folder."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from obstore.exceptions import BaseError

from corpus.errors import ConfigurationError, DependencyError, StagedFileError
from corpus.staging import store as store_module
from corpus.staging.sealing import is_sealed
from corpus.staging.store import StagingStore


@pytest.fixture
def store(tmp_path: Path) -> StagingStore:
    return StagingStore((tmp_path / "a folder").as_uri())


def test_a_file_is_verified(store: StagingStore) -> None:
    staged = store.put("batches/s/1/events.parquet", b"content", rows=1)
    assert (staged.rows, staged.file_bytes) == (1, 7)
    assert store.get(staged) == b"content"
    with pytest.raises(StagedFileError, match="was altered"):
        store.get(replace(staged, sha256="0" * 64))
    store.delete([staged.url])
    with pytest.raises(StagedFileError, match="is missing"):
        store.get(staged)


def test_a_truncated_file_is_an_error(store: StagingStore, tmp_path: Path) -> None:
    staged = store.put("events/s/f.parquet", b"content", rows=1)
    (tmp_path / "a folder" / staged.url).write_bytes(b"conten")
    with pytest.raises(StagedFileError, match="was altered"):
        store.get(staged)


def test_a_repeated_write_changes_nothing(store: StagingStore) -> None:
    first = store.put("events/s/f.parquet", b"content", rows=1)
    assert store.put("events/s/f.parquet", b"content", rows=1) == first
    assert store.names("events") == ["events/s/f.parquet"]


def test_an_empty_file_is_a_file(store: StagingStore) -> None:
    assert store.get(store.put("events/s/empty", b"", rows=0)) == b""


def test_missing_files_do_not_keep_the_others(store: StagingStore) -> None:
    """Two batches may name one file, and clean-up is tried again after a crash."""
    names = [f"events/s/{n}.parquet" for n in range(50)]
    for name in names:
        store.put(name, b"x", rows=1)
    store.delete(names[::2])
    store.delete(names)
    assert store.names("events") == []
    store.delete([])


def test_a_prefix_is_a_whole_folder(store: StagingStore) -> None:
    """The files of source `a` are not those of source `ab`."""
    store.put("events/a/1", b"x", rows=1)
    store.put("events/ab/1", b"x", rows=1)
    assert store.names("events/a") == ["events/a/1"]
    assert store.names("events/none") == []


def test_no_other_user_can_read_the_folder(store: StagingStore, tmp_path: Path) -> None:
    assert store.url.endswith("a%20folder")
    assert stat.S_IMODE((tmp_path / "a folder").stat().st_mode) == 0o700


@pytest.mark.parametrize("url", ["", "no-scheme", "gopher://host/x", "file:///proc/version/folder"])
def test_a_url_that_cannot_be_opened_is_named(url: str) -> None:
    with pytest.raises(ConfigurationError, match=f"staging store '{url}' cannot be opened"):
        StagingStore(url)


def test_a_store_that_does_not_answer_is_a_dependency_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = StagingStore("memory:///")
    staged = store.put("events/s/f", b"content", rows=1)

    def fail(*_: object, **__: object) -> None:
        raise BaseError("503 slow down")

    for function in ("put", "get", "delete", "list"):
        monkeypatch.setattr(store_module.obstore, function, fail)
    for action, call in {
        "write events/s/f": lambda: store.put("events/s/f", b"content", rows=1),
        "read events/s/f": lambda: store.get(staged),
        "remove 2 files": lambda: store.delete(["a", "b"]),
        "list events": lambda: store.names("events"),
    }.items():
        with pytest.raises(DependencyError, match=f"cannot {action}: 503 slow down"):
            call()


def test_a_folder_that_is_a_file_by_now_is_a_dependency_error(
    store: StagingStore, tmp_path: Path
) -> None:
    (tmp_path / "a folder" / "events").write_text("in the way")
    with pytest.raises(DependencyError, match="cannot write events/s/f"):
        store.put("events/s/f", b"content", rows=1)


@given(st.binary(max_size=200))
def test_any_content_comes_back(content: bytes) -> None:
    assume(not is_sealed(content))  # Parquet begins otherwise
    store = StagingStore("memory:///")
    assert store.get(store.put("events/s/f", content, rows=1)) == content
