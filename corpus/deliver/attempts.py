"""What a delivery does after a call that failed: when it calls again, and when it parks. Pure.

::

    no endpoint, or declined fewer than three times ──► park, call again after 5 s, 10 s, ... 5 min
    declined three times in a row                   ──► park, call again after an hour or when resumed
    no answer                                       ──► record it, call again at once
    acknowledged                                    ──► start counting from zero
"""

from dataclasses import dataclass
from datetime import timedelta

from corpus.deliver.subscription import CarriedAttempts

# One call of a team that is down. The server's own retries of one operation back off up to an hour: with a team that
# was down for ten minutes, the next attempt came four minutes after it was back. So a call is kept short and is made
# again, and each new call starts with intervals of one second.
CALL_TIMEOUT = timedelta(minutes=2)
DECLINES_BEFORE_PARKING = 3
MIN_RETRY_INTERVAL = timedelta(seconds=5)  # doubles with every failure
MAX_RETRY_INTERVAL = timedelta(minutes=5)
PARKED_RETRY_INTERVAL = timedelta(hours=1)
_MAX_DOUBLINGS = 10  # keeps the power small; the maximum is reached long before


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """What to do after a call that failed."""

    error: str  # one line for people, kept in `delivery.last_error`
    parked: bool  # false: the delivery continues by itself, and `error` says what holds it up
    pause: timedelta | None  # before the next call; None: call again at once
    waiting_for: str = ""  # what the pause waits for, for people


class Attempts:
    """The failures of one delivery since its last acknowledgement.

    Args:
        carried: from the run before.
    """

    def __init__(self, carried: CarriedAttempts | None = None) -> None:
        before = carried or CarriedAttempts()
        self.declines = before.declines
        self.retries = before.retries
        self.unanswered = before.unanswered

    def carry(
        self, *, pause_until_ms: int = 0, waiting_for: str = ""
    ) -> CarriedAttempts:
        """What the next run needs to go on.

        Args:
            pause_until_ms: end of the pause that is cut short, epoch milliseconds.
            waiting_for: what that pause waits for, for people.
        """
        return CarriedAttempts(
            declines=self.declines,
            retries=self.retries,
            unanswered=self.unanswered,
            pause_until_ms=pause_until_ms,
            waiting_for=waiting_for,
        )

    def acknowledged(self) -> None:
        """Start counting from zero."""
        self.declines = self.retries = self.unanswered = 0

    def resumed(self) -> None:
        """An operator resumed the delivery: it has all its attempts again."""
        self.declines = self.retries = 0

    def endpoint_missing(self, endpoint: str) -> Reaction:
        """There is no endpoint to call."""
        return self._retry_later(
            f"there is no Nexus endpoint {endpoint!r}; create it, or change the subscription"
        )

    def declined(self, notice_id: str, reason: object) -> Reaction:
        """The team, or its server, refused the notice."""
        self.declines += 1
        if self.declines < DECLINES_BEFORE_PARKING:
            return self._retry_later(f"{notice_id} declined: {reason}")
        return Reaction(
            error=f"{notice_id} declined {self.declines} times: {reason}",
            parked=True,
            pause=PARKED_RETRY_INTERVAL,
            waiting_for="resume",
        )

    def timed_out(self, notice_id: str) -> Reaction:
        """The team did not answer in time; the call itself was the pause."""
        self.unanswered += 1
        calls = f"called {self.unanswered} times for {CALL_TIMEOUT} each"
        return Reaction(
            error=f"no answer to {notice_id}, {calls}", parked=False, pause=None
        )

    def _retry_later(self, error: str) -> Reaction:
        self.retries += 1
        return Reaction(
            error=error,
            parked=True,
            pause=retry_interval(self.retries),
            waiting_for="the next try",
        )


def retry_interval(retries: int) -> timedelta:
    """Pause before the next call after this many failures (1: the first)."""
    doublings = min(retries - 1, _MAX_DOUBLINGS)
    return min(MIN_RETRY_INTERVAL * 2**doublings, MAX_RETRY_INTERVAL)
