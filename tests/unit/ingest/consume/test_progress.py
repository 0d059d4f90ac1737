"""Which readers stand still, and whether the entity still holds what they handed over."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from ingest.consume.partition_state import AssignedPartition, Position
from ingest.consume.progress import FEWEST_SOURCES, Progress, Standing, is_on_its_way
from ingest.kafka import PartitionKey
from ingest.source_state import SourceState
from tests.support.orders import make_ref
from tests.support.readers import (
    KEY,
    hand_over_singly,
    make_log,
    make_partition,
    make_position,
    make_record,
    make_source,
)

AT_5 = Standing(source="s", key=PartitionKey("t", 0), generation=0, topic_id="i", next_offset=5)


def looks(partition: AssignedPartition, *rows: Position | None) -> list[int]:
    """How many readers stand at each look; None: the row is missing."""
    progress = Progress()
    return [len(progress.look({KEY: partition}, [row] if row is not None else [])) for row in rows]


def behind() -> AssignedPartition:
    """Offsets 5, 6 and 7 are handed over."""
    partition = make_partition(s=5)
    hand_over_singly(partition.readers["s"], 3)
    return partition


def test_a_row_that_moves_or_has_arrived_does_not_stand() -> None:
    moving = [make_position(offset) for offset in (5, 6, 7, 8, 8, 8)]
    assert looks(behind(), *moving) == [0] * 6


def test_a_row_below_what_was_handed_over_stands_at_the_second_look() -> None:
    assert looks(behind(), *[make_position(7)] * 3) == [0, 1, 1]


def test_one_that_goes_on_standing_is_compared_less_and_less_often() -> None:
    found = looks(behind(), *[make_position(7)] * 26)
    assert [number for number, count in enumerate(found) if count] == [1, 2, 4, 8, 16, 24]


def many_behind(sources: int) -> AssignedPartition:
    partition = make_partition(**{f"s{number:05}": 5 for number in range(sources)})
    for reader in partition.readers.values():
        hand_over_singly(reader, 1)
    return partition


def make_look(progress: Progress, partition: AssignedPartition) -> set[str]:
    """The sources that are compared; none of them moves."""
    rows = [make_position(5, source=source) for source in partition.readers]
    return {one.source for one in progress.look({KEY: partition}, rows)}


def test_of_many_that_stand_few_are_compared_per_look_and_none_is_forgotten() -> None:
    progress = Progress()
    partition = many_behind(10 * FEWEST_SOURCES)
    looks = [make_look(progress, partition) for _ in range(61)]
    assert max(map(len, looks)) == FEWEST_SOURCES
    times = Counter(source for look in looks for source in look)
    assert set(times) == set(partition.readers)
    assert min(times.values()) >= 4


def test_a_source_that_was_not_compared_yet_does_not_wait_for_all_others() -> None:
    progress = Progress()
    partition = many_behind(10 * FEWEST_SOURCES)
    for _ in range(30):
        make_look(progress, partition)
    partition.readers["z"] = many_behind(1).readers["s00000"]
    partition.readers["z"] = replace(partition.readers["z"], spec=make_source("z").spec)
    looks = [make_look(progress, partition) for _ in range(2)]
    assert "z" in looks[1]
    assert len(looks[1]) == FEWEST_SOURCES


def test_sources_that_are_compared_again_have_half_beside_many_new_ones() -> None:
    progress = Progress()
    partition = many_behind(2 * FEWEST_SOURCES)
    old = set(partition.readers)
    for _ in range(4):
        make_look(progress, partition)
    for number in range(10 * FEWEST_SOURCES):
        name = f"z{number:03}"
        reader = many_behind(1).readers["s00000"]
        partition.readers[name] = replace(reader, spec=make_source(name).spec)
    make_look(progress, partition)
    looks = [make_look(progress, partition) for _ in range(8)]
    assert all(len(look - old) >= FEWEST_SOURCES // 2 for look in looks)
    assert old <= set[str]().union(*looks)


def test_a_reader_that_moves_does_not_take_the_turn_of_another_one_of_its_source() -> None:
    """Partition 0 stands; 1 and 2 are new places again and again, and so are 400 other sources."""
    progress = Progress()
    others = make_partition(**{f"s{number:03}": 999 for number in range(400)})
    partitions = {KEY: others, **{PartitionKey("u", n): make_partition(x=999) for n in range(3)}}
    for partition in partitions.values():
        for reader in partition.readers.values():
            hand_over_singly(reader, 1)
    compared: list[int] = []
    for look in range(60):
        offsets = {("x", 0): 0}
        if look >= 3:
            offsets |= {("x", number): (look + number) // 2 for number in (1, 2)}
        rows = [
            replace(make_position(offset, source=source, partition=number), topic="u")
            for (source, number), offset in offsets.items()
        ]
        rows += [
            make_position((look + number) // 8 if look >= 3 else 1_000, source=source)
            for number, source in enumerate(others.readers)
        ]
        if any(one.source == "x" for one in progress.look(partitions, rows)):
            compared.append(look)
    assert len(compared) >= 5


def test_what_is_lost_again_and_again_does_not_have_all_compared_at_last() -> None:
    """The database refuses to say where the source stands: its entity is halted, and the row stands."""
    progress = Progress()
    partition = many_behind(4 * FEWEST_SOURCES)
    for _ in range(200):
        assert len(make_look(progress, partition)) <= 4 * FEWEST_SOURCES
        progress.note_lost()
    quiet = [len(make_look(progress, partition)) for _ in range(40)]
    assert max(quiet[1:]) <= FEWEST_SOURCES


def test_a_place_that_was_left_is_a_new_one_when_it_is_reached_again() -> None:
    progress = Progress()
    partition = behind()
    for _ in range(6):
        progress.look({KEY: partition}, [make_position(5)])
    assert progress.look({KEY: partition}, [make_position(8)]) == []
    compared = [len(progress.look({KEY: partition}, [make_position(5)])) for _ in range(5)]
    assert compared == [0, 1, 1, 0, 1]


def test_many_that_were_lost_are_found_in_few_looks() -> None:
    """Temporal's database is lost: each source that is compared is read again."""
    progress = Progress()
    partition = many_behind(1_000)
    found: set[str] = set()
    for _ in range(7):
        for source in make_look(progress, partition):
            found.add(source)
            progress.note_lost()
            partition.readers[source].forget_published(8, now=0.0)
    assert found == set(f"s{number:05}" for number in range(1_000))


def test_after_a_look_that_finds_nothing_lost_few_are_compared_again() -> None:
    progress = Progress()
    partition = many_behind(20 * FEWEST_SOURCES)
    compared = [len(make_look(progress, partition)) for _ in range(2)]
    progress.note_lost()
    compared += [len(make_look(progress, partition)) for _ in range(3)]
    assert compared == [0, FEWEST_SOURCES, 2 * FEWEST_SOURCES, FEWEST_SOURCES, FEWEST_SOURCES]


def test_a_source_with_many_partitions_is_one_question() -> None:
    progress = Progress()
    partitions = {PartitionKey("t", number): behind() for number in range(2 * FEWEST_SOURCES)}
    rows = [make_position(5, partition=number) for number in range(2 * FEWEST_SOURCES)]
    progress.look(partitions, rows)
    assert len(progress.look(partitions, rows)) == 2 * FEWEST_SOURCES


def test_reading_again_from_the_same_row_does_not_begin_the_count_anew() -> None:
    progress = Progress()
    partition = behind()
    compared: list[int] = []
    for number in range(26):
        partition.readers["s"] = replace(partition.readers["s"], generation=number // 2)
        if progress.look({KEY: partition}, [make_position(5)]):
            compared.append(number)
    assert compared == [1, 3, 5, 9, 17, 25]  # a new generation is seen twice first


def test_a_row_that_went_back_stands_though_everything_was_published() -> None:
    """An older database was restored, and nothing new arrives."""
    partition = behind()
    partition.readers["s"].forget_published(8, now=0.0)
    assert looks(partition, make_position(8), make_position(2), make_position(2)) == [0, 0, 1]


@pytest.mark.parametrize("row", [None, make_position(9, topic_id="other")])
def test_a_row_that_is_gone_or_of_another_log_stands(row: Position | None) -> None:
    assert looks(behind(), row, row) == [0, 1]


def test_what_is_only_buffered_or_being_staged_does_not_stand() -> None:
    partition = make_partition(s=5)
    reader = partition.readers["s"]
    reader.add(make_record(5), 0.0)
    reader.take_batch(0.0)
    reader.add(make_record(6), 0.0)
    assert looks(partition, make_position(5), make_position(5)) == [0, 0]


def test_a_reader_that_was_opened_anew_is_looked_at_twice_again() -> None:
    progress = Progress()
    partition = behind()
    rows = [make_position(5)]
    assert progress.look({KEY: partition}, rows) == []
    partition.readers["s"] = replace(partition.readers["s"], generation=9)
    assert progress.look({KEY: partition}, rows) == []
    [standing] = progress.look({KEY: partition}, rows)
    assert standing.generation == 9


def test_each_reader_is_judged_by_its_own_row() -> None:
    progress = Progress()
    partition = make_partition(s=5, u=5)
    for reader in partition.readers.values():
        hand_over_singly(reader, 1)
    rows = [make_position(6), make_position(5, source="u")]
    for _ in range(2):
        standing = progress.look({KEY: partition}, rows)
    assert [one.source for one in standing] == ["u"]
    assert make_log().topic_id == standing[0].topic_id


HELD: dict[str, dict[str, Any]] = {
    "in flight": {"in_flight": [make_ref(5, 6)]},
    "waits": {"pending": [make_ref(9, 10), make_ref(2, 8)]},
    "of an epoch that the entity has to look up": {"undecided": [make_ref(5, 6, epoch=3)]},
}
LOST: dict[str, dict[str, Any]] = {
    "nothing": {},
    "only what comes later": {"pending": [make_ref(6, 9)]},
    "only what came before": {"in_flight": [make_ref(1, 5)]},
    "another partition": {"pending": [make_ref(5, 6, partition=1)]},
    "another log": {"pending": [make_ref(5, 6, topic_id="old")]},
    "halted, though the row is active": {"pending": [make_ref(5, 6)], "halted": "a gap"},
}


@pytest.mark.parametrize("state", HELD.values(), ids=HELD)
def test_what_begins_at_the_row_is_on_its_way(state: dict[str, Any]) -> None:
    assert is_on_its_way(AT_5, SourceState(source="s", **state))


@pytest.mark.parametrize("state", LOST.values(), ids=LOST)
def test_without_it_nothing_will_be_published(state: dict[str, Any]) -> None:
    assert not is_on_its_way(AT_5, SourceState(source="s", **state))


def test_without_an_entity_nothing_will_be_published() -> None:
    assert not is_on_its_way(AT_5, None)
