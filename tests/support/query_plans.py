"""What a named query reads of the corpus: rows, by the counters of PostgreSQL, and its plan; and which may grow."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from corpus.database import Connection
from corpus.sql import query
from tests.support.query_values import explainable, statements_before, values_of

# Why a query may read more rows of a larger corpus, though its answer is not larger.
_AUDIT = "an audit compares everything with everything"
_ORDERED = "an operator asks, about all documents of a source"
_ERASURE = "an erasure looks into all notes and all outcomes that are kept"
_MIGRATE = "`freshet migrate` looks once for documents of before access lists had numbers"
_SEARCH = "how searches grow is measured by themselves (`access`, `purge`)"
GROWS: dict[str, str] = {
    "audit_chunks_of": "where few texts wait in the embedding store, all of them are read at once",
    "audit_figures": _AUDIT,
    "audit_ledger": _AUDIT,
    "audit_notices": _AUDIT,
    "audit_positions": _AUDIT,
    "audit_source": _AUDIT,
    "count_documents_of_topic": "asked once per truncated table",
    "documents_prepared_otherwise": _ORDERED,
    "documents_where": _ORDERED,
    "erase_mentions": _ERASURE,
    "erase_outcomes": _ERASURE,
    "erasure_remains": _ERASURE,
    "fill_access_lists": _MIGRATE,
    "graph_to_build": "the build of an index reads all rows anyway",
    "middle_version": "asked once per version that a person corrects",
    "move_cursor_back": _AUDIT,
    "plan_purge": "an operator asks how much a purge would remove",
    "probe_search": _SEARCH,
    "queue_later_texts": "an erasure takes all texts that wait for it",
    "sample_prepared_otherwise": _ORDERED,
    "search": _SEARCH,
}
_MORE = 30  # rows that are no growth: a page of an index more
_MORE_SHARE = 0.15
_ROWS_PER_ANSWER = 15

# Rows that scans have returned in this transaction, before filters, and entries of indexes: also those of functions,
# triggers and foreign keys, which no plan shows.
_ROWS_READ = """
SELECT coalesce(sum(pg_stat_get_xact_tuples_returned(c.oid)), 0)::bigint
  FROM pg_class c WHERE c.relnamespace = 'freshet'::regnamespace AND c.relkind IN ('r', 'i')"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One run of a query."""

    rows: int  # that it read
    answer: int  # rows that it returned
    milliseconds: float
    plan: str


def read_by(
    connection: Connection, name: str, values: Mapping[str, Any], before: str = ""
) -> Reading:
    """Run a query and roll it back.

    Args:
        connection: to a corpus; the counters have no rows of parallel workers, so it should not have any.
        name: of the query.
        values: its parameters.
        before: statements that the transaction begins with.
    """
    return read_statement(connection, query(name), values, before)


def read_statement(
    connection: Connection, statement: str, values: Mapping[str, Any], before: str = ""
) -> Reading:
    """The same of a statement that has no name: of a function, say."""
    text = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}".encode()
    with connection.transaction(force_rollback=True), connection.cursor() as cursor:
        if before:
            cursor.execute(before.encode())
        rows_before = rows_read(connection)
        began = time.perf_counter()
        row = cursor.execute(text, values).fetchone()
        seconds = time.perf_counter() - began
        rows = rows_read(connection) - rows_before
    assert row is not None
    (explained,) = row[0]
    root = explained["Plan"]
    return Reading(
        rows=rows,
        answer=int(root["Actual Rows"]),
        milliseconds=seconds * 1000,
        plan="\n".join(_lines(root)),
    )


def read_all(connection: Connection, names: Iterable[str] | None = None) -> dict[str, Reading]:
    """Run queries, each of which is rolled back; if no names are given, all that are about rows."""
    connection.execute("SET max_parallel_workers_per_gather = 0")
    connection.execute("SET jit = off")
    connection.execute(query("create_incoming").encode())
    return {
        name: read_by(
            connection, name, values_of(connection, name), statements_before(connection, name)
        )
        for name in names or explainable()
    }


def may_grow(small: Reading) -> bool:
    """Whether growth would show: a query that reads few rows reads few of a corpus of twice the size, too."""
    return small.rows > _MORE


def grows(small: Reading, large: Reading) -> bool:
    """Whether a query read more rows of the larger corpus than its answer grew by."""
    more_answer = max(0, large.answer - small.answer)
    allowed = _MORE + _MORE_SHARE * small.rows + _ROWS_PER_ANSWER * more_answer
    return large.rows - small.rows > allowed


def rows_read(connection: Connection) -> int:
    """Rows that this transaction has read so far."""
    row = connection.execute(_ROWS_READ).fetchone()
    assert row is not None
    return row[0]


def _lines(plan: Mapping[str, Any], depth: int = 0) -> list[str]:
    """The scans of a plan, one line each."""
    lines: list[str] = []
    if "Relation Name" in plan or "Function Name" in plan:
        named = (
            plan.get(key) for key in ("Node Type", "Relation Name", "Function Name", "Index Name")
        )
        words = " ".join(str(word) for word in named if word)
        dropped = plan.get("Rows Removed by Filter", 0)
        lines.append(
            f"{'  ' * depth}{words}: {plan['Actual Rows']} rows, {dropped} dropped, {plan['Actual Loops']} times"
        )
    for part in plan.get("Plans", []):
        lines += _lines(part, depth + 1)
    return lines
