"""What a run must have kept: the promises, each as a list of sentences about how it was broken."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from psycopg.rows import namedtuple_row

from corpus.database import Connection
from tests.bench import data
from tests.bench.faults.injector import Injected
from tests.bench.faults.stalls import Watcher

_MAX_NAMED = 10


def violations(
    *,
    wanted: Mapping[str, tuple[str, str]],
    exported: Mapping[str, tuple[str, str]],
    connection: Connection,
    reader: Mapping[str, int],
    watcher: Watcher,
    injected: Sequence[Injected],
    count: int,
    drained: bool,
) -> Iterator[str]:
    """Every violation of a run that has ended.

    Args:
        wanted: the fold of the stream: id -> (version, sha256).
        exported: the same of the corpus.
        connection: to the database.
        reader: what the reader saw.
        watcher: of the sources.
        injected: the faults.
        count: how many there should be.
        drained: whether all records are in the corpus.
    """
    if not drained:
        lags = {source: look.lag for source, look in watcher.looks.items()}
        yield f"not all records are in the corpus: {lags}"
    if differ := data.differences(exported, wanted):
        yield f"{len(differ)} documents differ from the fold of the stream: {differ[:_MAX_NAMED]}"
    for name, number in reader.items():
        if number and not name.startswith("looks"):
            yield f"the reader saw {name}: {number}"
    yield from of_the_ledger(connection)
    yield from _of_progress(watcher)
    yield from _of_the_faults(injected, count)


def of_the_ledger(connection: Connection) -> Iterator[str]:
    for row in _rows(connection, _RANGES):
        yield (
            f"offsets of {row.source}, {row.topic}/{row.partition} from {row.expected} on "
            f"are not in one batch each: the next range begins at {row.first_offset}"
        )
    for row in _rows(connection, _ENDS):
        yield (
            f"the ranges of {row.source}, {row.topic}/{row.partition} end at {row.end}, "
            f"its position is {row.next_offset}"
        )
    for row in _rows(connection, _COUNTS):
        yield f"batch {row.batch} of {row.source} counts {row.records}, its ranges {row.in_ranges}"
    for row in _rows(connection, _DEAD_LETTERS):
        yield f"{row.letters} dead letters of {row.source} for {row.reason}: {row.detail}"


def _of_progress(watcher: Watcher) -> Iterator[str]:
    for stall in watcher.stalls:
        yield (
            f"{stall.source} was active with {stall.lag} records to read and stood still "
            f"for {stall.seconds:.0f} s; the last fault before was {stall.last_fault or 'none'}"
        )
    for source, reason in watcher.halts:
        yield f"{source} was halted and needed a person: {reason}"


def _of_the_faults(injected: Sequence[Injected], count: int) -> Iterator[str]:
    begun = sum(record.began > 0 for record in injected)
    if begun != count:
        yield f"{begun} of {count} faults were injected"
    for record in injected:
        if record.problem:
            yield f"#{record.fault.number} {record.fault.name}: {record.problem}"


def _rows(connection: Connection, statement: str) -> list[Any]:
    with connection.cursor(row_factory=namedtuple_row) as cursor:
        return cursor.execute(statement.encode()).fetchall()


_RANGES = """
SELECT * FROM (
    SELECT source, topic, partition, first_offset,
           lag(next_offset, 1, 0) OVER (PARTITION BY source, topic, partition ORDER BY first_offset) AS expected
    FROM freshet.batch_range) r
WHERE first_offset <> expected ORDER BY source, topic, partition, first_offset
"""
_ENDS = """
SELECT p.source, p.topic, p.partition, p.next_offset, coalesce(max(r.next_offset), 0) AS "end"
FROM freshet.source_position p LEFT JOIN freshet.batch_range r USING (source, topic, partition)
GROUP BY p.source, p.topic, p.partition, p.next_offset
HAVING p.next_offset <> coalesce(max(r.next_offset), 0)
"""
_COUNTS = """
SELECT b.source, b.batch, b.records, coalesce(sum(r.records), 0)::bigint AS in_ranges
FROM freshet.batch b LEFT JOIN freshet.batch_range r USING (source, batch)
WHERE b.kind = 'ingest' GROUP BY b.source, b.batch, b.records
HAVING b.records <> coalesce(sum(r.records), 0)
    OR b.records <> b.applied + b.unchanged + b.superseded + b.dead_lettered + b.ignored
"""
_DEAD_LETTERS = """
SELECT source, reason, min(detail) AS detail, count(*) AS letters
FROM freshet.dead_letter GROUP BY source, reason ORDER BY source, reason
"""
