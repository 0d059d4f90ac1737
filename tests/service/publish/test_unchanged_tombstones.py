"""A changed key whose old row is deleted by a tombstone alone: no text of an earlier row of the key is taken."""

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from corpus.clean.cleaner import Cleaner
from corpus.source import VersionRule
from corpus.specs.formats import MappingSpec
from ingest.event import KafkaRecord
from tests.support.debezium import NOW_MS, UNAVAILABLE, Table, change, record, tombstones_alone
from tests.support.pipeline import Pipeline
from tests.support.redriven import redrive_waiting

pytestmark = pytest.mark.service
EARLIER = "The long text of an earlier row of the key, which has nothing to do with the later one."
LATER = "The long text of the later row, whose key was changed."


@pytest.fixture(scope="module")
def cleaner() -> Iterator[Cleaner]:
    with Cleaner(processes=1) as made:
        yield made


@pytest.fixture
def table(database_url: str, tmp_path: Path, cleaner: Cleaner) -> Iterator[Pipeline]:
    mapping = MappingSpec(content="{title} {big}", title="title")
    spec: dict[str, Any] = {"format": "debezium", "mapping": mapping}
    spec["version_rule"] = VersionRule.OWN
    with Pipeline(database_url, tmp_path, cleaner=cleaner, **spec) as made:
        yield made


def at(ms: int, made: KafkaRecord) -> KafkaRecord:
    return replace(made, timestamp_ms=NOW_MS + ms)


def written(lsn: int, title: str, big: str, number: int = 1) -> KafkaRecord:
    return at(lsn, change("c", lsn, {"id": number, "title": title, "big": big}))


def gone(ms: int, number: int = 1, next_number: int | None = None) -> KafkaRecord:
    """A tombstone, of a deleted row or of a changed key."""
    headers = {} if next_number is None else {"newkey": {"id": next_number}}
    return at(ms, record({"id": number}, None, headers))


def renamed(lsn: int, title: str, number: int = 2, old: int = 1) -> KafkaRecord:
    row = {"id": number, "title": title, "big": UNAVAILABLE}
    return at(lsn, change("c", lsn, row, oldkey={"id": old}))


def reasons(pipeline: Pipeline) -> list[str]:
    query = "SELECT reason FROM freshet.dead_letter ORDER BY dead_letter"
    return [each for (each,) in pipeline.connection.execute(query).fetchall()]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_key_that_is_used_again_waits_for_its_partition(table: Pipeline, at_once: bool) -> None:
    before = [written(10, "One", EARLIER), gone(15)]
    change_of_key = [renamed(30, "Two")]
    if at_once:
        new = table.stage(table.records(change_of_key, partition=1))
        table.run(new, table.stage(table.records(before)))
    else:
        table.ingest(*before)
        table.ingest(*change_of_key, partition=1)
    assert (table.texts(), reasons(table)) == ({}, ["column_waits"])
    table.ingest(written(20, "One again", LATER))
    assert redrive_waiting(table) == 1
    assert table.texts() == {"1": f"One again {LATER}"}
    table.ingest(gone(30, next_number=2))
    assert redrive_waiting(table) == 1
    assert table.texts() == {"2": f"Two {LATER}"}
    assert set(reasons(table)) == {"column_waits"}


def test_the_same_change_of_a_key_twice(table: Pipeline) -> None:
    """1 becomes 2, is gone, and another row with key 1 becomes 2: the first tombstone also names 2."""
    table.ingest(written(10, "One", EARLIER), gone(12, next_number=2))
    table.ingest(renamed(12, "Two"), partition=1)
    assert table.texts() == {"2": f"Two {EARLIER}"}
    table.ingest(gone(18, number=2), renamed(30, "Two again"), partition=1)
    assert (table.texts(), reasons(table)) == ({}, ["column_waits"])
    table.ingest(written(20, "One again", LATER), gone(30, next_number=2))
    redrive_waiting(table)
    assert table.texts() == {"2": f"Two again {LATER}"}


def test_a_row_that_compaction_has_removed_leaves_no_text_behind(table: Pipeline) -> None:
    """Between two tombstones was a row; what is known is of the one before."""
    table.ingest(written(10, "One", EARLIER), gone(15), gone(30, next_number=2))
    table.ingest(renamed(30, "Two"), partition=1)
    assert table.texts() == {}
    table.ingest(written(40, "Three", EARLIER, 3), gone(45, 3))
    table.ingest(gone(60, 3, next_number=4))
    table.ingest(renamed(60, "Four", 4, 3), partition=1)
    assert table.texts() == {}
    assert not set(reasons(table)) - {"column_waits", "unavailable_column"}


def test_without_the_header_the_partition_is_read_beyond_the_change(table: Pipeline) -> None:
    table.ingest(written(10, "One", LATER), gone(30))
    table.ingest(renamed(30, "Two"), partition=1)
    assert (table.texts(), reasons(table)) == ({}, ["column_waits"])
    table.ingest(written(31, "Other", EARLIER, 9))
    redrive_waiting(table)
    assert table.texts() == {"2": f"Two {LATER}", "9": f"Other {EARLIER}"}


@pytest.mark.parametrize("at_once", [True, False])
def test_in_one_partition_nothing_waits_even_if_it_is_sent_again(
    table: Pipeline, at_once: bool
) -> None:
    halves = [gone(30, next_number=2), renamed(30, "Two")]
    log = [written(10, "One", LATER), *halves, *(at(9_000, each) for each in halves)]
    if at_once:
        table.ingest(*log)
    else:
        for each in log:
            table.ingest(each)
    assert (table.texts(), reasons(table)) == ({"2": f"Two {LATER}"}, [])


def test_an_earlier_row_of_its_own_key_completes_no_row(table: Pipeline) -> None:
    """Key 1 had a row, which was deleted; the row with key 5 became the new one."""
    table.ingest(
        written(10, "One", EARLIER),
        written(12, "Five", LATER, 5),
        gone(15),
        gone(40, 5, next_number=1),
        renamed(40, "One", 1, 5),
    )
    assert (table.texts(), reasons(table)) == ({"1": f"One {LATER}"}, [])


@pytest.mark.parametrize("batches", ["one", "two", "three"])
def test_a_row_of_which_the_log_has_no_delete_completes_no_other(
    table: Pipeline, batches: str
) -> None:
    """A snapshot that is taken again leaves out what was deleted; its key is given to another row later."""
    former = table.records([written(10, "Former", EARLIER, number=2)])
    other = table.records([written(20, "One", LATER)])
    changed = table.records([gone(30, next_number=2), renamed(30, "Two")])
    if batches == "one":
        table.run(table.stage([*former, *other, *changed]))
    elif batches == "two":
        table.run(table.stage(former), table.stage([*other, *changed]))
    else:
        table.run(table.stage(former), table.stage(other), table.stage(changed))
    assert table.texts()["2"] == f"Two {LATER}"


def test_what_a_tombstone_names_is_forgotten_with_it(table: Pipeline) -> None:
    table.ingest(written(10, "One", LATER), gone(30, next_number=2), renamed(30, "Two"))
    query = "SELECT document_id, tombstone ->> 3 FROM freshet.kept_columns ORDER BY 1"
    assert table.connection.execute(query).fetchall() == [("1", "2"), ("2", None)]
    table.erase("2")
    assert table.connection.execute(query).fetchall() == [("1", None)]


@pytest.mark.parametrize("seed", range(4))
def test_no_text_is_of_another_row_whichever_partition_is_behind(
    table: Pipeline, seed: int
) -> None:
    """Keys are used again, and rows are known by their tombstones alone."""
    rng = random.Random(seed)
    rows = Table(rng, keys=4)
    for _ in range(40):
        rows.change()
    waiting: dict[int, list[KafkaRecord]] = {0: [], 1: [], 2: []}
    for each in tombstones_alone(rows.log):
        waiting[json.loads(each.key or b"{}")["id"] % 3].append(each)
    while left := [partition for partition, records in waiting.items() if records]:
        partition = rng.choice(left)
        size = rng.randint(1, 6)
        table.ingest(*waiting[partition][:size], partition=partition)
        del waiting[partition][:size]
        if rng.random() < 0.2:
            redrive_waiting(table)
    redrive_waiting(table)
    redrive_waiting(table)
    query = "SELECT DISTINCT document_id FROM freshet.dead_letter WHERE state = 'open'"
    refused = {name for (name,) in table.connection.execute(query).fetchall()}
    shown, wanted = table.texts(), rows.documents()
    # What is not known is a dead letter; what is shown is right.
    assert {name: text for name, text in shown.items() if name not in refused} == {
        name: text for name, text in wanted.items() if name not in refused
    }, f"seed {seed}"
    assert len(refused) <= 2, f"seed {seed}"
