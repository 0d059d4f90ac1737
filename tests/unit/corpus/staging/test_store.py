"""The staging store on a folder."""

from dataclasses import replace
from pathlib import Path

import pytest

from corpus.errors import StagedFileError
from corpus.staging.store import StagingStore


@pytest.fixture
def store(tmp_path: Path) -> StagingStore:
    return StagingStore((tmp_path / "a folder").as_uri())


def test_a_file_is_verified(store: StagingStore) -> None:
    staged = store.put("batches/s/1/events.parquet", b"content", rows=1)
    assert store.get(staged) == b"content"
    with pytest.raises(StagedFileError, match="altered"):
        store.get(replace(staged, sha256="0" * 64))
    store.delete([staged.url])
    with pytest.raises(StagedFileError, match="missing"):
        store.get(staged)


def test_missing_files_do_not_keep_the_others(store: StagingStore) -> None:
    """Two batches may name one file, and clean-up is tried again after a crash."""
    names = [f"events/s/{n}.parquet" for n in range(50)]
    for name in names:
        store.put(name, b"x", rows=1)
    store.delete(names[::2])
    store.delete(names)
    assert store.names("events") == []
