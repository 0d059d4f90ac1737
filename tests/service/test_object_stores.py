"""The staging store, and documents that events point to, in a real server of S3's protocol."""

import hashlib
import urllib.request
from collections.abc import Iterator

import pytest

from corpus.dead_letter import DeadLetterReason
from corpus.errors import DependencyError, StagedFileError
from corpus.fetch.fetcher import Fetcher
from corpus.fetch.result import Fetched, FetchRequest, NotFetched, Outcome, StillTheSame, Validators
from corpus.specs.fetch import FetchSpec
from corpus.staging.store import StagingStore
from ingest.imports.bucket import BucketPlace
from ingest.imports.file import UnreadableFileError
from tests.support.object_store import s3_server

pytestmark = [pytest.mark.service, pytest.mark.timeout(120)]
STORES = FetchSpec(stores=("s3://bucket/docs",))


@pytest.fixture(scope="module")
def store() -> Iterator[StagingStore]:
    with pytest.MonkeyPatch.context() as patch, s3_server() as variables:
        for name, value in variables.items():
            patch.setenv(name, value)
        url = f"{variables['AWS_ENDPOINT_URL']}/bucket"
        urllib.request.urlopen(urllib.request.Request(url, method="PUT")).close()
        yield StagingStore("s3://bucket/docs")


def fetch(path: str, known: Validators | None = None, max_bytes: int = 1_000) -> Outcome:
    request = FetchRequest(row=0, url=f"s3://bucket/{path}", known=known)
    [result] = Fetcher(STORES, max_bytes).fetch([request])
    return result.outcome


def test_the_staging_store(store: StagingStore) -> None:
    staging = StagingStore("s3://bucket/staging")
    file = staging.put("events/s/t/0/0-1-ab.parquet", b"content", rows=1)
    assert staging.get(file) == b"content"
    staging.put("events/s/t/0/0-1-ab.parquet", b"altered", rows=1)
    with pytest.raises(StagedFileError, match="altered"):
        staging.get(file)
    staging.create("mark", b"one")
    staging.create("mark", b"two")
    assert staging.read("mark") == b"one"
    assert staging.names("events/s") == ["events/s/t/0/0-1-ab.parquet"]
    staging.delete(["events/s/t/0/0-1-ab.parquet", "events/s/none"])
    assert staging.names("events/s") == []
    with pytest.raises(StagedFileError, match="missing"):
        staging.get(file)


def test_documents(store: StagingStore) -> None:
    store.put("a b.txt", b"The first text.", rows=0)
    fetched = fetch("docs/a%20b.txt")
    assert isinstance(fetched, Fetched)
    assert fetched.sha256 == hashlib.sha256(b"The first text.").digest()
    known = fetched.validators
    assert isinstance(fetch("docs/a%20b.txt", known), StillTheSame)
    store.put("a b.txt", b"The second text.", rows=0)
    changed = fetch("docs/a%20b.txt", known)
    assert isinstance(changed, Fetched)
    assert changed.size == 16
    too_large = fetch("docs/a%20b.txt", max_bytes=15)
    missing = fetch("docs/missing.txt")
    other = fetch("other/a.txt")
    reasons = [one.reason for one in (too_large, missing, other) if isinstance(one, NotFetched)]
    assert reasons == [
        DeadLetterReason.TOO_LARGE,
        DeadLetterReason.FETCH_FAILED,
        DeadLetterReason.FETCH_REFUSED,
    ]


def test_what_is_missing_is_told_from_what_is_refused(store: StagingStore) -> None:
    """Before a document is withdrawn, its origin is asked: only a missing one is gone."""
    missing, other = fetch("docs/never-there.txt"), fetch("other/a.txt")
    assert isinstance(missing, NotFetched)
    assert isinstance(other, NotFetched)
    assert (missing.is_missing, other.is_missing) == (True, False)


def test_an_import_lists_and_reads_a_bucket(store: StagingStore) -> None:
    files = {"a b.md": b"One.", "deep/\u00fc+\u00e4&.md": b"Two.", "100%25.txt": b"Three."}
    for name, content in {**files, ".hidden": b"No."}.items():
        StagingStore("s3://bucket/imported").put(name, content, rows=0)
    place = BucketPlace("s3://bucket/imported")
    listing = place.list_files()
    assert ([file.path for file in listing.files], listing.hidden) == (sorted(files), 1)
    for file in listing.files:
        content, stamp = place.read(file)
        assert (content, stamp) == (files[file.path], file.stamp)
        assert stamp.etag
    [first, *_] = listing.files
    StagingStore("s3://bucket/imported").delete([first.path])
    with pytest.raises(UnreadableFileError):
        place.read(first)
    with pytest.raises(DependencyError, match="cannot be listed"):
        BucketPlace("s3://no-such-bucket/imported").list_files()
    pattern = BucketPlace("s3://bucket/imported", pattern=("**", "*.md")).list_files()
    assert [file.path for file in pattern.files] == sorted({*files} - {first.path, "100%25.txt"})
