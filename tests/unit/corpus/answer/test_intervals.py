"""How often a wait checks its target."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.answer.intervals import MAX_CHECK_INTERVAL, MIN_CHECK_INTERVAL, check_interval

MONTH = 30 * 86_400.0
seconds = st.floats(min_value=0, max_value=MONTH)


@settings(deadline=None)
@given(waited=seconds, remaining=seconds)
def test_an_interval_has_bounds(waited: float, remaining: float) -> None:
    interval = check_interval(waited=waited, remaining=remaining)
    assert 0 < interval <= MAX_CHECK_INTERVAL
    if remaining >= MIN_CHECK_INTERVAL:
        assert MIN_CHECK_INTERVAL <= interval <= remaining


@settings(deadline=None)
@given(first=seconds, second=seconds)
def test_intervals_do_not_shrink_while_time_remains(first: float, second: float) -> None:
    earlier, later = sorted((first, second))
    intervals = [check_interval(waited=waited, remaining=MONTH) for waited in (earlier, later)]
    assert intervals == sorted(intervals)


@pytest.mark.parametrize("timeout", [0, 1, 7, 61, 3_599, 86_400])
def test_a_wait_ends_at_its_deadline_and_its_checks_are_few(timeout: int) -> None:
    waited, checks = 0.0, 0
    while waited < timeout:
        waited += check_interval(waited=waited, remaining=timeout - waited)
        checks += 1
    assert waited - timeout < 0.06
    assert checks <= 60 + timeout / MAX_CHECK_INTERVAL
