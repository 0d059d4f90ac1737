"""What happens where `freshet.chunk` is partitioned by the hash of the source, or by space: tried, not served.

1. A corpus of `tests.support.large_corpus` is made with the project's migrations, and copied. In each copy `chunk`
   becomes a partitioned table: every constraint, foreign key, index and trigger is made again, and what PostgreSQL
   refuses is noted. Then every named query runs as in `plans`: those that fail, and those that visit all partitions.
2. Chunks with vectors in an HNSW index, in several sources: searches of one source and of all, in one table and in
   partitions. Recall@10 is against the exact distances; pages are those that a search reads, which do not depend on
   what else the machine does.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from pgvector.psycopg import register_vector

from compose.local.machine.ports import free_port
from compose.local.parts.postgres import Postgres
from compose.local.run import running
from corpus.database import Connection, connect, migrate
from corpus.sql import query
from tests.support.large_corpus import Shape, grow
from tests.support.query_plans import read_by
from tests.support.query_values import explainable, statements_before, values_of

PARTITIONS = 8
DOCUMENTS = 4_000
SHAPE = Shape(chunks=5, batches=1, versions=2, small_sources=20)
CHUNKS = 20_000
DIMENSIONS = 128
CENTRES = 200
SOURCES = 16
QUERIES = 60
K = 10
EF_SEARCH = (40, 100, 200)
BY = {"by hash of source": "HASH (source)", "by space": "LIST (space_id)"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What could not be made again on the partitioned table."""

    kind: str
    name: str
    error: str


def run() -> dict[str, Any]:
    """Measure."""
    with tempfile.TemporaryDirectory() as folder:
        server = Postgres(home=Path(folder), port=free_port(), fsync=False)
        with running(server):
            return {"schema and queries": _schemas(server), "vectors": _vectors(server)}


# ── the schema and the queries ──────────────────────────────────────────────────────────────────────────────────────


def _schemas(server: Postgres) -> dict[str, Any]:
    migrate(server.url)
    with connect(server.url) as connection:
        grow(connection, SHAPE, 0, DOCUMENTS)
        flat = _read_queries(connection)
    found: dict[str, Any] = {"queries": len(flat), "naming chunk": _naming_chunk()}
    for number, (name, key) in enumerate(BY.items()):
        server.create_database(f"try{number}", template="freshet")
        with connect(server.url_of(f"try{number}")) as connection:
            refusals, seconds = partition(connection, key)
            after = _read_queries(connection)
            found[name] = {
                "seconds to copy and index": seconds,
                "refused": [asdict(refusal) for refusal in refusals],
                **_bound_to_the_table(connection),
                "queries that fail": {
                    name: answer for name, answer in after.items() if isinstance(answer, str)
                },
                "queries that visit all partitions": sorted(
                    name for name, answer in after.items() if answer == PARTITIONS
                ),
            }
    return found


def _naming_chunk() -> list[str]:
    return sorted(name for name in explainable() if "freshet.chunk " in query(name))


def partition(connection: Connection, key: str) -> tuple[list[Refusal], float]:
    """Make `freshet.chunk` a partitioned table; what cannot be made again is returned."""
    began = time.monotonic()
    refusals: list[Refusal] = []

    def again(kind: str, name: str, statement: str) -> None:
        try:
            with connection.transaction():
                connection.execute(statement.replace("flat.chunk", "freshet.chunk").encode())
        except psycopg.Error as error:
            refusals.append(Refusal(kind=kind, name=name, error=str(error).splitlines()[0]))

    connection.execute("CREATE SCHEMA flat")
    referring = connection.execute(
        """SELECT conname, conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint
            WHERE confrelid = 'freshet.chunk'::regclass AND contype = 'f'"""
    ).fetchall()
    for name, table, _ in referring:
        connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}".encode())
    connection.execute("ALTER TABLE freshet.chunk SET SCHEMA flat")
    connection.execute("SET search_path = pg_catalog")  # definitions name schemas in full
    connection.execute(
        f"""CREATE TABLE freshet.chunk (LIKE flat.chunk INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING IDENTITY)
            PARTITION BY {key}""".encode()
    )
    for number in range(PARTITIONS):
        bound = f"FOR VALUES IN ({number + 1})"
        if key.startswith("HASH"):
            bound = f"FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {number})"
        connection.execute(
            f"CREATE TABLE freshet.chunk_p{number} PARTITION OF freshet.chunk {bound}".encode()
        )
    _give_to_the_owner(connection)
    columns = connection.execute(
        """SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
            WHERE attrelid = 'flat.chunk'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''"""
    ).fetchone()
    assert columns is not None
    connection.execute(
        f"""INSERT INTO freshet.chunk ({columns[0]}) OVERRIDING SYSTEM VALUE
            SELECT {columns[0]} FROM flat.chunk""".encode()
    )
    for name, definition in _constraints(connection):
        again("constraint", name, f"ALTER TABLE freshet.chunk ADD CONSTRAINT {name} {definition}")
    for kind, catalogue in (("index", _INDEXES), ("trigger", _TRIGGERS)):
        for name, definition in connection.execute(catalogue.encode()).fetchall():
            again(kind, name, definition)
    for name, table, definition in referring:
        again("foreign key to it", name, f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
    connection.execute("SET search_path = freshet, public")
    again("row-level security", "secure_table", "SELECT freshet.secure_table('chunk')")
    for number in range(PARTITIONS):
        again(
            "storage",
            f"chunk_p{number}",
            f"ALTER TABLE freshet.chunk_p{number} SET (toast_tuple_target = 8160)",
        )
    # What a change of the schema would do: the key with the column of the partitions, and what follows the type.
    column = key.split("(")[1].rstrip(")")
    again(
        "with the column",
        "chunk_pkey",
        f"ALTER TABLE freshet.chunk ADD PRIMARY KEY (chunk_id, {column})",
    )
    for definition in _of_the_row(connection):
        again("of the row's type", "function", definition)
    connection.execute("ANALYZE freshet.chunk")
    return refusals, round(time.monotonic() - began, 1)


def _give_to_the_owner(connection: Connection) -> None:
    """Functions of Freshet run with the rights of their owner, who owns the tables."""
    owner = connection.execute(
        "SELECT relowner::regrole::text FROM pg_class WHERE oid = 'flat.chunk'::regclass"
    ).fetchone()
    assert owner is not None
    tables = ("chunk", *(f"chunk_p{number}" for number in range(PARTITIONS)))
    for table in tables:
        connection.execute(f"ALTER TABLE freshet.{table} OWNER TO {owner[0]}".encode())


def _of_the_row(connection: Connection) -> list[str]:
    """Functions that take a row of the table, for rows of the partitioned one."""
    rows = connection.execute(
        """SELECT pg_get_functiondef(p.oid) FROM pg_proc p
            WHERE 'flat.chunk'::regtype = ANY(p.proargtypes::oid[])"""
    ).fetchall()
    return [row[0] for row in rows]


def _constraints(connection: Connection) -> list[tuple[str, str]]:
    return connection.execute(
        """SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
            WHERE conrelid = 'flat.chunk'::regclass AND contype IN ('p', 'u', 'f', 'c', 'x') ORDER BY contype DESC"""
    ).fetchall()  # type: ignore[return-value]


_INDEXES = """
SELECT c.relname, pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
 WHERE i.indrelid = 'flat.chunk'::regclass AND NOT EXISTS (SELECT FROM pg_constraint t WHERE t.conindid = c.oid)"""
_TRIGGERS = """
SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'flat.chunk'::regclass AND NOT tgisinternal"""


def _bound_to_the_table(connection: Connection) -> dict[str, Any]:
    """What follows the table by its identity, not by its name, and what reads figures that only a table has."""
    follow = connection.execute(
        """SELECT p.oid::regprocedure::text FROM pg_proc p
            WHERE 'flat.chunk'::regtype = ANY(p.proargtypes::oid[]) OR p.prorettype = 'flat.chunk'::regtype
           UNION SELECT DISTINCT r.ev_class::regclass::text FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
            WHERE d.refobjid = 'flat.chunk'::regclass AND d.classid = 'pg_rewrite'::regclass"""
    ).fetchall()
    sized = connection.execute(
        """SELECT p.oid::regprocedure::text FROM pg_proc p WHERE p.pronamespace = 'freshet'::regnamespace
              AND p.prosrc ~ 'chunk' AND p.prosrc ~ 'relation_size|reltuples|TABLESAMPLE|CONCURRENTLY|regclass'"""
    ).fetchall()
    return {
        "functions and views of the row's type": sorted(row[0] for row in follow),
        "functions that read sizes, estimates or indexes of one table": sorted(
            row[0] for row in sized
        ),
    }


def _read_queries(connection: Connection) -> dict[str, int | str]:
    """Of each query the partitions of `chunk` that its plan visits, or why it fails."""
    connection.execute("SET max_parallel_workers_per_gather = 0")
    connection.execute(query("create_incoming").encode())
    answers: dict[str, int | str] = {}
    for name in explainable():
        try:
            values = values_of(connection, name)
            reading = read_by(connection, name, values, statements_before(connection, name))
        except psycopg.Error as error:
            answers[name] = str(error).splitlines()[0]
        else:
            answers[name] = sum(f"chunk_p{number} " in reading.plan for number in range(PARTITIONS))
    return answers


# ── vectors ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _vectors(server: Postgres) -> dict[str, Any]:
    """Recall and work of a search by vector, in one table and in partitions by the hash of the source."""
    server.create_database("vectors")
    rng = np.random.default_rng(20261127)
    centres = rng.standard_normal((CENTRES, DIMENSIONS))
    vectors = _around(rng, centres, CHUNKS)
    questions = _around(rng, centres, QUERIES)
    sources = rng.integers(0, SOURCES, CHUNKS)
    found: dict[str, Any] = {}
    with psycopg.connect(server.url_of("vectors"), autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
        register_vector(connection)
        for name, key in {
            "one table": "",
            "by hash of source": " PARTITION BY HASH (source)",
        }.items():
            seconds = _fill(connection, key, vectors, sources)
            found[name] = {
                "seconds to build the index": seconds,
                **{
                    f"{what}, ef_search {ef}": _asked(
                        connection, vectors, sources, questions, ef, one
                    )
                    for ef in EF_SEARCH
                    for what, one in (("one source", True), ("all sources", False))
                },
            }
            connection.execute("DROP TABLE chunk")
    return {"chunks": CHUNKS, "dimensions": DIMENSIONS, "sources": SOURCES, **found}


def _around(rng: np.random.Generator, centres: Any, count: int) -> Any:
    made = centres[rng.integers(0, len(centres), count)]
    made = made + 0.5 * rng.standard_normal((count, DIMENSIONS))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def _fill(connection: psycopg.Connection, key: str, vectors: Any, sources: Any) -> float:
    connection.execute(
        f"CREATE TABLE chunk (chunk_id integer, source text, embedding vector({DIMENSIONS})){key}".encode()
    )
    if key:
        for number in range(PARTITIONS):
            bound = f"MODULUS {PARTITIONS}, REMAINDER {number}"
            connection.execute(
                f"CREATE TABLE chunk_p{number} PARTITION OF chunk FOR VALUES WITH ({bound})".encode()
            )
    with connection.cursor().copy("COPY chunk FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(("int4", "text", "vector"))
        for number, (vector, source) in enumerate(zip(vectors, sources, strict=True)):
            copy.write_row((number, f"s{source}", vector))
    began = time.process_time(), time.monotonic()
    connection.execute("SET maintenance_work_mem = '512MB'")
    connection.execute("CREATE INDEX ON chunk USING hnsw (embedding vector_cosine_ops)")
    connection.execute("CREATE INDEX ON chunk (source)")
    connection.execute("ANALYZE chunk")
    return round(time.monotonic() - began[1], 1)


def _asked(
    connection: psycopg.Connection,
    vectors: Any,
    sources: Any,
    questions: Any,
    ef: int,
    of_one: bool,
) -> dict[str, Any]:
    connection.execute(f"SET hnsw.ef_search = {ef}".encode())
    connection.execute("SET hnsw.iterative_scan = strict_order")
    # The index answers, as where the table is large.
    connection.execute("SET enable_seqscan = off")
    connection.execute("SET enable_bitmapscan = off")
    recalls, pages, milliseconds, indexes = [], [], [], set[int]()
    for number, question in enumerate(questions):
        source = number % SOURCES
        where = f"WHERE source = 's{source}'" if of_one else ""
        text = f"SELECT chunk_id FROM chunk {where} ORDER BY embedding <=> %s LIMIT {K}"
        allowed = np.flatnonzero(sources == source) if of_one else np.arange(CHUNKS)
        nearest = allowed[np.argsort(-(vectors[allowed] @ question))[:K]]
        rows = connection.execute(text.encode(), (question,)).fetchall()
        recalls.append(len({row[0] for row in rows} & set(nearest.tolist())) / K)
        row = connection.execute(
            b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + text.encode(), (question,)
        ).fetchone()
        assert row is not None
        plan = row[0][0]
        pages.append(plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"])
        milliseconds.append(plan["Execution Time"])
        indexes.add(_count(plan["Plan"], lambda node: "embedding" in node.get("Index Name", "")))
    return {
        "recall@10": round(statistics.fmean(recalls), 3),
        "pages read, median": int(statistics.median(pages)),
        "p50 ms": round(statistics.median(milliseconds), 2),
        "indexes searched": sorted(indexes),
    }


def _count(plan: dict[str, Any], matches: Callable[[dict[str, Any]], bool]) -> int:
    return int(matches(plan)) + sum(_count(part, matches) for part in plan.get("Plans", []))
