"""Which versions are far beyond the others: mistakes of units and greatest numbers, and no ordinary growth."""

import itertools
import random
from typing import Any

import pytest

from corpus.source import record_version
from corpus.versions.scale import (
    MAX_ACCEPTED,
    Ranked,
    highest_on_scale,
    is_far_below,
    is_of_record,
    reach,
    why_no_time,
)

MS = 1_780_000_000_000
SECONDS, MICROSECONDS, NANOSECONDS = MS // 1_000, MS * 1_000, MS * 1_000_000
MEGABYTE, GIGABYTE = 2**20, 2**30
UNITS = {
    "seconds": SECONDS,
    "milliseconds": MS,
    "microseconds": MICROSECONDS,
    "nanoseconds": NANOSECONDS,
}


@pytest.mark.parametrize(
    ("known", "version"),
    [
        (1, 1_000_000),  # a document that is edited often, after one that is not
        (0, 500_000_000),  # a counter of all rows of a large table
        (16 * MEGABYTE, 20 * GIGABYTE),  # a snapshot, then a bulk load of other tables
        (1 * GIGABYTE, 90 * GIGABYTE),
        (2_000 * GIGABYTE, 90_000 * GIGABYTE),
        (1_000_000_000_000, MS),  # a document of 2001, then one of today
        (SECONDS, SECONDS + 500_000_000),
        (MICROSECONDS // 2, MICROSECONDS),
        (NANOSECONDS // 2, NANOSECONDS),
        (SECONDS << 32, (SECONDS << 32) + (1 << 57)),  # seconds and a counter, as MongoDB has it
    ],
    ids=str,
)
def test_ordinary_growth_is_within_reach(known: int, version: int) -> None:
    assert version <= reach(known)
    assert not is_far_below(known, version)


@pytest.mark.parametrize(
    ("known", "version"),
    [
        *((known, 2**63 - 1) for known in (1, MS, MICROSECONDS, NANOSECONDS, SECONDS << 32)),
        (5, MS),
        (4_000_000, MS),
        (5, SECONDS),
        (5, 2**31 - 1),
        (5, 2**53 - 1),
        (MS, 2**53 - 1),
        (MS, MICROSECONDS),
        (MS, 253_402_300_799_000),  # the end of the year 9999
        (SECONDS, MS),
        (SECONDS, 253_402_300_799),
        (MICROSECONDS, NANOSECONDS),
        (GIGABYTE, NANOSECONDS),
    ],
    ids=str,
)
def test_mistakes_of_units_and_greatest_numbers_are_beyond_reach(known: int, version: int) -> None:
    assert version > reach(known)
    assert is_far_below(known, version)


def test_a_batch_is_judged_in_steps_and_in_no_order() -> None:
    versions = [3, 900_000_000, 40_000_000_000, 2**63 - 1]
    for order in itertools.permutations(versions):
        assert highest_on_scale(5, order) == 40_000_000_000
    assert highest_on_scale(5, [40_000_000_000]) == 5


def test_the_first_batch_is_judged_from_its_middle() -> None:
    assert highest_on_scale(-1, []) == -1
    assert highest_on_scale(-1, [MS]) == MS
    assert highest_on_scale(-1, [2**63 - 1]) == -1
    assert highest_on_scale(-1, [1, 2, 3, MS]) == 3
    assert highest_on_scale(-1, [3, MS, MS + 1, MS + 2]) == MS + 2


def test_what_is_accepted_never_shrinks() -> None:
    chance = random.Random(7)
    for _ in range(2_000):
        known = chance.choice([-1, chance.randrange(2 ** chance.randrange(1, 62))])
        versions = [chance.randrange(2 ** chance.randrange(1, 63)) for _ in range(6)]
        highest = highest_on_scale(known, versions)
        assert known <= highest <= MAX_ACCEPTED
        # Read again after it was accepted, none is refused: a repeated batch has the same outcome.
        accepted = [version for version in versions if version <= highest]
        assert highest_on_scale(highest, accepted) == highest


@pytest.mark.parametrize(("scale", "now"), UNITS.items())
def test_a_time_is_neither_in_the_future_nor_in_another_unit(scale: Any, now: int) -> None:
    assert why_no_time(now, scale, MS) == ""
    tolerated = now + now * 80_000_000 // MS
    assert why_no_time(tolerated, scale, MS) == ""
    others = [version for name, version in UNITS.items() if name != scale]
    for version in (0, 12, 2**63 - 1, now + now * 90_000_000 // MS, *others):
        assert scale in why_no_time(version, scale, MS)
    assert why_no_time(now, "auto", MS) == why_no_time(2**63 - 1, "any", MS) == ""


def test_a_version_made_of_a_record_is_told_from_an_own_one() -> None:
    made = record_version(MS, 7)
    assert is_of_record(made, [made])
    assert is_of_record(made, [record_version(MS, 70_000)])  # redriven: another offset
    assert is_of_record(7, [record_version(None, 7)])
    assert not is_of_record(5, [record_version(None, 7)])
    assert not is_of_record(5, [made])
    assert not is_of_record(NANOSECONDS, [made])


def test_own_versions_come_first_where_the_source_says_so() -> None:
    own, made = Ranked(version=3, is_own=True), Ranked(version=record_version(MS, 1), is_own=False)
    assert own.is_below(made, own_first=False)
    assert not made.is_below(own, own_first=False)
    assert made.is_below(own, own_first=True)
    assert not own.is_below(made, own_first=True)
    assert own.is_below(Ranked(version=4, is_own=True), own_first=True)
