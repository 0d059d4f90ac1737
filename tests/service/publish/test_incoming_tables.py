"""The tables that a batch is copied into have the columns that staged files declare, as PostgreSQL reports them."""

import pytest

from corpus.sql import query
from corpus.staging.layout import CHUNKS, DOCUMENTS, PREPARED_EVENTS, Columns
from tests.support.pipeline import Pipeline

# Columns that the judgement fills; no file has them.
JUDGEMENT = [
    ("decision", "text"),
    ("new_version", "int8"),
    ("head_key", "int8"),
    ("says_the_same", "bool"),
    ("is_reindexed", "bool"),
    ("access_id", "int4"),
    ("is_regranted", "bool"),
    ("acl_stands", "bool"),
]
TABLES = {
    "incoming_event": (PREPARED_EVENTS, []),
    "incoming_document": (DOCUMENTS, JUDGEMENT),
    "incoming_chunk": (CHUNKS, []),
}


@pytest.mark.parametrize("table", TABLES)
def test_a_table_has_the_columns_of_its_file(table: str, pipeline: Pipeline) -> None:
    columns, judgement = TABLES[table]
    pipeline.connection.execute(query("create_incoming"))
    reported = pipeline.connection.execute(
        """SELECT a.attname, t.typname FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
            WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum""",
        (f"pg_temp.{table}",),
    ).fetchall()
    assert reported == declared(columns) + judgement


def declared(columns: Columns) -> list[tuple[str, str]]:
    """Name and type; pg_type calls the array of a type by its name after an underscore."""
    names = [(column.database_name, column.type.postgres) for column in columns]
    return [
        (name, f"_{kind.removesuffix('[]')}" if kind.endswith("[]") else kind)
        for name, kind in names
    ]
