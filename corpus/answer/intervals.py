"""How long a wait sleeps between two checks."""

# Most waits are short, so the first checks come quickly. Later ones cost at most a tenth of the time waited.
MIN_CHECK_INTERVAL = 0.2  # seconds
MAX_CHECK_INTERVAL = 15.0  # seconds
_MIN_SLEEP = 0.05  # seconds; a timer of zero would be no timer at all
_SHARE_OF_TIME_WAITED = 0.1


def check_interval(*, waited: float, remaining: float) -> float:
    """Seconds until the next check.

    Args:
        waited: seconds since the wait began.
        remaining: seconds until its deadline; the last check is at the deadline.
    """
    interval = max(MIN_CHECK_INTERVAL, waited * _SHARE_OF_TIME_WAITED)
    return max(_MIN_SLEEP, min(interval, MAX_CHECK_INTERVAL, remaining))
