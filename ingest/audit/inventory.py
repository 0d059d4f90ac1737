"""An inventory of a source: which documents it has, in which version, with which content.

It stands in for the records that a log has lost. A file of JSON lines, CSV or Parquet, by its ending; `id`, and where
they are known `version` and `sha256` (of the content, in hexadecimal).
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from corpus.database import Connection
from corpus.disclosure.error_text import public_text
from corpus.errors import ConfigurationError
from corpus.sql import query
from ingest.audit.replay import copy_in

_PAGE = 50_000
_HASH_CHARACTERS = 64


def load(connection: Connection, audit: int, path: Path) -> int:
    """Keep the documents of a file as those of an audit; returns how many.

    Raises:
        ConfigurationError: the file cannot be read, or a row is wrong; the message names it.
    """
    rows = _rows(audit, _frames(path), path)
    erased = {"audit": audit, "topic": "", "partition": 0, "offsets": None}
    with connection.transaction():
        documents = copy_in(connection, rows)
        connection.execute(query("forget_erased_records"), erased)
    return documents


def _frames(path: Path) -> Iterator[pl.DataFrame]:
    try:
        frame = _scan(path).collect()
    except (PolarsError, OSError) as error:
        reason = public_text(error)
        raise ConfigurationError(
            f"inventory {path} cannot be read: {reason}"
        ) from error
    if "id" not in frame.columns:
        raise ConfigurationError(
            f"inventory {path} has no column id; it has {', '.join(frame.columns)}"
        )
    yield from frame.iter_slices(_PAGE)


def _scan(path: Path) -> pl.LazyFrame:
    match path.suffix:
        case ".jsonl" | ".ndjson":
            return pl.scan_ndjson(path, infer_schema_length=None)
        case ".csv":
            return pl.scan_csv(path, infer_schema=False)
        case ".parquet":
            return pl.scan_parquet(path)
        case _:
            raise ConfigurationError(
                f"inventory {path} is none of .jsonl, .csv, .parquet"
            )


def _rows(
    audit: int, frames: Iterable[pl.DataFrame], path: Path
) -> Iterator[tuple[Any, ...]]:
    number = 0
    seen: set[str] = set()
    for frame in frames:
        for row in frame.iter_rows(named=True):
            document_id = row["id"]
            where = f"inventory {path}, row {number + 1}"
            if document_id is None:
                raise ConfigurationError(f"{where} has no id")
            name = str(document_id)
            if name in seen:
                raise ConfigurationError(f"{where} names a document twice: {name!r}")
            seen.add(name)
            yield _row(audit, number, name, row, where)
            number += 1


def _row(
    audit: int, number: int, document_id: str, row: dict[str, Any], where: str
) -> tuple[Any, ...]:
    version = _version(row.get("version"), where)
    content = _digest(row.get("sha256"), where)
    place = (audit, "", 0, "", number)
    event = ("event", "upsert", document_id, version, 0, False)
    return (*place, *event, content, None, None)


def _version(value: Any, where: str) -> int | None:
    if value is None or value == "":
        return None
    try:
        return int(value)
    except ValueError as error:
        raise ConfigurationError(
            f"{where}: version {value!r} is no whole number"
        ) from error


def _digest(value: Any, where: str) -> bytes | None:
    if value is None or value == "":
        return None
    try:
        digest = bytes.fromhex(str(value))
    except ValueError:
        digest = b""
    if len(str(value)) != _HASH_CHARACTERS or not digest:
        raise ConfigurationError(
            f"{where}: sha256 {value!r} is not 64 hexadecimal digits"
        )
    return digest
