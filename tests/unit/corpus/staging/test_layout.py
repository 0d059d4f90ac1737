"""The columns and names of staged files. Both are read by other versions of the code, so they only grow."""

import re
import subprocess
import sys

import pytest

from corpus.sql import query
from corpus.staging import layout
from corpus.staging.layout import (
    CHUNKS,
    DOCUMENTS,
    PREPARED_EVENTS,
    STAGED_EVENTS,
    TEXTS,
    Columns,
    ColumnType,
    batch_file_name,
    events_name,
)

FILES = {
    "staged events": STAGED_EVENTS,
    "prepared events": PREPARED_EVENTS,
    "documents": DOCUMENTS,
    "chunks": CHUNKS,
    "texts": TEXTS,
}
COPIED = {"copy_events": PREPARED_EVENTS, "copy_documents": DOCUMENTS, "copy_chunks": CHUNKS}


@pytest.mark.parametrize("columns", FILES.values(), ids=FILES)
def test_a_column_appears_once(columns: Columns) -> None:
    names = [column.name for column in columns]
    assert len(set(names)) == len(names)
    renamed = [column.database_name for column in columns]
    assert len(set(renamed)) == len(renamed)


def test_a_name_has_one_type_in_all_files() -> None:
    types: dict[str, ColumnType] = {}
    for columns in FILES.values():
        for column in columns:
            assert types.setdefault(column.name, column.type) is column.type, column.name


def test_milliseconds_lose_their_unit_in_the_database() -> None:
    """A name ends in `_ms` exactly where the value is an instant in milliseconds; PostgreSQL has a type for it."""
    for column in {column for columns in FILES.values() for column in columns}:
        is_instant = column.type is ColumnType.EPOCH_MS
        assert column.name.endswith("_ms") is is_instant, column.name
        assert column.database_name.endswith("_at") is is_instant, column.name


@pytest.mark.parametrize(("name", "columns"), COPIED.items(), ids=COPIED)
def test_a_copy_statement_lists_the_columns_of_its_file(name: str, columns: Columns) -> None:
    listed = re.search(r"\(([^)]*)\)\s*FROM STDIN \(FORMAT BINARY\)$", query(name))
    assert listed
    expected = [column.database_name for column in columns]
    assert re.split(r",\s*", listed[1]) == expected


def test_columns_of_the_version_before_are_still_there() -> None:
    """Files that another version wrote are read during an upgrade: a column is added, never renamed or removed."""
    described = {
        kind: " ".join(f"{column.name}:{column.type.polars}" for column in columns)
        for kind, columns in FILES.items()
    }
    record = "topic:String partition:Int32 offset:Int64 timestamp_ms:Int64"
    description = (
        "uri:String title:String content_type:String metadata:String acl:List(String) event_at_ms:Int64"
        " expires_at_ms:Int64 content_bytes:Int64 content_sha256:Binary"
    )
    original = "key:Binary value:Binary headers:String"
    before = {
        "staged events": f"{record} outcome:String op:String document_id:String version:Int64 {description}"
        f" raw_sha256:Binary reason:String detail:String {original}",
        "prepared events": f"{record} outcome:String reason:String detail:String document_id:String {original}",
        "documents": f"document_id:String {record} op:String version:Int64 tombstone_offset:Int64 tombstone_floor:Int64"
        f" reuse_key:Int64 {description} cleaned_sha256:Binary raw_sha256:Binary",
        "chunks": "document_id:String ordinal:Int32 start:Int32 text_sha256:Binary heading:String token_count:Int32"
        " truncated:Boolean text:String",
        "texts": "text_sha256:Binary text:String token_ids:List(Int32)",
    }
    for kind, columns in before.items():
        assert set(columns.split()) <= set(described[kind].split()), kind


def test_names_lie_under_their_source() -> None:
    digest = "0123456789abcdef" * 4
    name = events_name("s", "t.x", 2, 10, 15, digest)
    assert name == "events/s/t.x/2/10-15-0123456789abcdef.parquet"
    assert (
        batch_file_name("s", 7, "chunks", digest) == "batches/s/7/chunks-0123456789abcdef.parquet"
    )


def test_the_module_is_light() -> None:
    """It is read where Polars must not be imported."""
    code = f"import sys, {layout.__name__}; assert 'polars' not in sys.modules and 'psycopg' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
