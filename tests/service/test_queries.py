"""Every query is PREPAREd against the migrated schema: PostgreSQL names a missing column or table."""

import re

import psycopg
import pytest

from corpus.sql import queries

# COPY cannot be prepared, nor can several statements at once; the tests of their steps run them.
_NOT_PREPARABLE = ("COPY", "CREATE", "ANALYZE")


@pytest.mark.parametrize("name", sorted(queries()))
def test_query_prepares(name: str, database_url: str) -> None:
    text = queries()[name]
    with psycopg.connect(database_url, options="-c search_path=freshet,public") as connection:
        if text.lstrip().startswith(_NOT_PREPARABLE):
            return
        if "incoming_" in text:
            connection.execute(queries()["create_incoming"])
        numbers: dict[str, int] = {}

        def numbered(match: re.Match[str]) -> str:
            return f"${numbers.setdefault(match[1], len(numbers) + 1)}"

        renumbered = re.sub(r"%\((\w+)\)s", numbered, text).replace("%%", "%")
        connection.execute(f"PREPARE q AS {renumbered}".encode())
