"""Staged files where payload keys are set: nothing of them is readable without the key that goes with the file."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from corpus.database import open_pool
from corpus.disclosure.key_ring import KeyRing
from corpus.erase.finisher import EraseFinisher
from corpus.errors import DependencyError, StagedFileError
from corpus.staging.sealing import Sealing
from corpus.staging.store import StagingStore
from corpus.staging.sweep import Sweeper
from tests.service.test_erasure import CANARY, SECRET, found_in_tables, receipt_of
from tests.support.pipeline import Pipeline, make_event

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
Rotate = Callable[[dict[str, bytes]], StagingStore]


@pytest.fixture
def sealed(database_url: str, tmp_path: Path, cleaner: object) -> Iterator[Pipeline]:
    keys = {"first": OLD}
    with Pipeline(database_url, tmp_path / "staging", cleaner=cleaner, payload_keys=keys) as made:
        yield made


@pytest.fixture
def with_keys(sealed: Pipeline) -> Iterator[Rotate]:
    """The store as a process with other payload keys opens it."""
    with open_pool(sealed.database_url, size=1) as pool:
        yield lambda keys: StagingStore(sealed.store.url, Sealing(pool, KeyRing(keys)))


def keys_left(pipeline: Pipeline) -> int:
    [[count]] = pipeline.connection.execute("SELECT count(*) FROM freshet.staged_key").fetchall()
    return count


def test_a_batch_leaves_no_readable_byte_and_no_key(sealed: Pipeline, tmp_path: Path) -> None:
    ref = sealed.stage(sealed.records([make_event(CANARY, 1, SECRET)]))
    prepared = sealed.prepare([ref], 1)
    files = sorted((tmp_path / "staging").rglob("*.parquet"))
    assert len(files) == keys_left(sealed) == 5
    for file in files:
        content = file.read_bytes()
        assert not {b"PAR1", CANARY.encode(), SECRET.encode()} & {content[:4], content}
        assert b"PAR1" not in content[:40]
    sealed.embed(prepared)
    assert sealed.publish([ref], prepared, 1).applied == 1
    assert sealed.visible()[CANARY][1] == SECRET
    assert keys_left(sealed) == 0


def test_copies_of_the_store_are_unreadable_after_an_erasure(
    sealed: Pipeline, tmp_path: Path
) -> None:
    """Also by who has the database and the payload keys of now, whenever the copy was made."""
    store, copies = tmp_path / "staging", tmp_path / "backup"
    sealed.ingest(make_event(CANARY, 1, f"{SECRET} before"))
    left_behind = sealed.stage(sealed.records([make_event(CANARY, 2, SECRET)]))
    shutil.copytree(store, copies)
    sealed.run(left_behind)
    in_flight = sealed.stage(sealed.records([make_event(CANARY, 3, SECRET)]))
    prepared = sealed.prepare([in_flight], 99)
    shutil.copytree(store, copies, dirs_exist_ok=True)
    names = sorted(str(file.relative_to(copies)) for file in copies.rglob("*.parquet"))
    assert len(names) == 6
    # Until the erasure, such a copy can be read: the test can fail.
    assert SECRET.encode() not in (copies / in_flight.url).read_bytes()
    assert sealed.store.read(in_flight.url) is not None
    sealed.erase(CANARY)
    sealed.embed(prepared)
    sealed.publish([in_flight], prepared, 99)
    assert EraseFinisher(store=sealed.store, pool=sealed.pool).finish_all() == 1
    assert receipt_of(sealed)["staging_store"] == "encrypted"
    assert keys_left(sealed) == 0
    shutil.copytree(copies, store, dirs_exist_ok=True)  # the backup is restored
    for name in names:
        with pytest.raises(StagedFileError, match="was removed, and its key with it") as refused:
            sealed.store.read(name)
        assert refused.value.is_missing
    assert found_in_tables(sealed.connection, CANARY, SECRET) == {}


def test_the_receipt_counts_the_keys_and_says_which_kind_of_store(sealed: Pipeline) -> None:
    ref = sealed.stage(sealed.records([make_event(CANARY, 1, SECRET)]))
    sealed.run(ref)
    sealed.store.put(ref.url, b"left behind", rows=1)
    sealed.erase(CANARY)
    receipt = receipt_of(sealed)
    assert receipt["staging_store"] == "encrypted"
    assert (receipt["removed"]["staged_files"], receipt["removed"]["staged_keys"]) == (1, 1)


def test_without_payload_keys_files_are_plain_and_the_receipt_says_so(pipeline: Pipeline) -> None:
    ref = pipeline.stage(pipeline.records([make_event(CANARY, 1, SECRET)]))
    assert (pipeline.store.read(ref.url) or b"").startswith(b"PAR1")
    pipeline.run(ref)
    pipeline.erase(CANARY)
    receipt = receipt_of(pipeline)
    assert (receipt["staging_store"], receipt["removed"]["staged_keys"]) == ("plain", 0)


def test_files_from_before_the_keys_are_read(sealed: Pipeline, with_keys: Rotate) -> None:
    plain = StagingStore(sealed.store.url)
    file = plain.put("events/s/s/0/0-1-ab.parquet", b"plain", rows=1)
    assert sealed.store.get(file) == b"plain"
    again = sealed.store.put(file.url, b"plain", rows=1)
    assert again == file
    with pytest.raises(DependencyError, match="has no payload keys; set FRESHET_PAYLOAD_KEYS"):
        plain.get(file)


def test_payload_keys_are_rotated(sealed: Pipeline, with_keys: Rotate) -> None:
    file = sealed.store.put("a", b"content", rows=1)
    rotated = with_keys({"second": NEW, "first": OLD})
    assert rotated.get(file) == b"content"
    newer = rotated.put("b", b"newer", rows=1)
    with pytest.raises(DependencyError, match="needs payload key 'second', which is not in"):
        sealed.store.get(newer)
    # A repeated write keeps the key that the name has, so that whoever reads meanwhile can.
    assert rotated.put("a", b"content", rows=1) == file
    assert sealed.store.get(file) == b"content"


@pytest.mark.parametrize("place", [16, 40, -1], ids=["nonce", "content", "tag"])
def test_an_altered_or_exchanged_file_is_refused(
    sealed: Pipeline, tmp_path: Path, place: int
) -> None:
    one = sealed.store.put("one", b"the same content", rows=1)
    other = sealed.store.put("other", b"the same content", rows=1)
    path = tmp_path / "staging" / one.url
    content = bytearray(path.read_bytes())
    path.write_bytes((tmp_path / "staging" / other.url).read_bytes())
    with pytest.raises(StagedFileError, match="does not decrypt"):
        sealed.store.get(one)
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(StagedFileError, match="does not decrypt"):
        sealed.store.get(one)


def test_a_pointer_is_of_the_content(sealed: Pipeline) -> None:
    file = sealed.store.put("one", b"content", rows=1)
    assert file == StagingStore("memory:///").put("one", b"content", rows=1)
    with pytest.raises(StagedFileError, match="was altered"):
        sealed.store.get(replace(file, sha256="0" * 64))


def test_keys_of_files_that_never_came_go_with_the_sweep(sealed: Pipeline) -> None:
    sealed.store.put("events/s/s/0/0-1-ab.parquet", b"there", rows=1)
    sealed.connection.execute(
        "INSERT INTO freshet.staged_key (name, key_id, sealed_key) VALUES ('lost', 'first', '')"
    )
    sealed.connection.execute("UPDATE freshet.staged_key SET made_at = now() - interval '2 days'")
    sweeper = Sweeper(sealed.store, sealed.pool)
    swept = sweeper.remove(sweeper.find(datetime.now(UTC), timedelta(days=9)), {})
    assert (swept.removed, keys_left(sealed)) == (0, 1)
