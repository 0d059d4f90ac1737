"""Calls per minute: never more than the quota in any minute, and no longer a wait than needed."""

from hypothesis import given
from hypothesis import strategies as st

from corpus.access.quota import WINDOW_SECONDS, CallQuota


def test_the_next_call_is_left_when_it_says() -> None:
    now = [0.0]
    quota = CallQuota(lambda: now[0])
    assert [quota.take(2), quota.take(2)] == [0, 0]
    now[0] = 45
    assert quota.take(2) == 15
    now[0] = 60
    assert [quota.take(2), quota.take(2)] == [0, 0]
    assert quota.take(2) == 60


def test_a_quota_that_is_changed_counts_at_once() -> None:
    now = [0.0]
    quota = CallQuota(lambda: now[0])
    for second in range(10):
        now[0] = second
        assert quota.take(10) == 0
    assert quota.take(3) == 60 + 7 - 9  # when all but two of the ten are a minute old
    assert quota.take(11) == 0


@given(st.lists(st.floats(0, 40), max_size=60), st.integers(1, 10))
def test_no_minute_has_more_calls_than_the_quota(pauses: list[float], most: int) -> None:
    now = [0.0]
    quota = CallQuota(lambda: now[0])
    taken: list[float] = []
    for pause in pauses:
        now[0] += pause
        seconds = quota.take(most)
        recent = [moment for moment in taken if moment > now[0] - WINDOW_SECONDS]
        assert (seconds == 0) == (len(recent) < most)
        if seconds == 0:
            taken.append(now[0])
