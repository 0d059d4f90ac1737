"""Which documents of a root have no file any more: not those that this import would not list."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from ingest.imports.file import FileStamp, Mark
from ingest.imports.folder import FolderPlace
from ingest.imports.plan import HeldDocument, ImportPlan, ImportRules, find_missing

ROOT = "handbook"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "docs"
    (root / ".notes").mkdir(parents=True)
    for path in ("a.md", "b.md", "c.md", ".secret.md", ".notes/x.md"):
        (root / path).write_text(path, encoding="utf-8")
    return root


def brought(*ids: str, prefix: str = "") -> dict[str, HeldDocument]:
    stamp = FileStamp(size=1, modified_us=1)
    mark = Mark(root=ROOT, stamp=stamp, sha256="00", prefix=prefix).to_json()
    return {
        name: HeldDocument(document_id=name, version=1, visible=True, imported=mark) for name in ids
    }


def planned(root: Path, held: dict[str, HeldDocument], **chosen: Any) -> ImportPlan:
    place = FolderPlace(root, hidden=chosen.pop("hidden", False))
    rules = ImportRules(source="s", root=ROOT, max_bytes=100, delete_missing=True, **chosen)
    plan = ImportPlan(rules=rules, listing=place.list_files())
    find_missing(plan, place, held)
    return plan


def ids(held: Iterable[HeldDocument]) -> list[str]:
    return [one.document_id for one in held]


def test_a_file_that_is_gone_is_missing(root: Path) -> None:
    plan = planned(root, brought("a.md", "gone.md"))
    assert ids(plan.delete) == ["gone.md"]
    assert plan.problems == {}


def test_hidden_files_are_missed_only_by_who_would_list_them(root: Path) -> None:
    held = brought("a.md", ".secret.md", ".notes/x.md", ".notes/gone.md")
    assert ids(planned(root, held).delete) == []
    assert ids(planned(root, held, hidden=True).delete) == [".notes/gone.md"]


def test_documents_of_another_prefix_are_none_of_this_import(root: Path) -> None:
    held = brought("v1/a.md", prefix="v1/") | brought("v2/a.md", "v2/gone.md", prefix="v2/")
    assert ids(planned(root, held, prefix="v2/").delete) == ["v2/gone.md"]
    assert ids(planned(root, held).delete) == []
    assert ids(planned(root, held, prefix="v").delete) == []


def test_what_became_a_link_or_something_special_is_kept_and_named(
    root: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (root / "a.md").unlink()
    (root / "a.md").symlink_to(tmp_path / "outside")
    (root / "folder").symlink_to(tmp_path / "outside")
    plan = planned(root, brought("a.md", "b.md", "folder/x.md", "gone.md"))
    assert ids(plan.delete) == ["gone.md"]
    assert list(plan.problems) == ["a.md", "folder/x.md"]


def test_a_mark_of_before_has_no_prefix() -> None:
    mark = Mark(root=ROOT, stamp=FileStamp(size=1, modified_us=2), sha256="00", prefix="v1/")
    stored = mark.to_json()
    assert Mark.from_json(stored) == mark
    del stored["prefix"]
    old = Mark.from_json(stored)
    assert old is not None
    assert old.prefix == ""
