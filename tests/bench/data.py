"""The real inputs (shared/data, or FRESHET_DATA)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ingest.event_file import zstd
from tests.support.inputs import DATA


def events(name: str) -> Iterator[dict[str, Any]]:
    """Events of a zstd JSON Lines file under DATA."""
    path = DATA / name
    if not path.exists():
        raise SystemExit(f"{path} is missing; set FRESHET_DATA to the folder of the real inputs")
    with zstd.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def final(name: str) -> dict[str, tuple[str, str]]:
    """id -> (version, sha256) of a `*.final.tsv`."""
    rows = (line.split("\t") for line in (DATA / name).read_text(encoding="utf-8").splitlines()[1:])
    return {row[0]: (row[1], row[2]) for row in rows}


def write_events(path: Path, wanted: Iterator[dict[str, Any]] | list[dict[str, Any]]) -> Path:
    """Write JSON Lines."""
    with path.open("w", encoding="utf-8") as out:
        for event in wanted:
            out.write(json.dumps(event, ensure_ascii=False) + "\n")
    return path


def differences(exported: str, name: str, prefix: str = "") -> list[str]:
    """Ids, of those that start with `prefix`, in which an export differs from a `*.final.tsv`."""
    wanted = {document: row for document, row in final(name).items() if document.startswith(prefix)}
    have = {
        row[0]: (row[1], row[2]) for row in (line.split("\t") for line in exported.splitlines()[1:])
    }
    return sorted(
        document
        for document in wanted.keys() | have.keys()
        if wanted.get(document) != have.get(document)
    )
