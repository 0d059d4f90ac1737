"""Files of inventories: what is read, and what is refused with one line."""

from pathlib import Path
from typing import Any

import pytest

from corpus.errors import ConfigurationError
from ingest.audit.inventory import _frames, _rows

HASH = "ab" * 32


def read(path: Path) -> list[tuple[Any, ...]]:
    return list(_rows(7, _frames(path), path))


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("i.jsonl", f'{{"id": "a", "version": 3, "sha256": "{HASH}"}}\n{{"id": "b"}}\n'),
        ("i.csv", f"id,version,sha256\na,3,{HASH}\nb,,\n"),
    ],
)
def test_documents_are_read_by_the_file_ending(tmp_path: Path, name: str, text: str) -> None:
    one, two = read(write(tmp_path, name, text))
    assert one[:6] == (7, "", 0, "", 0, "event")
    assert one[6:12] == ("upsert", "a", 3, 0, False, bytes.fromhex(HASH))
    assert two[6:12] == ("upsert", "b", None, 0, False, None)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("i.txt", "a", "is none of .jsonl, .csv, .parquet"),
        ("i.csv", "name\na\n", "has no column id; it has name"),
        ("i.csv", "id,version\na,x\n", "row 1: version 'x' is no whole number"),
        ("i.csv", "id,sha256\na,12\n", "row 1: sha256 '12' is not 64 hexadecimal digits"),
        ("i.csv", "id\na\na\n", "row 2 names a document twice: 'a'"),
        ("i.csv", "id,version\n,1\n", "row 1 has no id"),
        ("missing.csv", None, "cannot be read"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    path = tmp_path / name if text is None else write(tmp_path, name, text)
    with pytest.raises(ConfigurationError, match=message.replace(".", r"\.")):
        read(path)
