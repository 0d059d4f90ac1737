"""Fetch the documents of a batch side by side, by host; a slow host delays no other."""

import asyncio
import math
import queue
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace

from corpus.dead_letter import DeadLetterReason
from corpus.disclosure.error_text import public_text
from corpus.fetch.address import host_of, parts_of
from corpus.fetch.hosts import Host, Patience
from corpus.fetch.http import HttpFetcher
from corpus.fetch.objects import fetch_file, fetch_object
from corpus.fetch.places import HASTY_SECONDS, MAX_LARGE, BodyPlace, max_asked
from corpus.fetch.result import FetchError, FetchRequest, NotFetched, Result
from corpus.specs.fetch import STORE_SCHEMES, FetchSpec

# Bytes that are fetched and not taken yet; a document is always let through where there is none.
_MAX_WAITING_BYTES = 64_000_000
_MAX_TRIES = 3
_PAUSE_SECONDS = 0.5  # before the second try; twice as long before each other one
_MAX_PAUSE_SECONDS = 3
_ERROR_SECONDS = 5.0  # for the thread to end


class Fetcher:
    """Fetches for one batch, in a thread with an event loop of its own.

    Args:
        spec: of the source.
        max_bytes: of a document.
        left_alone: hosts that nothing more is asked of, with the reason; those that are found are added.
        patience: of the batch; None: documents are waited for as long as their hosts are asked.
    """

    def __init__(
        self,
        spec: FetchSpec,
        max_bytes: int,
        left_alone: dict[str, str] | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._spec = spec
        self._max_bytes = max_bytes
        self._left_alone = {} if left_alone is None else left_alone
        self._patience = patience or Patience(seconds=math.inf)
        self._results: queue.SimpleQueue[Result | BaseException] = queue.SimpleQueue()

    def fetch(self, requests: Sequence[FetchRequest]) -> Generator[Result]:
        """Fetch documents.

        Yields:
            Each as soon as it is there, in any order. Closing the generator ends what is in progress.
        """
        if not requests:
            return
        work = _Work(
            self._spec, self._max_bytes, requests, self._left_alone, self._patience
        )
        self._results = work.results
        thread = threading.Thread(target=work.run, name="fetch", daemon=True)
        thread.start()
        try:
            for _ in requests:
                with self._patience.waiting():
                    result = work.results.get()
                if isinstance(result, BaseException):
                    raise result
                self._patience.took(result)
                yield result
                work.taken(len(result.content))
        finally:
            work.stop()
            thread.join(_ERROR_SECONDS)

    def ready(self) -> list[Result]:
        """What is there and was not taken yet, for who takes no more."""
        results: list[Result] = []
        while not self._results.empty():
            result = self._results.get()
            if isinstance(result, Result):
                results.append(result)
        return results


class _Work:
    """What the thread does."""

    def __init__(
        self,
        spec: FetchSpec,
        max_bytes: int,
        requests: Sequence[FetchRequest],
        left_alone: dict[str, str],
        patience: Patience,
    ) -> None:
        self._left_alone = left_alone
        self._patience = patience
        self._large = asyncio.Semaphore(MAX_LARGE)
        self._answer_seconds = spec.timeout_seconds
        self.results: queue.SimpleQueue[Result | BaseException] = queue.SimpleQueue()
        self._spec = spec
        self._max_bytes = max_bytes
        self._requests = requests
        self._loop = asyncio.new_event_loop()
        self._fetching: asyncio.Task[None] | None = None
        self._hosts: dict[str, Host] = {}
        self._is_stopped = False
        self._waiting_bytes = 0
        self._taken = asyncio.Event()

    # ── called by the other thread ──────────────────────────────────────────────────────────────────────────────────

    def taken(self, size: int) -> None:
        """A result was used: there is room for others."""
        self._call(lambda: self._give_room(size))

    def stop(self) -> None:
        """End what is in progress."""
        self._call(self._cancel)

    def _call(self, function: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:  # all is done, and the loop is closed
            return

    # ── in the thread ───────────────────────────────────────────────────────────────────────────────────────────────

    def run(self) -> None:
        """Fetch all, until it is done or stopped."""
        try:
            self._loop.run_until_complete(self._fetch_all())
        except BaseException as error:  # the other thread raises it
            self.results.put(error)
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    def _cancel(self) -> None:
        self._is_stopped = True
        if self._fetching is not None:
            self._fetching.cancel()

    def _give_room(self, size: int) -> None:
        self._waiting_bytes -= size
        self._taken.set()

    async def _fetch_all(self) -> None:
        async with HttpFetcher(self._spec, self._max_bytes) as http:
            if self._is_stopped:
                return
            self._http = http
            self._fetching = self._loop.create_task(self._fetch_each())
            # Only this is cancelled: closing the connections is not to be interrupted.
            await asyncio.wait([self._fetching])
        if not self._fetching.cancelled():
            self._fetching.result()

    async def _fetch_each(self) -> None:
        at_once = max_asked()
        places = asyncio.Semaphore(at_once)
        if len({host_of(request.url) for request in self._requests}) > at_once:
            self._answer_seconds = HASTY_SECONDS
        async with asyncio.TaskGroup() as group:
            for request in self._requests:
                group.create_task(self._fetch(request, places))

    async def _fetch(self, request: FetchRequest, places: asyncio.Semaphore) -> None:
        name = host_of(request.url)
        host = self._hosts.setdefault(name, Host(self._spec.per_host))
        # Its host's place first: who waits for a slow host takes no place from others.
        async with host.places, places:
            place = BodyPlace(
                self._large, self._spec.timeout_seconds, self._answer_seconds
            )
            try:
                result = await self._tried(request, name, host, place)
                await self._hand_over(result)
            finally:
                place.give_back()

    async def _hand_over(self, result: Result) -> None:
        size = len(result.content)
        while self._waiting_bytes and self._waiting_bytes + size > _MAX_WAITING_BYTES:
            self._taken.clear()
            await self._taken.wait()
        self._waiting_bytes += size
        self.results.put(result)

    async def _tried(
        self, request: FetchRequest, name: str, host: Host, place: BodyPlace
    ) -> Result:
        """The document, or why it does not come; one that may come is tried a few times."""
        pause = _PAUSE_SECONDS
        for number in range(1, _MAX_TRIES + 1):
            why = self._why_left_alone(name, host)
            if why:
                return self._left(request, name, host, why)
            host.begin()
            try:
                result = await self._once(request, name, place)
            except FetchError as error:
                place.give_back()
                pause = max(pause, error.retry_after)
                is_last = (
                    number == _MAX_TRIES or pause > _MAX_PAUSE_SECONDS or host.is_bad
                )
                if error.may_pass and not error.is_slow and not is_last:
                    await asyncio.sleep(pause)
                    pause *= 2
                    continue
                _note(host, error)
                self._why_left_alone(name, host)
                return _not_fetched(request, name, error, host)
            host.succeeded()
            return result
        raise AssertionError("the last try returns")

    def _left(self, request: FetchRequest, name: str, host: Host, why: str) -> Result:
        """A document that nobody was asked for; the silence of its host may speak for it."""
        result = _not_fetched(request, name, FetchError(why, may_pass=True), host)
        is_silent = bool(host.why_left_alone()) and not host.has_answered
        outcome = replace(result.outcome, was_asked=is_silent)
        return replace(result, outcome=outcome)

    def _why_left_alone(self, name: str, host: Host) -> str:
        """Why nothing more is asked of a host; empty: it is asked."""
        why = self._left_alone.get(name) or host.why_left_alone()
        if why:
            self._left_alone[name] = why
        return why or self._patience.why_over()

    async def _once(self, request: FetchRequest, name: str, place: BodyPlace) -> Result:
        try:
            # All of it: a host that sends a byte now and then is slow, too.
            async with place.timed():
                return await self._by_scheme(request, name, place)
        except TimeoutError:
            raise _too_late(place, self._spec) from None
        except (FetchError, MemoryError):
            raise
        except Exception as error:  # one address must not stop its source
            why = public_text(error)
            raise FetchError(f"it cannot be fetched: {why}") from error

    async def _by_scheme(
        self, request: FetchRequest, name: str, place: BodyPlace
    ) -> Result:
        scheme = parts_of(request.url).scheme
        if scheme == "file":
            return await fetch_file(request, self._spec, self._max_bytes)
        if scheme in STORE_SCHEMES:
            return await fetch_object(request, name, self._spec, self._max_bytes, place)
        return await self._http.fetch(request, name, place)


def _too_late(place: BodyPlace, spec: FetchSpec) -> FetchError:
    why = f"it did not come within fetch.timeout = {spec.timeout_seconds:g} s"
    if place.seconds < spec.timeout_seconds:
        why = (
            f"its host did not begin to answer within {place.seconds:g} s, and the batch has more hosts than are asked "
            "at once"
        )
    of_host = not place.is_answered
    return FetchError(why, may_pass=True, is_slow=True, of_host=of_host)


def _note(host: Host, error: FetchError) -> None:
    if not error.may_pass:
        host.succeeded()
    elif error.of_host:
        host.failed(error.retry_after)
    else:
        host.answered_badly()


def _not_fetched(
    request: FetchRequest, name: str, error: FetchError, host: Host
) -> Result:
    reason = error.reason
    if error.may_pass:
        reason = DeadLetterReason.FETCH_WAITS
    outcome = NotFetched(
        host=name,
        reason=reason,
        detail=f"{error.detail} ({name})",
        may_pass=error.may_pass,
        retry_after_seconds=max(error.retry_after, host.retry_after),
        is_missing=error.is_missing,
    )
    return Result(request, outcome)
