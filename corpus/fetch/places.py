"""How much a batch fetches at once, and for how long: many hosts may be waited for, few large bodies are in memory."""

import asyncio
import resource

# Documents that are asked for at once. One that waits for its host holds a socket and no memory, so that many dead
# hosts hold up no living one.
_MAX_ASKED = 512
# Of the files that this process may have open.
_FILES_PER_ASKED = 4
# A host must begin to answer within these seconds where a batch has more hosts than may be asked at once.
HASTY_SECONDS = 5.0
# Larger bodies are read side by side up to `MAX_LARGE`.
SMALL_BODY_BYTES = 128_000
MAX_LARGE = 16


def max_asked() -> int:
    """How many documents are asked for at once."""
    open_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if open_files == resource.RLIM_INFINITY:
        return _MAX_ASKED
    return max(min(_MAX_ASKED, open_files // _FILES_PER_ASKED), 1)


class BodyPlace:
    """The time of one document, and its place among the large ones, which is taken once it is seen to be large.

    Args:
        large: places of the batch.
        seconds: that the document may take; to wait for a place does not count.
        answer_seconds: in which its host must begin to answer.
    """

    def __init__(
        self, large: asyncio.Semaphore, seconds: float, answer_seconds: float
    ) -> None:
        self._large = large
        self._seconds = seconds
        self._answer_seconds = min(seconds, answer_seconds)
        self._is_taken = False
        self.is_answered = False
        self._limit: asyncio.Timeout | None = None

    def timed(self) -> asyncio.Timeout:
        """The time limit of one try, for an `async with` statement."""
        self.is_answered = False
        self._limit = asyncio.timeout(self._answer_seconds)
        return self._limit

    @property
    def seconds(self) -> float:
        """That this try may take, as far as it has come."""
        return self._seconds if self.is_answered else self._answer_seconds

    def answered(self) -> None:
        """The host begins to answer."""
        self.is_answered = True
        until = None if self._limit is None else self._limit.when()
        if until is not None:
            self._reschedule(until + self._seconds - self._answer_seconds)

    async def take_for(self, size: int) -> None:
        """Wait for a place where a body has become large."""
        if self._is_taken or size <= SMALL_BODY_BYTES:
            return
        until = None if self._limit is None else self._limit.when()
        now = asyncio.get_running_loop().time()
        self._reschedule(None)
        await self._large.acquire()
        self._is_taken = True
        waited = asyncio.get_running_loop().time() - now
        self._reschedule(None if until is None else until + waited)

    def give_back(self) -> None:
        """The body is not in memory any more, or is not this batch's to count."""
        if self._is_taken:
            self._large.release()
            self._is_taken = False

    def _reschedule(self, until: float | None) -> None:
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(until)
