"""When a source counts as standing still: the rule of the fault driver."""

from dataclasses import replace

import pytest

from tests.bench.faults.stalls import HeldFaults, Look, StallClock

LOOK = Look(at=0.0, state="active", lag=5, moved=(1, 1))


def seen(
    clock: StallClock, *at: float, held: bool = False, lifted_at: float = 0.0, **of: object
) -> None:
    for moment in at:
        look = replace(LOOK, at=moment, **of)
        clock.look(look, faults_hold=held, lifted_at=lifted_at, last_fault="#1 kill")


def test_a_source_that_stands_still_beyond_the_limit_is_one_stall() -> None:
    clock = StallClock("s")
    seen(clock, 0, 30, 60)
    assert clock.stalls == []
    seen(clock, 61, 90)
    [stall] = clock.stalls
    assert (stall.source, stall.seconds, stall.lag, stall.last_fault) == ("s", 90, 5, "#1 kill")
    assert clock.longest == 90


def test_progress_begins_a_new_time() -> None:
    clock = StallClock("s")
    seen(clock, 0, 50)
    seen(clock, 55, moved=(2, 1))
    seen(clock, 110, moved=(2, 1))
    assert clock.stalls == []
    seen(clock, 116, moved=(2, 1))
    assert len(clock.stalls) == 1


@pytest.mark.parametrize("idle", [{"lag": 0}, {"state": "paused"}, {"state": "halted"}])
def test_a_source_with_nothing_to_do_or_not_active_does_not_stand_still(
    idle: dict[str, object],
) -> None:
    clock = StallClock("s")
    seen(clock, 0, 1000, **idle)
    assert clock.stalls == []
    seen(clock, 1050)
    assert clock.stalls == []
    seen(clock, 1061)
    assert len(clock.stalls) == 1


def test_the_time_in_which_a_fault_holds_is_not_counted_and_is_reported() -> None:
    clock = StallClock("s")
    seen(clock, 0, 10)
    seen(clock, 11, 95, held=True)
    seen(clock, 96, 155, lifted_at=95.5)
    assert clock.stalls == []
    assert (clock.longest, clock.longest_with_faults) == (59.5, 155)
    seen(clock, 156, lifted_at=95.5)
    [stall] = clock.stalls
    assert (stall.since, stall.seconds) == (95.5, 60.5)


def test_two_times_of_standing_still_are_two_stalls() -> None:
    clock = StallClock("s")
    seen(clock, 0, 100)
    seen(clock, 101, 200, moved=(2, 2))
    assert len(clock.stalls) == 2


def test_a_fault_holds_until_each_that_began_has_ended() -> None:
    faults = HeldFaults()
    assert not faults.any
    faults.begin("one")
    faults.begin("two")
    faults.end("one")
    assert faults.any
    faults.end("two")
    assert not faults.any
    assert faults.last == "two"
    assert faults.lifted_at > 0
