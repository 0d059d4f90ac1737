"""What is listed: links do not lead out, nothing special is opened, a glob takes what it says, a name is a place."""

import os
from pathlib import Path
from typing import Any

import pytest
from obstore.store import MemoryStore

from corpus.errors import ConfigurationError, DependencyError
from ingest.imports import bucket
from ingest.imports.bucket import BucketPlace
from ingest.imports.file import FileStamp, ListedFile, UnreadableFileError, matches
from ingest.imports.folder import FolderPlace
from ingest.imports.places import place_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "docs"
    (root / "a" / "b").mkdir(parents=True)
    (root / ".git").mkdir()
    for path in ("one.md", "a/two.md", "a/b/three.txt", ".git/config", "a/.hidden"):
        (root / path).write_text(path, encoding="utf-8")
    return root


def listed(place: Any) -> list[str]:
    return [file.path for file in place.list_files().files]


def test_a_folder_lists_its_files_and_counts_hidden_names(root: Path) -> None:
    listing = FolderPlace(root).list_files()
    assert [file.path for file in listing.files] == ["a/b/three.txt", "a/two.md", "one.md"]
    assert listing.hidden == 2
    assert listing.is_whole
    assert len(listed(FolderPlace(root, hidden=True))) == 5


def test_links_do_not_lead_out(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    (root / "out.txt").symlink_to(tmp_path / "secret.txt")
    (root / "up").symlink_to(tmp_path)
    (root / "loop").symlink_to(root)
    (root / "inside.md").symlink_to(root / "one.md")
    (root / "dangling.md").symlink_to(root / "nothing")
    (root / "circle").symlink_to(root / "circle")
    os.mkfifo(root / "pipe")
    listing = FolderPlace(root).list_files()
    assert "inside.md" in [file.path for file in listing.files]
    assert sorted(listing.links) == ["loop", "out.txt", "up"]
    assert listing.special == ["pipe"]
    assert set(listing.unreadable) == {"dangling.md", "circle"}
    assert not listing.is_whole


def test_a_link_that_is_put_in_after_the_listing_is_not_followed(
    root: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    place = FolderPlace(root)
    [file] = [file for file in place.list_files().files if file.path == "one.md"]
    (root / "one.md").unlink()
    (root / "one.md").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(UnreadableFileError, match="leads out of the folder"):
        place.read(file)
    (root / "one.md").unlink()
    os.mkfifo(root / "one.md")
    with pytest.raises(UnreadableFileError, match="no regular file"):
        place.read(file)
    (root / "one.md").unlink()
    with pytest.raises(UnreadableFileError, match="No such file"):
        place.read(file)


def test_a_name_that_is_not_utf8_is_named(root: Path) -> None:
    (Path(os.fsdecode(os.fsencode(root) + b"/bad-\xff.txt"))).write_text("x", encoding="utf-8")
    assert FolderPlace(root).list_files().unreadable == {"bad-\\xff.txt": "its name is not UTF-8"}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.md", ["one.md"]),
        ("**/*.md", ["a/two.md", "one.md"]),
        ("a/**", ["a/b/three.txt", "a/two.md"]),
        ("[a-b]/*", ["a/two.md"]),
        ("**/b/*.txt", ["a/b/three.txt"]),
        ("?.md", []),
    ],
)
def test_globs(root: Path, pattern: str, expected: list[str]) -> None:
    place = place_of([f"{root}/{pattern}"], root=None, hidden=False)
    paths = listed(place)
    prefix = "" if pattern[0] != "a" else "a/"
    assert [prefix + path for path in paths] == expected


def test_an_empty_pattern_is_every_path() -> None:
    assert matches("a/b", ())
    assert not matches("a/b", ("a",))


def test_files_have_ids_below_their_root(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root / "a")
    assert listed(place_of(["two.md", "./b/three.txt"], root=None, hidden=False)) == [
        "b/three.txt",
        "two.md",
    ]
    assert listed(place_of(["two.md", "two.md"], root=root, hidden=False)) == ["a/two.md"]
    assert not place_of(["two.md"], root=None, hidden=False).covers("b/three.txt")
    with pytest.raises(ConfigurationError, match="is not below"):
        place_of(["../one.md"], root=None, hidden=False)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["missing.md"], "there is no file missing.md"),
        (["https://example.org/x"], "cannot be listed"),
        (["s3://key:secret@bucket/x"], "would be kept in the documents"),
        (["nope://x"], "cannot be opened"),
        (["s3://a", "s3://b"], "give one folder"),
        (["file:///does/not/exist"], "there is no folder"),
        (["/does/not/exist/*.md"], "there is no folder"),
    ],
)
def test_what_is_no_place_is_refused(names: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        place_of(names, root=None, hidden=False)
    assert "secret" not in str(caught.value)


def test_a_bucket_lists_and_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    for path in ("a/one.pdf", "two.md", ".hidden/x"):
        store.put(path, path.encode())
    monkeypatch.setattr(bucket, "from_url", lambda _: store)
    place = BucketPlace("s3://b/docs/")
    listing = place.list_files()
    assert [file.path for file in listing.files] == ["a/one.pdf", "two.md"]
    assert listing.hidden == 1
    assert place.uri("two.md") == "s3://b/docs/two.md"
    content, stamp = place.read(listing.files[0])
    assert content == b"a/one.pdf"
    assert stamp == listing.files[0].stamp
    assert stamp.etag
    assert listed(BucketPlace("s3://b", pattern=["**", "*.pdf"])) == ["a/one.pdf"]
    store.put("two.md", b"longer than before")
    with pytest.raises(UnreadableFileError, match="grew"):
        place.read(listing.files[1])
    gone = ListedFile(path="gone", stamp=FileStamp(size=1, modified_us=1))
    with pytest.raises(UnreadableFileError):
        place.read(gone)


def test_a_listing_that_fails_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "from_url", lambda _: MemoryStore())
    place = BucketPlace("s3://b")

    def broken(*_: Any) -> Any:
        yield [{"size": 1, "last_modified": bucket._EPOCH, "e_tag": None, "path": "x"}]
        raise OSError("connection reset")

    monkeypatch.setattr(bucket.obstore, "list", broken)
    with pytest.raises(DependencyError, match="connection reset"):
        place.list_files()
