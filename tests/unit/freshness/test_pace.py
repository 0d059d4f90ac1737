"""Whether checks keep up with what is due."""

import pytest

from corpus.source import FreshnessSpec, SourceSpec
from freshness.pace import CheckPace, Waiting, pace_of


def waiting(seconds: float, every: int = 300) -> Waiting:
    spec = SourceSpec(source="s", topics=("t",), freshness=FreshnessSpec(check_every_seconds=every))
    return Waiting(source="s", spec=spec.to_json(), seconds=seconds)


@pytest.mark.parametrize(
    ("seconds", "every", "late"),
    [(509, 300, 0), (511, 300, 1), (511, 600, 0), (961, 600, 1), (0, 300, 0)],
)
def test_a_check_is_late_after_one_and_a_half_intervals_and_a_minute(
    seconds: float, every: int, late: int
) -> None:
    assert pace_of([waiting(seconds, every)]).late == late


def test_what_is_due_is_the_sum_over_sources() -> None:
    pace = pace_of([*[waiting(1)] * 600, *[waiting(1, 3_600)] * 3_600])
    assert (pace.sources, round(pace.due_per_second, 9)) == (4_200, 3.0)


@pytest.mark.parametrize(
    ("late", "sources", "newest", "is_slow"),
    [
        (0, 0, 0.0, False),
        (5, 50, 0.0, False),
        (6, 50, 0.0, True),
        (49, 49, 0.0, False),  # few: each has its own reason
        (50, 50, 601.0, False),  # none runs, or none was due since an outage
        (2_750, 5_000, 599.0, True),
    ],
)
def test_more_than_a_tenth_of_many_is_slow_while_checks_run(
    late: int, sources: int, newest: float, is_slow: bool
) -> None:
    pace = CheckPace(sources=sources, late=late, due_per_second=0, newest_seconds=newest)
    assert pace.is_slow is is_slow


@pytest.mark.parametrize(
    ("pace", "text"),
    [
        (CheckPace(sources=0, late=0, due_per_second=0), "no source that can be read (0 cannot)"),
        (
            CheckPace(sources=3, late=0, due_per_second=0.01),
            "all sources (3) were checked within 1.5 times their interval and a minute; 0.01 checks per second are due",
        ),
        (
            CheckPace(sources=5_000, late=2_750, due_per_second=16.67),
            "2,750 of 5,000 sources were not checked within 1.5 times their interval and a minute; "
            "17 checks per second are due",
        ),
    ],
)
def test_what_is_told(pace: CheckPace, text: str) -> None:
    assert pace.describe() == text


def test_a_specification_that_cannot_be_read_is_left_out() -> None:
    unreadable = Waiting(source="u", spec={"topics": 3}, seconds=9_999)
    pace = pace_of([unreadable, waiting(7), waiting(3)])
    assert (pace.sources, pace.unreadable, pace.newest_seconds) == (2, 1, 3)
