"""The age of what a replica shows follows from where the primary was when somebody looked."""

import pytest

from corpus.replica.clock import PrimaryClock
from corpus.replica.standing import Lag, Position, Standing, mismatch
from tests.support.replicas import HandClock


def position(bytes_: int, *, timeline: int = 1) -> Position:
    return Position(system_identifier=7, timeline=timeline, position=bytes_)


def standing(**fields: object) -> Standing:
    base = {
        "is_standby": True,
        "system_identifier": 7,
        "timeline": 1,
        "position": 10,
        "newest_commit_at": None,
    }
    return Standing(**(base | fields))  # type: ignore[arg-type]


def test_a_replica_shows_all_of_the_newest_look_that_it_has_reached() -> None:
    clock = HandClock()
    primary = PrimaryClock(clock)
    assert primary.age_of(10**9) is None
    for at, written in ((0, 100), (1, 200), (2, 300)):
        clock.now = at
        primary.look(lambda written=written: position(written))  # type: ignore[misc]
    clock.now = 3
    ages = {replayed: primary.age_of(replayed) for replayed in (99, 100, 199, 200, 300, 400)}
    assert ages == {99: None, 100: 3, 199: 3, 200: 2, 300: 1, 400: 1}


def test_a_look_that_fails_makes_what_is_known_older() -> None:
    clock = HandClock()
    primary = PrimaryClock(clock)
    primary.look(lambda: position(100))
    clock.now = 60
    with pytest.raises(ZeroDivisionError):
        primary.look(lambda: 1 / 0)  # type: ignore[arg-type,return-value]
    assert primary.age_of(100) == 60


def test_the_time_before_the_primary_was_asked_counts() -> None:
    """What is committed while it answers may lie behind the position that it names."""
    clock = HandClock()
    primary = PrimaryClock(clock)

    def slow() -> Position:
        clock.now += 4
        return position(100)

    primary.look(slow)
    assert primary.age_of(100) == 4


def test_after_a_failover_positions_of_before_do_not_count() -> None:
    clock = HandClock()
    primary = PrimaryClock(clock)
    primary.look(lambda: position(500))
    primary.look(lambda: position(400, timeline=2))
    assert primary.age_of(399) is None
    assert primary.age_of(400) == 0


def test_a_server_that_is_no_replica_of_this_primary_says_why() -> None:
    assert mismatch(standing(), position(10)) is None
    assert "no standby" in str(mismatch(standing(is_standby=False), position(10)))
    assert "another server" in str(mismatch(standing(system_identifier=8), position(10)))
    assert "timeline 1 and the primary on 2" in str(mismatch(standing(), position(10, timeline=2)))


def test_lag_in_words() -> None:
    assert Lag(bytes_behind=0, seconds=0.0).describe() == "0 bytes behind"
    known = Lag(bytes_behind=1_234, seconds=1.26)
    assert known.describe() == "1,234 bytes behind, its newest commit is 1.3 s old"
    assert "an unknown time old" in Lag(bytes_behind=1, seconds=None).describe()
