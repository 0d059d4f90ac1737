"""The counts of a batch have the same names in the ledger, in its queries and in the report."""

import re
from dataclasses import fields, replace
from datetime import UTC, datetime

from corpus.batch import BatchInput, BatchKind, BatchRef, BatchReport, BatchState
from corpus.dead_letter import DeadLetterReason
from corpus.publish.ledger import _OUTCOMES, Counts, LedgerRow, report
from corpus.sql import query

NAMES = [field.name for field in fields(Counts)]
REF = BatchRef(
    source="s",
    cluster_id="c",
    topic="t",
    topic_id="id",
    partition=0,
    first_offset=0,
    next_offset=1,
    records=1,
    staged_bytes=0,
    url="f",
    sha256="0",
    staged_at_ms=0,
)
BATCH = BatchInput(source="s", batch=3, refs=(REF,), first_in_line=True)


def test_a_report_has_every_count() -> None:
    counts = Counts(**{name: number for number, name in enumerate(NAMES, 1)})
    made = report(BATCH, BatchKind.INGEST, counts, datetime.fromtimestamp(1.0006, UTC))
    assert [getattr(made, name) for name in NAMES] == list(range(1, len(NAMES) + 1))
    assert (made.source, made.batch, made.state) == ("s", 3, BatchState.PUBLISHED)
    assert made.published_at_ms == 1001


def test_a_batch_that_is_not_in_the_ledger_has_no_instant() -> None:
    nothing = BatchReport(source="s", batch=3, kind=BatchKind.EXPIRY, state=BatchState.PUBLISHED)
    assert report(BATCH, BatchKind.EXPIRY, Counts()) == nothing


def test_the_queries_name_every_count() -> None:
    selected = query("ledger_row").partition("FROM")[0].removeprefix("SELECT")
    assert {field.name for field in fields(LedgerRow)} == set(re.findall(r"\w+", selected))
    written = re.findall(r"%\((\w+)\)s", query("insert_ledger"))
    assert set(NAMES) <= set(written)


def test_the_outcomes_are_counts() -> None:
    assert set(_OUTCOMES.values()) <= set(NAMES)
    assert replace(Counts(), **dict.fromkeys(_OUTCOMES.values(), 1)) != Counts()
    assert not {reason.value for reason in DeadLetterReason} & _OUTCOMES.keys()
