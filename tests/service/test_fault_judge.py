"""The judge of the fault driver and the reader's memory of batches: each finds what it is there to find."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.bench import data
from tests.bench.faults.injector import Injected
from tests.bench.faults.judge import violations
from tests.bench.faults.schedule import Fault, Kind
from tests.bench.faults.stalls import Look, Stall
from tests.bench.reader import RecordedBatches
from tests.support.pipeline import Pipeline, make_event

FAULT = Fault(number=1, kind=Kind.KILL, target="storer", after=0.0)
EVENTS = [make_event("a", 1, "A gauging station."), make_event("b", 1, "A weir.")]


@dataclass
class Watched:
    """What a watcher saw."""

    looks: dict[str, Look] = field(default_factory=dict[str, Look])
    stalls: list[Stall] = field(default_factory=list[Stall])
    halts: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


def exported(pipeline: Pipeline) -> dict[str, tuple[str, str]]:
    rows = pipeline.connection.execute(
        """SELECT document_id, version::text, encode(content_sha256, 'hex')
           FROM freshet.document WHERE visible_to IS NULL"""
    ).fetchall()
    return {document: (version, sha256) for document, version, sha256 in rows}


def judged(pipeline: Pipeline, **other: Any) -> list[str]:
    arguments: dict[str, Any] = {
        "wanted": data.folded(EVENTS),
        "exported": exported(pipeline),
        "connection": pipeline.connection,
        "reader": {"looks": 10, "two versions": 0},
        "watcher": Watched(),
        "injected": [Injected(fault=FAULT, began=1.0, ended=2.0, progressed=3.0)],
        "count": 1,
        "drained": True,
    }
    return list(violations(**arguments | other))


@pytest.fixture
def published(pipeline: Pipeline) -> Pipeline:
    """Two batches."""
    for event in EVENTS:
        pipeline.ingest(event)
    return pipeline


def test_a_run_that_kept_every_promise_has_no_violation(published: Pipeline) -> None:
    assert judged(published) == []


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ({"drained": False}, "not all records are in the corpus"),
        ({"reader": {"looks": 10, "two versions": 3}}, "the reader saw two versions: 3"),
        ({"count": 2}, "1 of 2 faults were injected"),
        (
            {"injected": [Injected(fault=FAULT, began=1.0, problem="storer was not back")]},
            "#1 kill -9 storer: storer was not back",
        ),
        ({"watcher": Watched(halts=[("s", "a gap")])}, "s was halted and needed a person: a gap"),
        (
            {
                "watcher": Watched(
                    stalls=[Stall(source="s", since=1, seconds=61, lag=5, last_fault="#1")]
                )
            },
            "s was active with 5 records to read and stood still for 61 s",
        ),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_was_seen_during_a_run_is_a_violation(
    published: Pipeline, broken: dict[str, Any], sentence: str
) -> None:
    [violation] = judged(published, **broken)
    assert violation.startswith(sentence)


def test_a_document_that_differs_is_a_violation(published: Pipeline) -> None:
    other = ("1", hashlib.sha256(b"another text").hexdigest())
    [violation] = judged(published, exported={**exported(published), "a": other})
    assert violation == "1 documents differ from the fold of the stream: ['a']"


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        (
            "UPDATE freshet.batch_range SET first_offset = 0, records = 2 WHERE batch = 2",
            "offsets of s, s/0 from 1 on are not in one batch each",
        ),
        (
            "UPDATE freshet.source_position SET next_offset = 3",
            "the ranges of s, s/0 end at 2, its position is 3",
        ),
        (
            "UPDATE freshet.batch SET records = 5, applied = 5 WHERE batch = 1",
            "batch 1 of s counts 5, its ranges 1",
        ),
        (
            """INSERT INTO freshet.dead_letter (source, batch, topic, partition, record_offset, reason, detail)
               VALUES ('s', 1, 's', 0, 0, 'too_large', 'why')""",
            "1 dead letters of s for too_large: why",
        ),
    ],
)
def test_a_ledger_that_does_not_add_up_is_a_violation(
    published: Pipeline, statement: str, sentence: str
) -> None:
    published.connection.execute("DROP INDEX freshet.batch_range_start")  # it forbids the first
    published.connection.execute(statement.encode())
    assert any(violation.startswith(sentence) for violation in judged(published))


def test_the_past_of_a_batch_that_changes_is_noticed(published: Pipeline) -> None:
    batches = RecordedBatches()
    batches.record_new(published.connection)
    published.ingest(make_event("a", 2, "Another gauging station."))
    batches.record_new(published.connection)
    batches.check_all(published.connection)
    assert (batches.looks, batches.changed) == (3, set())
    published.connection.execute(
        "UPDATE freshet.document SET visible_to = visible_from WHERE document_id = 'a' AND version = 1"
    )
    batches.check_all(published.connection)
    assert batches.changed == {("s", 1), ("s", 2)}
