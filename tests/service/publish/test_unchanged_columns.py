"""A change that leaves out a large column: its text stays, whatever the batches are, and no placeholder is text."""

import base64
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from corpus.clean.cleaner import Cleaner
from corpus.errors import StalePreparationError
from corpus.source import VersionRule
from corpus.specs.formats import MappingSpec
from ingest.event import KafkaRecord
from tests.support.debezium import UNAVAILABLE, Table, change, cut, read_fixture, record
from tests.support.inputs import DATA, needs_inputs
from tests.support.pipeline import Pipeline

pytestmark = pytest.mark.service
LONG = "The long text of a row, which no update of its title touches."


@pytest.fixture(scope="module")
def cleaner() -> Iterator[Cleaner]:
    with Cleaner(processes=1) as made:
        yield made


@pytest.fixture
def table(database_url: str, tmp_path: Path, cleaner: Cleaner) -> Iterator[Pipeline]:
    mapping = MappingSpec(content="{title} {big}", title="title")
    rule = VersionRule.OWN
    spec: dict[str, Any] = {"format": "debezium", "mapping": mapping, "version_rule": rule}
    with Pipeline(database_url, tmp_path, cleaner=cleaner, **spec) as made:
        yield made


def row(title: str, big: str = UNAVAILABLE, number: int = 1) -> dict[str, Any]:
    return {"id": number, "title": title, "big": big}


def reasons(pipeline: Pipeline) -> list[str]:
    query = "SELECT reason FROM freshet.dead_letter ORDER BY record_offset"
    return [each for (each,) in pipeline.connection.execute(query).fetchall()]


@pytest.mark.parametrize("at_once", [True, False])
def test_the_text_stays_where_an_update_leaves_it_out(table: Pipeline, at_once: bool) -> None:
    changes = [
        change("c", 10, row("One", LONG)),
        change("u", 20, row("Two")),
        change("u", 30, row("Three")),
    ]
    if at_once:
        table.ingest(*changes)
    else:
        for each in changes:
            table.ingest(each)
    assert table.visible() == {"1": (30, f"Three {LONG}")}
    assert reasons(table) == []
    report = table.ingest(change("u", 30, row("Three")))
    assert (report.unchanged, report.dead_lettered) == (1, 0)


def test_a_change_without_an_earlier_version_is_no_document(table: Pipeline) -> None:
    table.ingest(change("u", 20, row("Two")))
    assert (table.texts(), reasons(table)) == ({}, ["unavailable_column"])
    table.ingest(change("c", 10, row("One", LONG)))
    table.ingest(change("u", 20, row("Two")))  # as it is redriven
    assert table.texts() == {"1": f"Two {LONG}"}
    table.ingest(change("d", 30, row("Two")), record({"id": 1}, None), change("u", 40, row("Four")))
    assert table.texts() == {}
    assert reasons(table)[1:] == ["unavailable_column"]


@pytest.mark.parametrize("at_once", [True, False])
def test_text_from_before_a_record_that_could_not_be_used_is_not_taken(
    table: Pipeline, at_once: bool
) -> None:
    """The record in between may have changed the column, which the later one leaves out for that reason."""
    limit = replace(table.spec.pipeline, max_document_bytes=5_000)
    table.spec = replace(table.spec, pipeline=limit)
    table.configure()
    lost = change("u", 20, row("Two", "other " * 2_000))
    changes = [change("c", 10, row("One", LONG)), lost, change("u", 30, row("Three"))]
    if at_once:
        table.ingest(*changes)
    else:
        for each in changes:
            table.ingest(each)
    assert table.texts() == {"1": f"One {LONG}"}
    assert reasons(table) == ["too_large", "unavailable_column"]
    query = "SELECT detail FROM freshet.dead_letter WHERE reason = 'unavailable_column'"
    assert "redrive that one first" in table.connection.execute(query).fetchall()[0][0]
    # A whole row is whole, and what follows it is known again.
    table.ingest(change("u", 40, row("Four", LONG)))
    table.ingest(change("u", 50, row("Five")))
    assert table.texts() == {"1": f"Five {LONG}"}


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("is_sent_again", [True, False])
def test_a_lost_record_counts_however_the_records_are_ordered(
    table: Pipeline, at_once: bool, is_sent_again: bool
) -> None:
    """Sent again, the known row is behind the lost record; after a change of the partitions, it is in another one."""
    limit = replace(table.spec.pipeline, max_document_bytes=5_000)
    table.spec = replace(table.spec, pipeline=limit)
    table.configure()
    first = change("c", 10, row("One", LONG))
    lost = change("u", 20, row("Two", "other " * 2_000))
    log = [first, lost, *([first] if is_sent_again else []), change("u", 30, row("Three"))]
    parts = [log] if is_sent_again else [log[:1], log[1:]]
    staged = [
        table.stage(table.records(part, partition=number)) for number, part in enumerate(parts)
    ]
    if at_once:
        table.run(*staged)
    else:
        for reference in staged:
            table.run(reference)
    assert table.texts() == {"1": f"One {LONG}"}
    assert sorted(reasons(table)) == ["too_large", "unavailable_column"]
    query = "SELECT reason, version FROM freshet.dead_letter ORDER BY reason"
    letters = table.connection.execute(query).fetchall()
    assert letters == [("too_large", None), ("unavailable_column", 30)]


@pytest.mark.parametrize("state", ["redriven", "discarded"])
def test_a_lost_record_is_lost_until_its_row_is_known_again(table: Pipeline, state: str) -> None:
    """Its copy may be on its way; and to discard it tells nothing of what it said."""
    limit = replace(table.spec.pipeline, max_document_bytes=5_000)
    table.spec = replace(table.spec, pipeline=limit)
    table.configure()
    table.ingest(change("c", 10, row("One", LONG)))
    table.ingest(change("u", 20, row("Two", "other " * 2_000)))
    table.connection.execute("UPDATE freshet.dead_letter SET state = %s", (state,))
    table.ingest(change("u", 30, row("Three")))
    assert table.texts() == {"1": f"One {LONG}"}
    table.ingest(change("u", 40, row("Four", LONG)))
    table.ingest(change("u", 50, row("Five")))
    assert table.texts() == {"1": f"Five {LONG}"}


@pytest.mark.parametrize("at_once", [True, False])
def test_a_lost_record_of_the_old_key_is_lost_for_the_new_one(
    table: Pipeline, at_once: bool
) -> None:
    limit = replace(table.spec.pipeline, max_document_bytes=5_000)
    table.spec = replace(table.spec, pipeline=limit)
    table.configure()
    changes = [
        change("c", 10, row("One", LONG)),
        change("u", 20, row("Two", "other " * 2_000)),
        change("d", 30, row("Two")),
        with_new_key(30, "Two"),
    ]
    if at_once:
        table.ingest(*changes)
    else:
        for each in changes:
            table.ingest(each)
    assert table.texts() == {}
    assert reasons(table) == ["too_large", "unavailable_column"]


def test_an_older_or_a_superseded_one_is_no_dead_letter(table: Pipeline) -> None:
    table.ingest(change("u", 20, row("Two")), change("u", 30, row("Three", LONG)))
    table.ingest(change("u", 25, row("Late")))
    assert (table.texts(), reasons(table)) == ({"1": f"Three {LONG}"}, [])


def test_a_batch_that_is_prepared_too_early_is_prepared_again(table: Pipeline) -> None:
    """Batches are prepared side by side, and published in order."""
    first = table.stage(table.records([change("c", 10, row("One", LONG))]))
    second = table.stage(table.records([change("u", 20, row("Two"))]))
    early = table.prepare([second], 2)
    table.run(first)
    with pytest.raises(StalePreparationError):
        table.publish([second], early, 2)
    table.run(second)
    assert (table.texts(), reasons(table)) == ({"1": f"Two {LONG}"}, [])


def test_text_of_a_head_that_was_replaced_meanwhile_is_not_taken(table: Pipeline) -> None:
    table.ingest(change("c", 10, row("One", LONG)))
    second = table.stage(table.records([change("u", 20, row("Two", "Another long text."))]))
    third = table.stage(table.records([change("u", 30, row("Three"))]))
    early = table.prepare([third], 9)
    table.embed(early)
    table.run(second)
    with pytest.raises(StalePreparationError):
        table.publish([third], early, 9)
    table.run(third)
    assert table.texts() == {"1": "Three Another long text."}


def test_nothing_is_kept_of_what_is_erased(table: Pipeline) -> None:
    table.ingest(change("c", 10, row("One", LONG)), change("c", 10, row("One", LONG, 2)))
    table.erase("1")
    query = "SELECT document_id FROM freshet.kept_columns"
    assert table.connection.execute(query).fetchall() == [("2",)]


def test_what_is_erased_completes_no_row(table: Pipeline) -> None:
    """Neither a later change of its own, nor that of the row which its key was changed to."""
    table.ingest(change("c", 10, row("One", LONG)))
    table.erase("1")
    table.ingest(change("u", 20, row("Two")))
    assert (table.texts(), reasons(table)) == ({}, [])
    table.ingest(change("c", 30, row("Three", number=3), oldkey={"id": 1}))
    assert (table.texts(), reasons(table)) == ({}, ["column_waits"])


def with_new_key(lsn: int, title: str, number: int = 2, old: int = 1) -> KafkaRecord:
    """The second half of a changed key; the first is a delete of the old one, of the same place in the log."""
    return change("c", lsn, row(title, number=number), oldkey={"id": old})


def test_a_changed_key_waits_for_the_partition_of_the_old_one(table: Pipeline) -> None:
    """Else it would take a text that is older than the change."""
    table.ingest(change("c", 10, row("One", LONG)))
    table.ingest(with_new_key(30, "Two"), change("u", 40, row("Three", number=2)), partition=1)
    assert (table.texts(), reasons(table)) == ({"1": f"One {LONG}"}, ["column_waits"] * 2)
    table.ingest(change("u", 20, row("One", "Another long text.")))
    table.ingest(with_new_key(30, "Two"), partition=1)  # as it is sent again, too early
    assert table.texts() == {"1": "One Another long text."}
    table.ingest(change("d", 30, row("One")), record({"id": 1}, None))
    table.ingest(with_new_key(30, "Two"), change("u", 40, row("Three", number=2)), partition=1)
    assert table.texts() == {"2": "Three Another long text."}
    assert set(reasons(table)) == {"column_waits"}


def test_halves_of_a_changed_key_in_one_batch(table: Pipeline) -> None:
    table.ingest(change("c", 10, row("One", LONG)))
    new = table.stage(table.records([with_new_key(30, "Two")], partition=1))
    old = table.stage(table.records([change("d", 30, row("One")), record({"id": 1}, None)]))
    table.run(new, old)
    assert (table.texts(), reasons(table)) == ({"2": f"Two {LONG}"}, [])


def test_a_letter_waits_longer_each_time_and_a_day_at_most(table: Pipeline) -> None:
    table.ingest(change("c", 10, row("One", LONG)))
    waits: list[int] = []
    for waited in (0, 100, 50_000, 90_000):
        table.connection.execute(
            "UPDATE freshet.waiting_fetch SET waits_since = now() - make_interval(secs => %s)",
            (waited,),
        )
        again = with_new_key(30, "Two")
        if waited:
            headers = (*again.headers, ("freshet.redriven-from", b"t/1/0 #1"))
            again = replace(again, headers=headers)
        table.ingest(again, partition=1)
    query = """SELECT extract(epoch FROM retry_at - l.created_at)::integer
               FROM freshet.waiting_fetch w JOIN freshet.dead_letter l USING (dead_letter) ORDER BY 1"""
    waits = [seconds for (seconds,) in table.connection.execute(query).fetchall()]
    assert waits == pytest.approx([10, 100, 3_600], abs=5)
    assert sorted(reasons(table)) == ["column_waits"] * 3 + ["unavailable_column"]


@pytest.mark.parametrize("at_once", [True, False])
def test_an_earlier_life_of_a_key_completes_no_row(table: Pipeline, at_once: bool) -> None:
    """Key 2 had a row before; what it was changed to could not be used, and then it was changed to 3."""
    table.ingest(change("c", 5, row("Old", LONG, 2)), change("d", 7, row("Old", number=2)))
    table.ingest(with_new_key(30, "Two"), partition=1)
    half = [change("d", 60, row("Two", number=2))]
    other = with_new_key(60, "Three", number=3, old=2)
    if at_once:
        new = table.stage(table.records([other], partition=2))
        table.run(new, table.stage(table.records(half, partition=1)))
    else:
        table.ingest(*half, partition=1)
        table.ingest(other, partition=2)
    assert (table.texts(), reasons(table)) == ({}, ["column_waits"] * 2)
    table.connection.execute("UPDATE freshet.dead_letter SET state = 'redriven'")
    table.ingest(other, partition=2)
    assert table.texts() == {}
    assert sorted(reasons(table)) == ["column_waits"] * 2 + ["unavailable_column"]


@needs_inputs
@pytest.mark.parametrize("name", ["dbz", "dbzs"])
def test_what_a_real_debezium_wrote(table: Pipeline, name: str) -> None:
    """Snapshot, stream, an unchanged column, and a changed key; twice."""
    log = read_fixture(DATA / "wire" / "debezium" / f"{name}.kb.notes.jsonl")
    spec = table.spec.__class__(
        **{
            **{field: getattr(table.spec, field) for field in table.spec.__dataclass_fields__},
            "mapping": MappingSpec(content="{body} {big}"),
        }
    )
    table.spec = spec
    table.configure()
    for each in [*log, *log]:
        table.ingest(each)
    shown = table.texts()
    assert (shown.keys(), reasons(table)) == ({"1", "3"}, [])
    assert shown["1"] == "note xxxxxxxxxxxxxxxxxxxx"
    assert shown["3"].startswith("toast changed c4ca4238")


@pytest.mark.parametrize("seed", range(4))
def test_the_corpus_is_the_table_in_any_batches(table: Pipeline, seed: int) -> None:
    """With records that come again, and batches that are prepared before those before them are published."""
    rng = random.Random(seed)
    rows = Table(rng)
    for _ in range(25):
        rows.change()
    log = list(rows.log)
    # A connector begins again with a change, not between it and its tombstone.
    again = rng.choice([number for number, each in enumerate(log) if each.value is not None])
    batches = [*cut(rng, log), *cut(rng, log[again:])]
    staged = [table.stage(table.records(batch)) for batch in batches]
    for number, reference in enumerate(staged):
        if number + 1 < len(staged) and rng.random() < 0.3:
            table.prepare([staged[number + 1]], 1_000 + number)
        table.run(reference)
    assert reasons(table) == [], f"seed {seed}"
    assert table.texts() == rows.documents(), f"seed {seed}"
    count = "SELECT count(*) FROM freshet.chunk WHERE text LIKE '%unavailable_value%'"
    assert table.connection.execute(count).fetchone() == (0,)


def in_partitions(rng: random.Random, log: list[KafkaRecord]) -> Iterator[list[KafkaRecord]]:
    """The log in batches of three partitions, by the keys of its records; any partition may be far behind."""
    waiting: dict[int, list[KafkaRecord]] = {0: [], 1: [], 2: []}
    for each in log:
        waiting[json.loads(each.key or b"{}")["id"] % 3].append(each)
    while left := [partition for partition, records in waiting.items() if records]:
        partition = rng.choice(left)
        records = waiting[partition]
        size = rng.randint(1, 6)
        # A connector writes a delete and its tombstone together.
        while size < len(records) and records[size].value is None:
            size += 1
        yield [replace(each, partition=partition) for each in records[:size]]
        del records[:size]


def redrive(pipeline: Pipeline) -> int:
    """Send again what waits, as the consumers do when its time has come; returns how many."""
    letters = pipeline.connection.execute(
        """UPDATE freshet.dead_letter SET state = 'redriven' WHERE state = 'open' AND reason = 'column_waits'
           RETURNING dead_letter, partition, key, value, headers, record_offset"""
    ).fetchall()
    for number, partition, key, value, headers, _ in sorted(letters, key=lambda row: row[0]):
        kept = [(name, None if text is None else base64.b64decode(text)) for name, text in headers]
        origin = ("freshet.redriven-from", f"s/{partition}/0 #{number}".encode())
        again = replace(record(1, None), key=key, value=value, headers=(*kept, origin))
        pipeline.ingest(again, partition=partition)
    return len(letters)


@pytest.mark.parametrize("seed", range(4))
def test_the_corpus_is_the_table_whichever_partition_is_behind(table: Pipeline, seed: int) -> None:
    rng = random.Random(seed)
    rows = Table(rng, keys=8, uses_again=False)
    for _ in range(40):
        rows.change()
    waited = 0
    for batch in in_partitions(rng, list(rows.log)):
        table.ingest(*batch, partition=batch[0].partition)
        waited += redrive(table) if rng.random() < 0.2 else 0
    waited += redrive(table)
    assert redrive(table) == 0, f"seed {seed}"
    assert set(reasons(table)) <= {"column_waits"}, f"seed {seed}"
    assert table.texts() == rows.documents(), f"seed {seed}"
    assert waited > 0, f"seed {seed}"
