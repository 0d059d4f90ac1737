"""Rates of sources between looks, and the order in which they are shown."""

from typing import Any

import pytest

from workers.stages import BatchStage, SourceStages
from workers.top import Line, Rates

NO_STAGES: dict[str, SourceStages] = {}


def row(source: str = "s", **columns: Any) -> dict[str, Any]:
    usual = {
        "source": source,
        "condition": "active",
        "why": "",
        "lag": 0,
        "records": 0,
        "texts_embedded": 0,
        "dead_lettered": 0,
        "dead_letters": 0,
        "documents": 0,
        "last_published_at": None,
        "backfill": None,
    }
    return usual | columns


def rates_of(*looks: tuple[float, int]) -> list[float | None]:
    """The rate of records after each look at (second, sum)."""
    rates = Rates()
    found: list[float | None] = []
    for at, records in looks:
        [line] = rates.lines([row(records=records)], NO_STAGES, at)
        found.append(line.records_per_second)
    return found


def test_the_first_look_has_no_rate() -> None:
    assert rates_of((5.0, 100)) == [None]


def test_a_rate_is_over_the_looks_of_the_window() -> None:
    assert rates_of((0.0, 0), (10.0, 50), (20.0, 250)) == [None, 5.0, 20.0]


def test_looks_further_apart_than_the_window_have_a_rate() -> None:
    assert rates_of((0.0, 0), (100.0, 50), (200.0, 250)) == [None, 0.5, 2.0]


def test_a_restored_database_has_no_negative_rate() -> None:
    assert rates_of((0.0, 90), (10.0, 40)) == [None, 0.0]


def test_a_source_that_appears_later_has_a_rate_of_its_own() -> None:
    rates = Rates()
    rates.lines([row("a")], NO_STAGES, 0.0)
    rates.lines([row("a"), row("b", records=10)], NO_STAGES, 2.0)
    lines = rates.lines([row("a"), row("b", records=30)], NO_STAGES, 4.0)
    assert [(line.source, line.records_per_second) for line in lines] == [("b", 10.0), ("a", 0.0)]


def test_dead_letters_are_new_since_the_first_look() -> None:
    rates = Rates()
    rates.lines([row(dead_lettered=3, dead_letters=2)], NO_STAGES, 0.0)
    [line] = rates.lines([row(dead_lettered=8, dead_letters=4)], NO_STAGES, 60.0)
    assert (line.open_dead_letters, line.new_dead_letters) == (4, 5)


def test_those_that_need_a_person_come_first() -> None:
    rows = [
        row("idle"),
        row("busy", condition="behind"),
        row("halted", condition="halted", why="a gap"),
        row("stuck", condition="stuck", why="nothing is published"),
    ]
    lines = Rates().lines(rows, NO_STAGES, 0.0)
    assert [line.source for line in lines] == ["halted", "stuck", "busy", "idle"]


@pytest.mark.parametrize(
    ("stages", "doing"),
    [
        ({}, ""),
        ({"s": SourceStages()}, ""),
        (
            {"s": SourceStages(is_known=True, batches=(BatchStage(batch=4, stage="cleaning"),))},
            "batch 4: cleaning",
        ),
    ],
)
def test_what_a_source_does(stages: dict[str, SourceStages], doing: str) -> None:
    [line] = Rates().lines([row()], stages, 0.0)
    assert line.doing == doing


def test_json_has_every_field() -> None:
    [line] = Rates().lines([row(lag=None)], NO_STAGES, 0.0)
    assert set(line.to_json()) == set(Line.__dataclass_fields__)
    assert line.to_json()["lag"] is None
