"""How hosts fare while a batch is prepared: what is slow or away is left alone, so that the batch can end."""

import asyncio
import time
from collections.abc import Generator
from contextlib import contextmanager

from corpus.fetch.result import NotFetched, Result

# Documents one after the other that failed since their host is away, slow or has too much to do.
MAX_FAILED_IN_ROW = 4
# Documents one after the other that the host answered badly; each next one of it has a single try.
MAX_BAD_IN_ROW = 4
# A host that is asked for longer than this must answer for at least so many documents per second.
SLOW_AFTER_SECONDS = 15.0
MIN_PER_SECOND = 1.0
# A batch that has waited for longer than this, whatever its hosts, must get as many.
BATCH_SECONDS = 60.0


class Host:
    """One host, or bucket, for one batch.

    Args:
        side_by_side: documents that are fetched at once.
    """

    def __init__(self, side_by_side: int) -> None:
        self.places = asyncio.Semaphore(side_by_side)
        self.retry_after = 0  # seconds that the host asked for last
        self._begun: float | None = None
        self._done = 0
        self.has_answered = False
        self._failed_in_row = 0
        self._bad_in_row = 0

    def begin(self) -> None:
        """A document is asked for."""
        if self._begun is None:
            self._begun = time.monotonic()

    def succeeded(self) -> None:
        """A document came, or will never come: the host answers."""
        self._answered()
        self._bad_in_row = 0

    def answered_badly(self) -> None:
        """A document did not come now, and its host is well enough to say so."""
        self._answered()
        self._bad_in_row += 1

    def _answered(self) -> None:
        self.has_answered = True
        self._done += 1
        self._failed_in_row = 0

    @property
    def is_bad(self) -> bool:
        """Whether another try soon is of little use."""
        return self._bad_in_row >= MAX_BAD_IN_ROW

    def failed(self, retry_after: int) -> None:
        """The host did not answer, or has too much to do."""
        self._failed_in_row += 1
        self.retry_after = max(self.retry_after, retry_after)

    def why_left_alone(self) -> str:
        """Why no more is asked of it for this batch; empty: it is asked."""
        if self._failed_in_row >= MAX_FAILED_IN_ROW:
            return (
                f"its host did not answer for {self._failed_in_row} documents before it"
            )
        if self._begun is None:
            return ""
        seconds = time.monotonic() - self._begun
        if seconds > SLOW_AFTER_SECONDS and self._done < seconds * MIN_PER_SECOND:
            return (
                f"its host is slow: {self._done} documents in {seconds:.0f} s; the batch does not wait "
                "for all of them"
            )
        return ""


class Patience:
    """How long a batch waits for documents, over all its slices; what it does beside them does not count.

    Args:
        waited: seconds, in the slices before.
        came: documents of which it is known what becomes of them, in the slices before.
        seconds: that it waits in any case.
    """

    def __init__(
        self, waited: float = 0.0, came: int = 0, seconds: float = BATCH_SECONDS
    ) -> None:
        self._waited = waited
        self._came = came
        self._seconds = seconds
        self._since: float | None = None

    @property
    def waited(self) -> float:
        """Seconds until now."""
        since = self._since
        if since is None:
            return self._waited
        return self._waited + time.monotonic() - since

    @contextmanager
    def waiting(self) -> Generator[None]:
        """Nothing else is done meanwhile."""
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._waited, self._since = self.waited, None

    def took(self, result: Result) -> None:
        """A document came, will never come, or did not come now."""
        outcome = result.outcome
        waits = isinstance(outcome, NotFetched) and outcome.may_pass
        self._came += not waits

    def why_over(self) -> str:
        """Why no more is asked for in this batch; empty: it goes on."""
        waited = self.waited
        if waited <= self._seconds or self._came >= waited * MIN_PER_SECOND:
            return ""
        return (
            f"the batch has waited {waited:.0f} s for hosts that do not answer or are slow, in which {self._came:,} "
            "documents came; it does not wait for the rest"
        )
