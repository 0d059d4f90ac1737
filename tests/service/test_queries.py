"""Every query is PREPAREd against the migrated schema: PostgreSQL names a missing column or table."""

import re
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.pq import ExecStatus

from compose.local.parts.postgres import Postgres
from corpus.sql import queries

# COPY, REVOKE and DO cannot be prepared, nor can several statements at once; the tests of their steps run them.
_NOT_PREPARABLE = ("COPY", "CREATE", "ANALYZE", "DO", "REVOKE")
PREPARABLE = sorted(
    name for name, text in queries().items() if not text.startswith(_NOT_PREPARABLE)
)
_VOID = 2278  # the type's number in pg_type


@pytest.fixture(scope="module")
def connection(postgres_server: Postgres, postgres_url: str) -> Iterator[psycopg.Connection]:
    """One migrated database for all queries; none of them is executed."""
    postgres_server.create_database("queries", template="freshet")
    url = postgres_server.url_of("queries")
    options = "-c search_path=freshet,public"
    with psycopg.connect(url, options=options, autocommit=True) as opened:
        for text in queries().values():
            if text.startswith("CREATE TEMP"):
                opened.execute(text)
        yield opened
    postgres_server.drop_database("queries")


def with_numbered_parameters(text: str) -> str:
    """`%(name)s` as `$1`, the same name as the same number: what PREPARE reads."""
    numbers: dict[str, int] = {}

    def number(match: re.Match[str]) -> str:
        return f"${numbers.setdefault(match[1], len(numbers) + 1)}"

    return re.sub(r"%\((\w+)\)s", number, text).replace("%%", "%")


@pytest.mark.parametrize("name", PREPARABLE)
def test_query_prepares_and_its_columns_have_names(
    name: str, connection: psycopg.Connection
) -> None:
    text = with_numbered_parameters(queries()[name])
    connection.execute(f"PREPARE q AS {text}".encode())
    try:
        described = connection.pgconn.describe_prepared(b"q")
        assert described.status == ExecStatus.COMMAND_OK
        columns = [
            (str(described.fname(n), "utf-8"), described.ftype(n)) for n in range(described.nfields)
        ]
    finally:
        connection.execute("DEALLOCATE q")
    names = [column for column, kind in columns if kind != _VOID]
    assert len(set(names)) == len(names), "two columns of one name; rows are read by name"
    assert [column for column in names if not is_named(column, text)] == []


def is_named(column: str, text: str) -> bool:
    """Whether the query chose this name; PostgreSQL calls a column after its function, or `?column?`."""
    if re.search(rf'\bAS "?{re.escape(column)}\b', text):
        return True
    return re.search(rf"\b{re.escape(column)}\b(?! *\()", text) is not None and column not in (
        "coalesce",
        "case",
        "exists",
        "greatest",
    )


@pytest.mark.parametrize(
    ("column", "text", "named"),
    [
        ("count", "SELECT count(*) FROM t", False),
        ("n", "SELECT count(*) AS n FROM t", True),
        ("version", "SELECT version FROM t", True),
        ("?column?", "SELECT 1", False),
        ("coalesce", "SELECT coalesce(a, b) FROM t", False),
    ],
)
def test_a_name_that_postgresql_made_up_is_noticed(column: str, text: str, named: bool) -> None:
    assert is_named(column, text) is named
