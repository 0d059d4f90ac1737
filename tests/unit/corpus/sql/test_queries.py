"""The files of queries: names, purposes, and what the code uses of them."""

import re
from pathlib import Path

import pytest

from corpus import sql
from corpus.sql import parse, queries, query

ROOT = Path(__file__).resolve().parents[4]
FILES = sorted((ROOT / "corpus" / "sql" / "queries").glob("*.sql"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_file_of_queries_is_read_whole(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    names = re.findall(r"^-- name: (.*)$", text, re.MULTILINE)
    assert [name for name, _ in parse(text, file.name)] == names
    assert all(query(name) and not query(name).startswith("--") for name in names)
    assert max(len(line) for line in text.splitlines()) <= 120


def test_every_query_is_used() -> None:
    packages = ("corpus", "ingest", "freshness", "workers", "compose")
    code = "".join(
        path.read_text(encoding="utf-8")
        for package in packages
        for path in (ROOT / package).rglob("*.py")
    )
    assert [name for name in queries() if f'"{name}"' not in code] == []


def test_queries_of_a_file() -> None:
    text = "-- name: one\n-- What it is for,\n-- in two lines.\nSELECT 1;\n\n-- name: two\n-- Why.\nSELECT 2\n"
    assert list(parse(text, "f.sql")) == [("one", "SELECT 1"), ("two", "SELECT 2")]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1;\n-- name: one\n-- Why.\nSELECT 1;\n",
        "-- name: one\nSELECT 1;\n",
        "-- name: one\n-- Why.\nSELECT 1;\n-- name: Two\n-- Why.\nSELECT 2;\n",
        "-- name: one\n-- Why.\nSELECT 1;\n--  name: two\n-- Why.\n-- name: two\nSELECT 2;\n",
    ],
    ids=["text before it", "no purpose", "a capital", "a header in a purpose"],
)
def test_a_malformed_header_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"f\.sql holds text under a malformed header"):
        list(parse(text, "f.sql"))


def test_a_name_that_appears_twice_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.sql", "b.sql"):
        (tmp_path / name).write_text("-- name: one\n-- Why.\nSELECT 1;\n", encoding="utf-8")
    monkeypatch.setattr(sql, "_query_files", lambda: sorted(tmp_path.iterdir()))
    with pytest.raises(ValueError, match=r"query 'one' appears twice; the second time in b\.sql"):
        queries.__wrapped__()


def test_an_unknown_query_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        query("no_such_query")
