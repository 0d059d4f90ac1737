"""Staged files as Polars frames: the schemas of `corpus.staging.layout`, written and read as Parquet."""

import io

import polars as pl

from corpus.errors import StagedFileError
from corpus.staging.layout import Columns
from corpus.staging.store import Pointer, StagingStore

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


def to_parquet(frame: pl.DataFrame, *, statistics: bool = True) -> bytes:
    """A frame as a Parquet file, zstd level 1: the fastest level, and nearly as small as higher ones."""
    buffer = io.BytesIO()
    frame.write_parquet(
        buffer, compression="zstd", compression_level=1, statistics=statistics
    )
    return buffer.getvalue()


def read_frame(store: StagingStore, pointer: Pointer, columns: Columns) -> pl.DataFrame:
    """Read a staged file; its frame has exactly these columns, in this order.

    Columns that an earlier version did not write are null.

    Raises:
        StagedFileError: the file is missing or altered, or another version of Freshet wrote it with other columns.
        DependencyError: the store does not answer.
    """
    frame = pl.read_parquet(io.BytesIO(store.get(pointer)))
    expected = schema_of(columns)
    frame = frame.with_columns(
        pl.lit(None, expected[column.name]).alias(column.name)
        for column in columns
        if column.is_added and column.name not in frame.columns
    )
    different = [
        name for name, kind in expected.items() if frame.schema.get(name) != kind
    ]
    if different:
        raise StagedFileError(
            f"staged file {pointer.url} lacks columns, or has them with other types: {', '.join(different)}; "
            "another version of Freshet wrote it"
        )
    return frame.select(*expected)
