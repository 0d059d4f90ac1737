"""The queries of a wait, and those of what expired, read as much for an old and large source as for a new one."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from corpus.database import connect
from corpus.sql import query
from tests.support.team_env import make_source

BATCHES = 5_000
RECORD = {"topic": "topic", "partition": 0, "topic_id": "id", "read_id": "id"}
# Name -> parameters. `offset` is that of an old record, so that whatever was read since lies behind it.
WAITS: dict[str, dict[str, Any]] = {
    "await_source": {},
    "await_batch": {"batch": 7},
    "await_position": RECORD,
    "await_record": RECORD | {"offset": 73},
    "await_range": RECORD | {"offset": 73},
    "await_offset_document": RECORD | {"offset": 73, "batch": 7},
    "await_offset_dead_letter": RECORD | {"offset": 73, "batch": 7},
    "await_document_version": {"document_id": "d9", "version": 1},
    "await_content_stands": RECORD
    | {"offset": 73, "batch": 7, "outcome": "applied", "document_id": "d9", "version": 1},
    "await_document_head": {"document_id": "d9"},
    "await_document_dead_letters": {"document_id": "d9"},
    "await_partition_behind": {},
}
# What is asked of expiries; one batch of a thousand was one, and withdrew one document.
EXPIRIES: dict[str, dict[str, Any]] = {
    "batch_expiries": {"batch": 1_000, "most": 50},
    "freshness_expired": {"after": 10},
}
MAX_ROWS = 60  # of all scans of one query


@pytest.fixture(scope="module")
def connection(postgres_server: Any, postgres_url: str) -> Iterator[psycopg.Connection]:
    """One database for the module: a source with 5,000 batches, documents and dead letters, in three epochs."""
    postgres_server.create_database("plans", template="freshet")
    with connect(postgres_server.url_of("plans")) as opened:
        make_source(opened)
        for statement in FILL:
            opened.execute(statement, {"batches": BATCHES})
        opened.execute("ANALYZE")
        yield opened
    postgres_server.drop_database("plans")


FILL: tuple[Any, ...] = (
    """INSERT INTO freshet.source_position
       SELECT 'peps', 'cluster', 'topic', 'id', n, 10 * %(batches)s FROM generate_series(0, 11) n""",
    """INSERT INTO freshet.batch (source, batch, kind, state, records, applied, workflow_id, run_id, staged_at,
           published_at)
       SELECT 'peps', n, 'ingest', 'published', 10, 10, 'w', 'r', now(), now() + n * interval '1 second'
       FROM generate_series(1, %(batches)s) n""",
    """INSERT INTO freshet.batch_range (source, batch, topic, partition, epoch, first_offset, next_offset, records)
       SELECT 'peps', n, 'topic', 0, 3 * n / %(batches)s, 10 * n - 10, 10 * n, 10
       FROM generate_series(1, %(batches)s) n""",
    """INSERT INTO freshet.record_outcome
       SELECT 'peps', 'topic', 0, 'id', 10 * n - 10, 10 * n, n, now(), o.offsets, array_fill('applied'::text, '{10}'),
              array_fill('upsert'::text, '{10}'), array_fill('d' || n, '{10}'), array_fill(1::bigint, '{10}'),
              array_fill(NULL::text, '{10}')
       FROM generate_series(1, %(batches)s) n,
            LATERAL (SELECT array_agg(x) AS offsets FROM generate_series(10 * n - 10, 10 * n - 1) x) o""",
    """INSERT INTO freshet.document (source, document_id, version, kind, is_head, visible_from, observed_at, batch,
           topic, partition, record_offset)
       SELECT 'peps', 'd' || n, 1, 'document', true, now(), now(), n, 'topic', 0, 10 * n - 7
       FROM generate_series(1, %(batches)s) n""",
    """UPDATE freshet.batch SET kind = 'expiry' WHERE batch %% 1000 = 0 AND batch <= %(batches)s""",
    """UPDATE freshet.document SET visible_to = now(), end_reason = 'expired', end_batch = batch
       WHERE batch %% 1000 = 0 AND batch <= %(batches)s""",
    """INSERT INTO freshet.dead_letter (source, batch, topic, partition, record_offset, document_id, reason, value)
       SELECT 'peps', n, 'topic', 0, 10 * n - 3, 'd' || n, 'too_large', '{}' FROM generate_series(1, %(batches)s) n""",
)


@pytest.mark.parametrize("name", [*WAITS, *EXPIRIES])
def test_a_look_does_not_grow_with_the_history(name: str, connection: psycopg.Connection) -> None:
    statement = psycopg.sql.SQL("EXPLAIN (ANALYZE, FORMAT JSON) {}").format(
        psycopg.sql.SQL(query(name))
    )
    parameters = {"source": "peps", **(WAITS | EXPIRIES)[name]}
    row = connection.execute(statement.as_string().encode(), parameters).fetchone()
    assert row is not None
    (explained,) = row[0]
    assert _rows_read(explained["Plan"]) <= MAX_ROWS, explained


def _rows_read(plan: dict[str, Any]) -> float:
    """Rows that the scans of a plan returned or dropped."""
    read = 0.0
    if "Relation Name" in plan:
        dropped = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
        rows = plan["Actual Rows"] + sum(plan.get(name, 0) for name in dropped)
        read = rows * plan["Actual Loops"]
    return read + sum(_rows_read(part) for part in plan.get("Plans", []))
