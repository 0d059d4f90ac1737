"""A document that PostgreSQL refuses becomes a dead letter; the rest of its batch is published."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from psycopg import sql

from corpus.batch import BatchReport
from corpus.errors import DatabaseRefusalError, DependencyError, FreshetError
from corpus.preparation import PreparationSpec
from ingest.event import KafkaRecord
from tests.support.pipeline import NOW_MS, Pipeline, make_event

SECRET = "the salary of the director"


@contextmanager
def constraint(pipeline: Pipeline, table: str, check: str) -> Iterator[None]:
    """A rule of the schema that some rows break; PostgreSQL quotes such a row in its message."""
    pipeline.connection.execute(
        f"ALTER TABLE freshet.{table} ADD CONSTRAINT refuses CHECK ({check}) NOT VALID".encode()
    )
    yield
    pipeline.connection.execute(f"ALTER TABLE freshet.{table} DROP CONSTRAINT refuses".encode())


def dead_letters(pipeline: Pipeline) -> list[tuple[Any, ...]]:
    return pipeline.connection.execute(
        "SELECT record_offset, document_id, reason FROM freshet.dead_letter ORDER BY 1"
    ).fetchall()


def adds_up(pipeline: Pipeline, report: BatchReport, records: int) -> bool:
    outcomes = (
        report.applied,
        report.unchanged,
        report.superseded,
        report.dead_lettered,
        report.ignored,
    )
    refused = pipeline.connection.execute("SELECT count(*) FROM freshet.refused_event").fetchone()
    return sum(outcomes) == report.records == records and refused == (0,)


def test_a_document_too_large_for_text_search_is_found(pipeline: Pipeline) -> None:
    """`chunker = "whole"`: hyphenated words in a script of three bytes per letter; a tsvector holds 1 MB."""
    pipeline.spec = replace(pipeline.spec, pipeline=PreparationSpec(chunker="whole"))
    pipeline.configure()
    letters = [chr(code) for code in range(0x10D0, 0x10F1)]
    three = [a + b + c for a in letters for b in letters for c in letters]
    pairs = zip(three[:24_900], reversed(three[-24_900:]), strict=True)
    words = " ".join(f"{one}-{two}" for one, two in pairs)
    report = pipeline.ingest(
        make_event("ok", 1, "fine"), make_event("list", 1, words), make_event("too", 1, "good")
    )
    assert set(pipeline.visible()) == {"ok", "too"}
    assert dead_letters(pipeline) == [(1, "list", "not_storable")]
    assert adds_up(pipeline, report, 3)
    detail = pipeline.connection.execute("SELECT detail FROM freshet.dead_letter").fetchone()
    assert detail is not None
    assert "string is too long for tsvector" in detail[0]
    assert pipeline.ingest(make_event("list", 2, "short")).applied == 1


@pytest.mark.parametrize("bad", [{0}, {39}, {3, 4, 5, 21, 38}, set(range(1, 40))], ids=str)
def test_every_refused_document_is_found_and_no_other(pipeline: Pipeline, bad: set[int]) -> None:
    events = [
        make_event(f"d{n}", 1, f"text {n}", title=SECRET if n in bad else "fine") for n in range(40)
    ]
    with constraint(pipeline, "document", f"title <> '{SECRET}'"):
        report = pipeline.ingest(*events)
    assert set(pipeline.visible()) == {f"d{n}" for n in range(40) if n not in bad}
    assert dead_letters(pipeline) == [(n, f"d{n}", "not_storable") for n in sorted(bad)]
    assert adds_up(pipeline, report, 40)
    rows = pipeline.connection.execute("SELECT detail, value FROM freshet.dead_letter").fetchall()
    assert all("check constraint" in detail and SECRET not in detail for detail, _ in rows)
    assert all(SECRET.encode() in value for _, value in rows)


def test_the_next_best_event_of_a_refused_document_acts(pipeline: Pipeline) -> None:
    """As it would in a batch of its own: where batches are cut does not decide the result."""
    with constraint(pipeline, "document", f"title <> '{SECRET}'"):
        report = pipeline.ingest(
            make_event("a", 1, "one"),
            make_event("a", 3, "three", title=SECRET),
            make_event("a", 2, "two"),
            make_event("b", 1, "b", title=SECRET),
            make_event("b", 2, op="delete"),
        )
        assert pipeline.visible() == {"a": (2, "two")}
        assert dead_letters(pipeline) == [(1, "a", "not_storable")]
        assert (report.applied, report.superseded, report.dead_lettered) == (2, 2, 1)
        assert pipeline.ingest(make_event("c", 1, "see")).applied == 1


def test_a_dead_letter_that_is_refused_itself_keeps_its_bytes(pipeline: Pipeline) -> None:
    record = KafkaRecord(
        topic="",
        partition=0,
        offset=0,
        timestamp_ms=NOW_MS,
        key=b"k",
        value=b"no json",
        headers=(("h", b"1"),),
    )
    with constraint(pipeline, "dead_letter", "headers = '[]'"):
        report = pipeline.ingest(make_event("a", 1, "one"), record)
    assert set(pipeline.visible()) == {"a"}
    assert adds_up(pipeline, report, 2)
    letters = pipeline.connection.execute(
        "SELECT key, value, reason, headers FROM freshet.dead_letter"
    ).fetchall()
    assert letters == [(b"k", b"no json", "not_storable", [])]


def test_what_no_dead_letter_can_hold_is_an_error(pipeline: Pipeline) -> None:
    ref = pipeline.stage(pipeline.records([make_event("a", 1, "one"), b"no json"]))
    with (
        constraint(pipeline, "dead_letter", "false"),
        pytest.raises(DatabaseRefusalError, match="check constraint"),
    ):
        pipeline.run(ref)
    assert pipeline.visible() == {}
    report = pipeline.run(ref)
    assert (report.applied, report.dead_lettered) == (1, 1)


def test_a_rule_that_no_document_keeps_is_not_the_fault_of_documents(pipeline: Pipeline) -> None:
    events = [make_event(f"d{n}", 1, f"text {n}") for n in range(30)]
    with (
        constraint(pipeline, "chunk", "false"),
        pytest.raises(DatabaseRefusalError) as caught,
    ):
        pipeline.ingest(*events)
    errors: list[BaseException | None] = [caught.value, caught.value.__cause__]
    assert all("check constraint" in str(error) for error in errors)
    assert not any("text 1" in str(error) for error in errors)
    assert dead_letters(pipeline) == []
    refused = pipeline.connection.execute("SELECT count(*) FROM freshet.refused_event").fetchone()
    assert refused == (0,)


@pytest.mark.parametrize(
    ("state", "error"),
    [
        ("53100", DependencyError),  # disk full
        ("57014", DependencyError),  # cancelled by an operator
        ("40P01", DependencyError),  # deadlock
        ("25P03", DependencyError),  # the process stood still
        ("42501", DatabaseRefusalError),  # permission
        ("42P01", DatabaseRefusalError),  # undefined table
        ("23503", DatabaseRefusalError),  # foreign key
        ("XX000", DatabaseRefusalError),  # internal error
    ],
)
def test_what_is_not_of_one_document_makes_no_dead_letter(
    pipeline: Pipeline, state: str, error: type[FreshetError]
) -> None:
    function = sql.SQL(
        "CREATE FUNCTION freshet.refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'as planned' USING ERRCODE = {}; END $$"
    ).format(state)
    pipeline.connection.execute(function)
    pipeline.connection.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON freshet.chunk FOR EACH ROW"
        " WHEN (NEW.document_id = 'bad') EXECUTE FUNCTION freshet.refuse()"
    )
    ref = pipeline.stage(pipeline.records([make_event("ok", 1, "one"), make_event("bad", 1, "x")]))
    # The message of an internal error may quote rows: then its state stands for it.
    with pytest.raises(error, match="XX000" if state == "XX000" else "as planned"):
        pipeline.run(ref)
    assert dead_letters(pipeline) == []
    pipeline.connection.execute("DROP TRIGGER refuse ON freshet.chunk")
    pipeline.run(ref)
    assert set(pipeline.visible()) == {"ok", "bad"}


@pytest.mark.parametrize("state", ["22001", "22021", "22P05", "23514", "54000", "54001"])
def test_what_is_of_one_document_makes_one_dead_letter(pipeline: Pipeline, state: str) -> None:
    pipeline.connection.execute(
        sql.SQL(
            "CREATE FUNCTION freshet.refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'quoted value' USING ERRCODE = {}; END $$"
        ).format(state)
    )
    pipeline.connection.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON freshet.document FOR EACH ROW"
        " WHEN (NEW.document_id = 'bad') EXECUTE FUNCTION freshet.refuse()"
    )
    report = pipeline.ingest(make_event("ok", 1, "one"), make_event("bad", 1, "x"))
    assert (set(pipeline.visible()), report.dead_lettered) == ({"ok"}, 1)
    detail = pipeline.connection.execute("SELECT detail FROM freshet.dead_letter").fetchone()
    assert detail is not None
    assert state in detail[0]
    assert ("quoted value" in detail[0]) == (not state.startswith("22"))


def test_a_refused_event_of_a_recreated_topic_is_another_event(pipeline: Pipeline) -> None:
    pipeline.connection.execute(
        "INSERT INTO freshet.refused_event (source, topic, topic_id, partition, record_offset, detail)"
        " VALUES ('s', 's', 'earlier-log', 0, 0, 'x')"
    )
    report = pipeline.ingest(make_event("a", 1, "one"))
    assert (report.applied, report.dead_lettered) == (1, 0)
    assert adds_up(pipeline, report, 1)
