"""The real inputs (shared/data, or FRESHET_DATA)."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
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


def final(name: str, prefix: str = "") -> dict[str, tuple[str, str]]:
    """id -> (version, sha256) of a `*.final.tsv`, for ids that start with `prefix`."""
    rows = (line.split("\t") for line in (DATA / name).read_text(encoding="utf-8").splitlines()[1:])
    return {row[0]: (row[1], row[2]) for row in rows if row[0].startswith(prefix)}


def write_events(path: Path, wanted: Iterator[dict[str, Any]] | list[dict[str, Any]]) -> Path:
    """Write JSON Lines."""
    with path.open("w", encoding="utf-8") as out:
        for event in wanted:
            out.write(json.dumps(event, ensure_ascii=False) + "\n")
    return path


def folded(events: Iterable[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    """id -> (version, sha256) of the documents that remain: of each, the greatest version."""
    greatest: dict[str, dict[str, Any]] = {}
    for event in events:
        if event["version"] > greatest.get(event["id"], {"version": -1})["version"]:
            greatest[event["id"]] = event
    return {
        document: (str(event["version"]), hashlib.sha256(event["content"].encode()).hexdigest())
        for document, event in greatest.items()
        if event["op"] == "upsert"
    }


def exported(text: str) -> dict[str, tuple[str, str]]:
    """id -> (version, sha256), of what `freshet export` prints below a heading."""
    rows = (line.split("\t") for line in text.splitlines()[1:])
    return {row[0]: (row[1], row[2]) for row in rows}


def differences(
    have: Mapping[str, tuple[str, str]], wanted: Mapping[str, tuple[str, str]]
) -> list[str]:
    """Ids in which two corpora differ."""
    documents = wanted.keys() | have.keys()
    return sorted(one for one in documents if wanted.get(one) != have.get(one))
