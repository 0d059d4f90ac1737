"""How a host fares while a batch is prepared: one that is slow or away is left alone, so that its batch can end."""

import asyncio
import time

# Documents one after the other that failed in a way that may pass.
MAX_FAILED_IN_ROW = 4
# A host that is asked for longer than this must answer for at least so many documents per second.
SLOW_AFTER_SECONDS = 15.0
MIN_PER_SECOND = 1.0


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
        self._failed_in_row = 0

    def begin(self) -> None:
        """A document is asked for."""
        if self._begun is None:
            self._begun = time.monotonic()

    def succeeded(self) -> None:
        """A document came, or will never come: the host answers."""
        self._done += 1
        self._failed_in_row = 0

    def failed(self, retry_after: int) -> None:
        """A document did not come now."""
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
