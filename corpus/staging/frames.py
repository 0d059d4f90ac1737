"""Staged files as Polars frames: the schemas of `corpus.staging.layout`, written and read as Parquet."""

import io
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import polars as pl
from polars.exceptions import PanicException, PolarsError

from corpus.batch import StagedFile
from corpus.errors import StagedFileError
from corpus.staging.expansion import Expansion, MalformedError, expansion_of
from corpus.staging.layout import Columns
from corpus.staging.store import Pointer, StagingStore

# Of a file in memory: a record of 128 MB with its headers several times, or the chunks of a large batch.
MAX_MEMORY_BYTES = 1024**3

_POLARS_TYPES: dict[str, pl.DataType] = {
    "String": pl.String(),
    "Int32": pl.Int32(),
    "Int64": pl.Int64(),
    "Boolean": pl.Boolean(),
    "Binary": pl.Binary(),
    "List(String)": pl.List(pl.String()),
    "List(Int32)": pl.List(pl.Int32()),
}


def schema_of(columns: Columns) -> pl.Schema:
    """The Polars schema of a file."""
    return pl.Schema(
        {column.name: _POLARS_TYPES[column.type.polars] for column in columns}
    )


def to_parquet(frame: pl.DataFrame) -> bytes:
    """A frame as a Parquet file, zstd level 1: the fastest level, and nearly as small as higher ones.

    Without statistics: no reader filters by them, and each reads them.
    """
    buffer = io.BytesIO()
    frame.write_parquet(
        buffer, compression="zstd", compression_level=1, statistics=False
    )
    return buffer.getvalue()


def read_frame(store: StagingStore, pointer: Pointer, columns: Columns) -> pl.DataFrame:
    """Read a staged file; its frame has exactly these columns, in this order.

    The headers are read before the data: a few bytes may expand to more than a machine has. Columns that an earlier
    version did not write are null; those that a newer one added are not read.

    Args:
        store: of the staged files.
        pointer: to the file, with the rows that it has.
        columns: of the file.

    Raises:
        StagedFileError: the file is missing or altered, is not what the pointer says, or another version of Freshet
            wrote it with other columns.
        DependencyError: the store does not answer.
    """
    content = store.get(pointer)
    size = _expansion(content, pointer.url)
    stated = _stated_rows(pointer)
    if size.rows != stated:
        raise StagedFileError(
            f"staged file {pointer.url} has {size.rows:,} rows, {stated:,} are stated"
        )
    with _errors_named(pointer.url):
        schema = pl.read_parquet_schema(io.BytesIO(content))
    present = _present(schema, columns, pointer.url)
    frame = _read(content, present, pointer.url)
    expected = schema_of(columns)
    if frame.columns == list(expected):
        return frame
    missing = expected.keys() - frame.columns
    return frame.with_columns(
        pl.lit(None, expected[name]).alias(name) for name in missing
    ).select(*expected)


def read_columns(
    store: StagingStore, name: str, columns: Sequence[str]
) -> pl.DataFrame | None:
    """Some columns of a file that nothing points to; None: it is not there.

    Raises:
        StagedFileError: it cannot be read, or would be too large in memory.
        DependencyError: the store does not answer.
    """
    content = store.read(name)
    if content is None:
        return None
    _expansion(content, name)
    return _read(content, columns, name)


def _stated_rows(pointer: Pointer) -> int:
    if isinstance(pointer, StagedFile):
        return pointer.rows
    return pointer.records


def _expansion(content: bytes, name: str) -> Expansion:
    try:
        size = expansion_of(content)
    except MalformedError as error:
        raise StagedFileError(f"staged file {name} is no Parquet file") from error
    if size.memory_bytes > MAX_MEMORY_BYTES:
        raise StagedFileError(
            f"staged file {name} has {len(content):,} bytes and would take {size.memory_bytes:,} in memory; "
            f"{MAX_MEMORY_BYTES:,} are the most"
        )
    return size


def _present(schema: Mapping[str, Any], columns: Columns, name: str) -> list[str]:
    """The columns that the file has.

    Raises:
        StagedFileError: it lacks one that every version wrote, or has one with another type.
    """
    expected = schema_of(columns)
    # What is missing and was added by a version is null.
    present = [
        column.name
        for column in columns
        if column.name in schema or not column.is_added
    ]
    different = [column for column in present if schema.get(column) != expected[column]]
    if different:
        raise StagedFileError(
            f"staged file {name} lacks columns, or has them with other types: {', '.join(different)}; "
            "another version of Freshet wrote it"
        )
    return present


def _read(content: bytes, columns: Sequence[str], name: str) -> pl.DataFrame:
    with _errors_named(name):
        return pl.read_parquet(io.BytesIO(content), columns=list(columns))


@contextmanager
def _errors_named(name: str) -> Generator[None]:
    """Name the file that Polars cannot read; it panics over some damages, which is no `Exception`."""
    try:
        yield
    except (PolarsError, PanicException) as error:
        raise StagedFileError(f"staged file {name} cannot be read") from error
