"""No query reads more of a larger corpus than its answer grew by, but those of which it is said why.

Every named query is run on a synthetic corpus and again when that is twice as large. The planner takes an index
wherever there is one, as in a large corpus: what grows here has none. What it chooses when it is free to choose, at
300,000 chunks, is shown by `python -m tests.bench plans`.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from corpus.database import Connection, connect
from tests.support.large_corpus import Shape, grow
from tests.support.query_plans import (
    GROWS,
    grows,
    may_grow,
    read_all,
    read_statement,
)
from tests.support.query_values import explainable

DOCUMENTS = 500
# What every search asks first: which chunks have reached their end and are not withdrawn yet.
ENDED = "SELECT freshet.ended_chunks(ARRAY['large'], NULL)"


@pytest.fixture(scope="module")
def connection(postgres_server: Any, postgres_url: str) -> Iterator[Connection]:
    postgres_server.create_database("growing", template="freshet")
    with connect(postgres_server.url_of("growing")) as opened:
        for kind in ("seqscan", "hashjoin", "mergejoin"):
            opened.execute(f"SET enable_{kind} = off".encode())
        yield opened
    postgres_server.drop_database("growing")


@pytest.mark.timeout(300)  # every query once, and those that read more than a few rows twice
def test_no_query_reads_more_of_a_larger_corpus(connection: Connection) -> None:
    shape = Shape()
    grow(connection, shape, 0, DOCUMENTS)
    small = read_all(connection)
    ended = read_statement(connection, ENDED, {})
    grow(connection, shape, DOCUMENTS, 2 * DOCUMENTS)
    large = read_all(connection, [name for name in small if may_grow(small[name])])
    growing = [name for name in large if grows(small[name], large[name])]
    unexpected = {
        name: (small[name].rows, large[name].rows, large[name].plan)
        for name in growing
        if name not in GROWS
    }
    assert unexpected == {}
    after = read_statement(connection, ENDED, {})
    assert not grows(ended, after), (ended.rows, after.rows)
    # The measure sees growth where it is known to be.
    assert {"middle_version", "erase_mentions", "audit_ledger"} <= set(growing)


def test_only_queries_that_are_there_may_grow() -> None:
    assert GROWS.keys() - set(explainable()) == set()
