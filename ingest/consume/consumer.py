"""The consumer: one Kafka consumer group, many sources; cuts micro-batches, stages them, hands them over, then commits.

Two sides that share nothing but messages: the *polling thread* (`ingest.consume.poller`) owns librdkafka's consumer and every `PartitionReader`; the
*event loop*, here, talks to PostgreSQL, the staging store and Temporal. Polling never waits for either, so a service that is down never costs the
group membership.

1. The sources are read again every two seconds; their topics are subscribed.
2. An assigned partition is placed: every source starts at its position row, or is halted with the gap named.
3. Records are buffered a lane (source, partition) and cut by records, bytes or time, one cut in flight a lane.
4. A cut is decoded and staged in a small thread pool, then signalled to the source's workflow; both are tried again for ever.
5. Only then is the Kafka offset committed (for lag tools: the position row is the truth).
6. What is handed over and not yet published is outstanding; above a source's limits its partitions pause.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from corpus.batch import BatchRef
from corpus.errors import FreshetError
from corpus.source import SourceSpec
from ingest.consume.partition_state import MicroBatch, PartitionReader
from ingest.consume.poller import Poller
from ingest.consume.positions import ActiveSource, Positions
from ingest.consume.services import Place
from ingest.stage import OffsetRange, Store, stage

log = logging.getLogger("freshet.consume")

SOURCES_SECONDS = 2.0
POSITIONS_SECONDS = 0.25
TOPIC_IDS_SECONDS = 15.0
_RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)

HandOver = Callable[[BatchRef, SourceSpec], Awaitable[None]]


class SourceConsumer:
    """Runs until told to stop.

    Args:
        kafka: librdkafka properties, address and group included.
        positions: sources and position rows.
        store: the staging store.
        hand_over: gives a reference to the source's workflow; raises FreshetError to be tried again.
    """

    def __init__(
        self, kafka: dict[str, Any], positions: Positions, store: Store, hand_over: HandOver
    ) -> None:
        self._poller = Poller(kafka, self, self._start)
        self._positions = positions
        self._store = store
        self._hand_over = hand_over
        self._stagers = ThreadPoolExecutor(2, thread_name_prefix="stage")
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def handed_over_records(self) -> int:
        """Records handed over since the start."""
        return self._poller.handed_over_records

    async def run(self, stop: asyncio.Event, grace: float = 10.0) -> None:
        """Consume until `stop` is set; then finish what is in flight, at most `grace` seconds.

        Raises:
            Exception: whatever ended the polling thread; the process is to be started again.
        """
        self._loop = asyncio.get_running_loop()
        watchers = [
            asyncio.create_task(work())
            for work in (self._watch_sources, self._watch_positions, self._watch_topic_ids)
        ]
        thread = threading.Thread(target=self._poller.run, args=(grace,), name="poll", daemon=True)
        thread.start()
        gone = asyncio.create_task(asyncio.to_thread(thread.join))
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([stopped, gone, *watchers], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._poller.stop()
            await gone
            for task in (*watchers, stopped, *self._tasks):
                task.cancel()
            self._stagers.shutdown(wait=False, cancel_futures=True)
        failures = [
            self._poller.failure,
            *(task.exception() for task in watchers if task.done() and not task.cancelled()),
        ]
        for failure in failures:
            if failure is not None:
                raise failure

    async def _watch_sources(self) -> None:
        """1. Read the sources again and again."""
        while True:
            found = await self._ask("reading sources", self._positions.active_sources)
            if found is not None:
                self._poller.post(lambda found=found: self._poller.apply_sources(found))
            await asyncio.sleep(SOURCES_SECONDS)

    async def _watch_positions(self) -> None:
        """6. While something is outstanding, look how far publishing has come."""
        while True:
            await asyncio.sleep(POSITIONS_SECONDS)
            if waiting := self._poller.outstanding():
                rows = await self._ask(
                    "reading positions", self._positions.positions, sorted(waiting)
                )
                if rows is not None:
                    self._poller.post(lambda rows=rows: self._poller.apply_positions(rows))

    async def _watch_topic_ids(self) -> None:
        """A topic that is recreated under a running consumer is another log: place its partitions again."""
        while True:
            await asyncio.sleep(TOPIC_IDS_SECONDS)
            if (
                self._poller.topics
                and (
                    states := await self._ask(
                        "describing topics", self._positions.topic_ids, sorted(self._poller.topics)
                    )
                )
                is not None
            ):
                self._poller.post(lambda states=states: self._poller.check_topic_ids(states))

    async def _ask(self, doing: str, question: Callable[..., Any], *arguments: Any) -> Any:
        """Run a blocking question in a thread; None where the service does not answer."""
        try:
            return await asyncio.to_thread(question, *arguments)
        except FreshetError as error:
            log.warning("%s failed, trying again: %s", doing, error, extra={"action": "retry"})
            return None

    async def place(self, asked: dict[Place, dict[str, ActiveSource]]) -> None:
        """2. Find out where sources start in partitions that were assigned; tried again until answered."""
        for attempt in range(1_000_000):
            found = await self._ask("placing partitions", self._positions.place, asked)
            if found is not None:
                self._poller.post(lambda found=found: self._poller.apply_places(asked, *found))
                return
            if self._poller.stopping:
                return
            await asyncio.sleep(_RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS) - 1)])

    async def deliver(self, place: Place, lane: PartitionReader, cut: MicroBatch) -> None:
        """4. Stage one cut and hand it over, however long it takes; given up only when the lane is no longer ours."""
        spec = lane.spec
        offsets = OffsetRange(
            cluster_id=lane.at.cluster_id,
            topic=lane.at.topic,
            topic_id=lane.at.topic_id,
            partition=lane.at.partition,
            first_offset=cut.first_offset,
            next_offset=cut.next_offset,
            epoch=lane.epoch,
        )
        staged = None
        attempt = 0
        while lane.generation == cut.generation:
            try:
                staged = staged or await self._loop.run_in_executor(
                    self._stagers, stage, cut.records, spec, offsets, self._store
                )
                await self._hand_over(staged, spec)
                self._poller.post(lambda: self._poller.delivered(place, lane, cut))
                return
            except FreshetError as error:
                level = logging.WARNING if attempt in (0, 3) or attempt % 12 == 0 else logging.DEBUG
                log.log(
                    level,
                    "handing over failed, trying again: %s",
                    error,
                    extra={"action": "retry", "source": spec.source, "attempt": attempt},
                )
            except (
                Exception
            ) as error:  # a mistake of ours: this source stops with its reason, the others go on
                log.exception("staging failed", extra={"action": "halt", "source": spec.source})
                reason = f"{place[0]}/{place[1]}: offsets {cut.first_offset} to {cut.next_offset - 1} could not be staged: {type(error).__name__}: {error}"
                await self.halt(spec.source, lane.epoch, reason)
                return
            await asyncio.sleep(_RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS) - 1)])
            attempt += 1

    async def halt(self, source: str, epoch: int, reason: str) -> None:
        """Stop one source, visibly; the others go on."""
        log.error("source halted: %s", reason, extra={"action": "halt", "source": source})
        self._poller.post(lambda: self._poller.drop_source(source))
        for attempt in range(1_000_000):
            if (
                await self._ask("halting a source", self._positions.halt, source, epoch, reason)
                is not None
                or self._poller.stopping
            ):
                return
            await asyncio.sleep(_RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS) - 1)])

    def forget_topics(self) -> None:
        """Topics may have been made anew."""
        self._positions.forget()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        """From the polling thread: run a coroutine on the event loop."""

        def create() -> None:
            task = self._loop.create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        self._loop.call_soon_threadsafe(create)
