"""Staged files as frames: what is written is read back, and a file of another version is refused."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import StagedFileError
from corpus.staging.frames import read_frame, schema_of, to_parquet
from corpus.staging.layout import (
    CHUNKS,
    DOCUMENTS,
    PREPARED_EVENTS,
    STAGED_EVENTS,
    TEXTS,
    Columns,
    ColumnType,
)
from corpus.staging.store import StagingStore

FILES = {
    "staged events": STAGED_EVENTS,
    "prepared events": PREPARED_EVENTS,
    "documents": DOCUMENTS,
    "chunks": CHUNKS,
    "texts": TEXTS,
}
INT4 = st.integers(-(2**31), 2**31 - 1)
INT8 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES: dict[ColumnType, st.SearchStrategy[Any]] = {
    ColumnType.TEXT: TEXT,
    ColumnType.INT4: INT4,
    ColumnType.INT8: INT8,
    ColumnType.BOOL: st.booleans(),
    ColumnType.BYTES: st.binary(max_size=20),
    ColumnType.EPOCH_MS: INT8,
    ColumnType.TEXTS: st.lists(TEXT, max_size=3),
    ColumnType.INT4S: st.lists(INT4, max_size=3),
}


@pytest.fixture
def store(tmp_path: Path) -> StagingStore:
    return StagingStore(tmp_path.as_uri())


def test_every_type_is_known() -> None:
    assert set(VALUES) == set(ColumnType)
    for columns in FILES.values():
        assert list(schema_of(columns)) == [column.name for column in columns]


@pytest.mark.parametrize("columns", FILES.values(), ids=FILES)
def test_an_empty_file_has_its_columns(columns: Columns, store: StagingStore) -> None:
    empty = pl.DataFrame(schema=schema_of(columns))
    pointer = store.put("f", to_parquet(empty), rows=0)
    assert read_frame(store, pointer, columns).schema == schema_of(columns)


@given(data=st.data(), kind=st.sampled_from(sorted(FILES)))
def test_any_value_comes_back(data: st.DataObject, kind: str) -> None:
    columns = FILES[kind]
    row = st.tuples(*(st.none() | VALUES[column.type] for column in columns))
    rows = data.draw(st.lists(row, max_size=4))
    store = StagingStore("memory:///")
    frame = pl.DataFrame(rows, schema=schema_of(columns), orient="row")
    pointer = store.put("f", to_parquet(frame), rows=len(rows))
    assert read_frame(store, pointer, columns).rows() == rows


def test_the_same_frame_is_the_same_file() -> None:
    """A file's name is made from its content; a repeated attempt must write the same one."""
    frame = pl.DataFrame({"text": ["a", "b"] * 500, "n": range(1000)})
    assert to_parquet(frame) == to_parquet(frame.clone())


def test_columns_come_in_the_declared_order_and_unknown_ones_are_left_out(
    store: StagingStore,
) -> None:
    """A newer version may have added a column, and any version may order them in its own way."""
    reordered = pl.DataFrame(schema=dict(reversed(schema_of(TEXTS).items())) | {"added": pl.String})
    pointer = store.put("f", to_parquet(reordered), rows=0)
    assert read_frame(store, pointer, TEXTS).columns == list(schema_of(TEXTS))


@pytest.mark.parametrize(
    "schema",
    [
        {"text_sha256": pl.Binary, "text": pl.String},
        {"text_sha256": pl.Binary, "text": pl.String, "token_ids": pl.List(pl.Int64)},
    ],
    ids=["missing", "another type"],
)
def test_a_file_of_other_columns_is_refused_by_name(
    schema: dict[str, Any], store: StagingStore
) -> None:
    pointer = store.put(
        "batches/s/1/texts.parquet", to_parquet(pl.DataFrame(schema=schema)), rows=0
    )
    with pytest.raises(StagedFileError, match=r"batches/s/1/texts\.parquet .*: token_ids; another"):
        read_frame(store, pointer, TEXTS)


@pytest.mark.parametrize("kind", ["staged events", "documents"])
def test_columns_that_an_earlier_version_did_not_write_are_null(
    kind: str, store: StagingStore
) -> None:
    columns = FILES[kind]
    added = [column.name for column in columns if column.is_added]
    assert "stated_language" in added
    written = [column.name for column in columns if not column.is_added]
    frame = pl.DataFrame([{}], schema=schema_of(columns)).select(written)
    read = read_frame(store, store.put("f", to_parquet(frame), rows=1), columns)
    assert read.schema == schema_of(columns)
    assert read.select(added).row(0) == (None,) * len(added)
